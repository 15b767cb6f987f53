"""The peers on the same inputs, where they are installed, with random weights of the same shape.

openai-whisper, and Transformers with SDPA, a static cache and compiled steps; imported here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from whisper_max.dims import ModelDimensions

Times = dict[str, Any]


def missing(peer: str) -> str | None:
    """What a peer lacks on this machine, or None."""
    needed = {"openai-whisper": ("torch", "whisper"), "transformers": ("torch", "transformers")}[peer]
    absent = [name for name in needed if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def time_openai_whisper(dims: ModelDimensions, device: str, n_windows: int, n_tokens: int) -> Times:
    """Windows from mel to tokens, and one stream's token; float16 on a GPU."""
    import torch
    from whisper.decoding import DecodingOptions
    from whisper.model import ModelDimensions as TheirDims
    from whisper.model import Whisper

    torch.manual_seed(0)
    dtype = torch.float16 if device == "cuda" else torch.float32
    theirs = TheirDims(
        dims.n_mels, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer,
        dims.n_vocab, dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer,
    )  # fmt: skip
    model = Whisper(theirs).to(device=device, dtype=dtype).eval()
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None

    many, single = (
        torch.randn(count, dims.n_mels, dims.n_frames, device=device, dtype=dtype) for count in (n_windows, 1)
    )
    options = DecodingOptions(
        language="en", temperature=0.0, sample_len=n_tokens, without_timestamps=True, suppress_tokens="",
        suppress_blank=False, fp16=device == "cuda",
    )  # fmt: skip
    with torch.inference_mode():
        encode = _seconds(lambda: model.encoder(many), sync)
        if dims.n_vocab < 51864:  # a made-up vocabulary, which their tokenizer can't decode with
            return {"encode_s": encode, "windows": n_windows}
        total = _seconds(lambda: model.decode(many, options), sync)
        one = _seconds(lambda: model.decode(single, options), sync)
        alone = _seconds(lambda: model.encoder(single), sync)
    return {
        "encode_s": encode, "total_s": total, "windows": n_windows, "windows_per_s": n_windows / median(total),
        "ms_per_token": 1000 * (median(one) - median(alone)) / n_tokens,
    }  # fmt: skip


def time_transformers(
    dims: ModelDimensions, device: str, n_windows: int, n_tokens: int, *, compiled: bool = True
) -> Times:
    """Windows from mel to tokens, and one stream's token; SDPA, static cache, its steps compiled or not."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    dtype = torch.float16 if device == "cuda" else torch.float32
    config = WhisperConfig(
        vocab_size=dims.n_vocab, num_mel_bins=dims.n_mels, d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer, encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state, decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head, decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx, max_target_positions=dims.n_text_ctx, attn_implementation="sdpa",
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).to(device=device, dtype=dtype).eval()
    model.generation_config.cache_implementation = "static"
    model.generation_config.begin_suppress_tokens = None
    if device == "cuda" and compiled:
        model.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None

    def generate(count: int) -> Callable[[], Any]:
        mel = torch.randn(count, dims.n_mels, dims.n_frames, device=device, dtype=dtype)
        wanted = {"max_new_tokens": n_tokens, "min_new_tokens": n_tokens, "do_sample": False, "num_beams": 1}
        return lambda: model.generate(mel, **wanted)

    with torch.inference_mode():
        total = _seconds(generate(n_windows), sync)
        one = _seconds(generate(1), sync)
        mel = torch.randn(1, dims.n_mels, dims.n_frames, device=device, dtype=dtype)
        alone = _seconds(lambda: model.get_encoder()(mel), sync)
    return {
        "total_s": total, "windows": n_windows, "windows_per_s": n_windows / median(total),
        "ms_per_token": 1000 * (median(one) - median(alone)) / n_tokens,
    }  # fmt: skip


def time_clip(model: str, device: str, clip: Path) -> Times:
    """openai-whisper on a clip, audio in to text out; its weights have to be on this machine."""
    import torch
    import whisper

    loaded = whisper.load_model(model, device=device)
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    from whisper_max.audio.io import open_audio

    with open_audio(clip) as waveform:
        samples = np.array(waveform.read(0, waveform.n_samples))
    options = {"language": "en", "temperature": 0.0, "fp16": device == "cuda"}
    return {"seconds": _seconds(lambda: whisper.transcribe(loaded, samples, **options), sync)}


def _seconds(work: Callable[[], Any], sync: Callable[[], Any], repeats: int = 3) -> list[float]:
    """As ``timing.seconds``; two unmeasured turns, the first of which may compile."""
    taken = []
    for turn in range(repeats + 2):
        sync()
        start = time.perf_counter()
        work()
        sync()
        if turn > 1:
            taken.append(time.perf_counter() - start)
    return taken
