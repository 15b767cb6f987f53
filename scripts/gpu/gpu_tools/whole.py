"""Whole real models on a device beside the same in float32 on the CPU: features, tokens and words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_tools.result import Result
from whisper_max.api import Model
from whisper_max.audio.io import open_audio
from whisper_max.audio.mel import MelWindows
from whisper_max.checkpoint import read_checkpoint, resolve
from whisper_max.engine import WhisperEngine
from whisper_max.engine.gpu.engine import GpuEngine
from whisper_max.engine.stages import encode_stages
from whisper_max.hardware.target import Target
from whisper_max.load import load_model, tokens_of

ENCODER_TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2}
WER_TOLERANCE = 0.2  # percentage points


@dataclass(frozen=True)
class Clip:
    """A recording, and what is said in it where that is known."""

    path: Path
    text: str | None


def find_clips(folder: Path, most: int) -> list[Clip]:
    """The English recordings of a folder with ``manifest.jsonl``, at most ``most``."""
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        return []
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
    english = [entry for entry in entries if entry.get("language") == "en"]
    clips = [Clip(folder / entry["path"], entry.get("transcript")) for entry in english]
    return [clip for clip in clips if clip.path.exists()][:most]


def load_on(name: str, target: Target, weights_dir: Path | None, offline: bool) -> Model:
    """A published model on a target, of the very form that the target's code names."""
    files = resolve(name, offline=offline, weights_dir=weights_dir, revision=None, announce=print)
    checkpoint = read_checkpoint(files)
    engine = WhisperEngine(checkpoint, target, print) if target.is_cpu else GpuEngine(checkpoint, target, print)
    return Model(engine, tokens_of(checkpoint), checkpoint.name)


@dataclass(frozen=True)
class Heard:
    """What a model made of a clip. tokens: of each segment."""

    tokens: list[list[int]]
    text: str


def hear(model: Model, audio: Path | NDArray[np.float32]) -> Heard:
    """Transcribe a clip in English, greedily."""
    result = model.transcribe(audio, language="en", temperature=0.0)
    return Heard([list(segment.tokens) for segment in result.segments], result.text)


def compare_heard(
    label: str, dtype: str, truths: Sequence[str | None], expected: Sequence[Heard], found: Sequence[Heard]
) -> list[Result]:
    """Clips whose tokens differ, none of which may in float32, and what that does to the word error rate.

    Args:
        label: of the model, for people.
        dtype: that ``found`` was computed in.
        truths: what is said in each clip; where that isn't known, the expected text counts.
        expected, found: of each clip, in the same order.
    """
    n_clips = f"{len(found)} clips"
    differing = sum(ours.tokens != theirs.tokens for ours, theirs in zip(found, expected, strict=True))
    allowed = 0 if dtype == "float32" else len(found)
    said = [truth or theirs.text for truth, theirs in zip(truths, expected, strict=True)]
    before, now = (word_error_rate(said, [each.text for each in side]) for side in (expected, found))
    return [
        Result(f"{label}: clips whose tokens differ", n_clips, float(differing), float(allowed)),
        Result(f"{label}: change of WER, points", n_clips, abs(now - before), WER_TOLERANCE),
    ]


def compare_models(
    name: str, target: Target, clips: Sequence[Clip], weights_dir: Path | None, offline: bool
) -> list[Result]:
    """Encoder error, tokens that differ, and words: ours on the target against ours in float32 on the CPU."""
    reference = load_model(name, device="cpu", compute_type="float32", offline=offline, weights_dir=weights_dir)
    ours = load_on(name, target, weights_dir, offline)
    label, dtype = f"{name} {target.code.partition(':')[2]}", target.dtype.name
    errors = []
    for clip in clips:
        with open_audio(clip.path) as waveform:
            mel = MelWindows(waveform, ours.dims.n_mels).window(0)[None]
        theirs = _features(reference, mel)
        errors.append(np.linalg.norm(_features(ours, mel) - theirs) / np.linalg.norm(theirs))
    encoder = Result(f"{label}: encoder", f"{len(clips)} clips", float(np.max(errors)), ENCODER_TOLERANCE[dtype])
    expected, found = ([hear(model, clip.path) for clip in clips] for model in (reference, ours))
    return [encoder, *compare_heard(label, dtype, [clip.text for clip in clips], expected, found)]


def _features(model: Model, mel: NDArray[np.float32]) -> NDArray[np.float64]:
    engine = cast(WhisperEngine, model.inference)
    features: NDArray[np.float64] = encode_stages(engine, mel)["ln_post"].astype(np.float64)
    return features


def word_error_rate(truths: Sequence[str], texts: Sequence[str]) -> float:
    """In percent, words without case and punctuation."""
    pairs = [(_words(truth), _words(text)) for truth, text in zip(truths, texts, strict=True)]
    wrong = sum(_distance(truth, text) for truth, text in pairs)
    return 100 * wrong / max(1, sum(len(truth) for truth, _ in pairs))


def _words(text: str) -> list[str]:
    kept = "".join(letter if letter.isalnum() or letter in "' " else " " for letter in text.lower())
    return kept.split()


def _distance(truth: Sequence[str], text: Sequence[str]) -> int:
    """Levenshtein's distance in words."""
    row = list(range(len(text) + 1))
    for i, word in enumerate(truth, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(text, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]
