"""The systems that are compared: how each is loaded, and how it transcribes.

Imported by the parent for the names and by every child for its own; nothing heavy is imported before ``load``. All are
asked for the same: English, greedy, temperature 0 without fallback, and else their own defaults.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

OnText = Callable[[], None]
"""Called when text comes out."""
Transcriber = Callable[[Path, OnText], str]
"""A recording -> its transcript."""


@dataclass(frozen=True)
class Asked:
    """What a system is to load. model: a published name. weights: that model in the system's own format."""

    model: str
    weights: Path
    threads: int


Load = Callable[[Asked], Transcriber]


class NotHere(Exception):
    """What a system needs beside its package is not on this machine."""


@dataclass(frozen=True)
class System:
    """One system in one mode.

    family: whose interpreter it runs in. weights: which format of ``weights.py`` it reads. packages: whose versions
    matter. env: variables its process starts with. note: what a reader of the table has to know.
    """

    name: str
    family: str
    load: Load
    packages: tuple[str, ...]
    weights: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    note: str = ""


def samples_of(path: Path) -> np.ndarray:
    """16 kHz mono float32; the peers would call an ffmpeg binary."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    resampled: np.ndarray = soxr.resample(samples.mean(axis=1), rate, 16000)
    return resampled


def _join(texts: Iterable[str], on_text: OnText) -> str:
    parts = []
    for text in texts:
        on_text()
        parts.append(text)
    return "".join(parts)


# ---------------------------------------------------------------- ours


def _ours(compute_type: str, batch_size: int = 1, device: str = "cpu") -> Load:
    def load(asked: Asked) -> Transcriber:
        import whisper_max
        from whisper_max.errors import DeviceError

        try:
            model = whisper_max.load_model(
                asked.model, device=device, compute_type=compute_type, threads=asked.threads, offline=True
            )
        except DeviceError as error:
            raise NotHere(str(error)) from error
        options: dict[str, Any] = {"batch_size": batch_size} if batch_size > 1 else {}
        return lambda audio, on_text: (
            model.transcribe(audio, language="en", temperature=0.0, on_segment=lambda _: on_text(), **options).text
        )

    return load


# ---------------------------------------------------------------- openai-whisper


def _openai(device: str) -> Load:
    def load(asked: Asked) -> Transcriber:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise NotHere("no CUDA device")
        from reference_model import load_reference

        torch.set_num_threads(asked.threads)
        model = load_reference(asked.model)[0].to(device)
        half = device == "cuda"
        return lambda audio, _: str(
            model.transcribe(samples_of(audio), language="en", temperature=0.0, fp16=half)["text"]
        )

    return load


# ---------------------------------------------------------------- faster-whisper


def _faster(compute_type: str, batch_size: int = 1) -> Load:
    def load(asked: Asked) -> Transcriber:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        model = WhisperModel(str(asked.weights), device="cpu", compute_type=compute_type, cpu_threads=asked.threads)
        options: dict[str, Any] = {"language": "en", "beam_size": 1, "temperature": 0.0}
        run = model.transcribe
        if batch_size > 1:
            run = BatchedInferencePipeline(model).transcribe
            options["batch_size"] = batch_size
        return lambda audio, on_text: _join((s.text for s in run(samples_of(audio), **options)[0]), on_text)

    return load


# ---------------------------------------------------------------- whisper.cpp


def _whisper_cpp(asked: Asked) -> Transcriber:
    from pywhispercpp.model import Model

    model = Model(
        str(asked.weights),
        redirect_whispercpp_logs_to=None,
        print_progress=False,
        print_realtime=False,
        n_threads=asked.threads,
        language="en",
        temperature=0.0,
        temperature_inc=0.0,
        greedy={"best_of": 1},
        no_context=False,
    )
    return lambda audio, on_text: " ".join(
        segment.text for segment in model.transcribe(samples_of(audio), new_segment_callback=lambda _: on_text())
    )


# ---------------------------------------------------------------- OpenVINO


def _openvino(precision: str) -> Load:
    def load(asked: Asked) -> Transcriber:
        import openvino_genai

        properties = {"INFERENCE_NUM_THREADS": asked.threads, "INFERENCE_PRECISION_HINT": precision}
        pipeline = openvino_genai.WhisperPipeline(str(asked.weights), "CPU", **properties)

        def transcribe(audio: Path, on_text: OnText) -> str:
            def stream(_: str) -> openvino_genai.StreamingStatus:
                on_text()
                return openvino_genai.StreamingStatus.RUNNING

            samples = samples_of(audio).tolist()
            options = {"language": "<|en|>", "task": "transcribe", "return_timestamps": True}
            return str(pipeline.generate(samples, **options, streamer=stream).texts[0])

        return transcribe

    return load


# ---------------------------------------------------------------- Hugging Face transformers


def _transformers(asked: Asked) -> Transcriber:
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    torch.set_num_threads(asked.threads)
    model = WhisperForConditionalGeneration.from_pretrained(asked.weights, dtype=torch.float32).eval()
    processor = WhisperProcessor.from_pretrained(asked.weights)

    def transcribe(audio: Path, _: OnText) -> str:
        samples = samples_of(audio)
        longer = len(samples) > processor.feature_extractor.n_samples
        options: dict[str, Any] = {"truncation": False, "padding": "longest"} if longer else {}
        inputs = processor(samples, sampling_rate=16000, return_tensors="pt", return_attention_mask=True, **options)
        with torch.inference_mode():
            tokens = model.generate(
                **inputs, language="en", task="transcribe", return_timestamps=True, num_beams=1, do_sample=False
            )
        return " ".join(processor.batch_decode(tokens, skip_special_tokens=True))

    return transcribe


# ---------------------------------------------------------------- all of them

_OURS, _OPENAI, _FASTER = ("max", "numpy"), ("openai-whisper", "torch"), ("faster-whisper", "ctranslate2")
_OPENVINO, _TRANSFORMERS = ("openvino-genai", "openvino"), ("transformers", "torch")
_BATCH = "pieces in batches of 8"

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System("ours-float32", "ours", _ours("float32"), _OURS),
        System("ours-int8", "ours", _ours("int8"), _OURS),
        System("ours-float32-batch8", "ours", _ours("float32", 8), _OURS, note=_BATCH),
        System("ours-int8-batch8", "ours", _ours("int8", 8), _OURS, note=_BATCH),
        System("ours-gpu", "ours", _ours("auto", device="gpu"), _OURS),
        System("openvino-float32", "openvino", _openvino("f32"), _OPENVINO, "openvino-fp32"),
        System("openvino-bfloat16", "openvino", _openvino("bf16"), _OPENVINO, "openvino-fp32", note="its default here"),
        System("openvino-int8", "openvino", _openvino("f32"), _OPENVINO, "openvino-int8", note="float32 arithmetic"),
        System(
            "openvino-int8-bfloat16", "openvino", _openvino("bf16"), _OPENVINO, "openvino-int8", note="its default here"
        ),
        System("faster-whisper-float32", "faster-whisper", _faster("float32"), _FASTER, "ctranslate2"),
        System("faster-whisper-int8", "faster-whisper", _faster("int8"), _FASTER, "ctranslate2"),
        System("faster-whisper-int8-batch8", "faster-whisper", _faster("int8", 8), _FASTER, "ctranslate2", note=_BATCH),
        System("whisper.cpp-float16", "whisper.cpp", _whisper_cpp, ("pywhispercpp",), "ggml-f16.bin"),
        System("whisper.cpp-int8", "whisper.cpp", _whisper_cpp, ("pywhispercpp",), "ggml-q8_0.bin", note="q8_0"),
        System("openai-whisper", "openai-whisper", _openai("cpu"), _OPENAI),
        System("openai-whisper-cuda", "openai-whisper", _openai("cuda"), _OPENAI),
        System("transformers", "transformers", _transformers, _TRANSFORMERS, "huggingface", note="float32"),
    )
}
FAMILIES = tuple(dict.fromkeys(system.family for system in SYSTEMS.values()))
TIERS = {
    "reference, CPU": "openai-whisper",
    "reference, GPU": "openai-whisper-cuda",
    "MAX": "ours-float32",
    "MAX fast": "ours-int8-batch8",
}
"""The four tiers, and the system of each."""


def system_of(name: str) -> System:
    """A system by name; ours also in batches of any size, as ``ours-int8-batch3``."""
    found = re.fullmatch(r"ours-(float32|int8)-batch([1-9]\d*)", name)
    if name in SYSTEMS or found is None:
        return SYSTEMS[name]
    return System(name, "ours", _ours(found[1], int(found[2])), _OURS, note=f"pieces in batches of {found[2]}")


def usable_threads() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))
