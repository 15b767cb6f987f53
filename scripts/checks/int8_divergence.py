"""How far int8 moves what comes next, by language: word errors of few words are chance, this has a number a token.

Each recording's first window is transcribed greedily in float32, and int8 is given the same tokens. Of the two
distributions of every next token it takes the Kullback-Leibler divergence, and whether the likeliest token is another.

    python scripts/checks/int8_divergence.py recordings.jsonl --model base

Prints a table. The manifest is what ``python -m whisper_max evaluate`` takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import whisper_max
from whisper_max.audio.io import load_audio
from whisper_max.audio.mel import N_FRAMES, N_SAMPLES
from whisper_max.audio.mel_array import log_mel_spectrogram
from whisper_max.measure.evaluate import read_manifest
from whisper_max.text.tokenizer import Tokenizer

MOST_TOKENS = 180
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Moved:
    """What int8 moved in one window. divergence: the sum over its tokens; other: where the likeliest is another."""

    language: str
    n_tokens: int
    divergence: float
    other: int


def moved(language: str, expected: Rows, found: Rows) -> Moved:
    """expected, found: logits of each next token, (n_tokens, n_vocab)."""
    p, q = log_softmax(expected), log_softmax(found)
    divergence = float((np.exp(p) * (p - q)).sum())
    other = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    return Moved(language, len(expected), divergence, other)


def log_softmax(logits: Rows) -> NDArray[np.float64]:
    """In float64, over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def table(windows: Sequence[Moved]) -> Iterator[str]:
    """A line a language, and one for all."""
    yield f"{'language':<8} {'windows':>7} {'tokens':>6} {'divergence, 10^-3':>17} {'other token, %':>14}"
    for language in (*dict.fromkeys(window.language for window in windows), "all"):
        some = [window for window in windows if language in (window.language, "all")]
        n_tokens = sum(window.n_tokens for window in some)
        divergence = 1e3 * sum(window.divergence for window in some) / n_tokens
        other = 100 * sum(window.other for window in some) / n_tokens
        yield f"{language:<8} {len(some):>7} {n_tokens:>6} {divergence:>17.2f} {other:>14.2f}"


def logits_of(model: whisper_max.Model, mel: Rows, prompt: Sequence[int], given: Sequence[int] | None) -> Rows:
    """Logits after a prompt and after each token that follows: those given, or the likeliest until the text ends."""
    batch = model.inference.new_batch(1)
    batch.put([0], model.inference.encode(mel[None]))
    rows = [batch.prefill([0], [prompt], [[-1]])[0, 0].copy()]
    while len(rows) < MOST_TOKENS if given is None else len(rows) <= len(given):
        token = int(rows[-1].argmax()) if given is None else given[len(rows) - 1]
        if given is None and token == model.vocabulary.specials.eot:
            break
        rows.append(batch.step(np.array([token], np.int32))[0].copy())
    return np.array(rows)


def main() -> None:
    """Measure every recording that has a transcript."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="a .jsonl file")
    parser.add_argument("--model", default="base", help="(default: base)")
    args = parser.parse_args()
    exact, rounded = (whisper_max.load_model(args.model, compute_type=kind) for kind in ("float32", "int8"))
    windows = []
    for entry in read_manifest(args.manifest).entries:
        if entry.language is None:
            raise SystemExit(f"{args.manifest}: {entry.name}: expected a language, found none")
        mel = log_mel_spectrogram(load_audio(entry.path), exact.dims.n_mels, N_SAMPLES)[:, :N_FRAMES]
        prompt = Tokenizer(exact.vocabulary, entry.language, "transcribe").sot_sequence_including_notimestamps
        expected = logits_of(exact, mel, prompt, None)
        tokens = expected[:-1].argmax(axis=1).tolist()
        windows.append(moved(entry.language, expected, logits_of(rounded, mel, prompt, tokens)))
    print("\n".join(table(windows)))


if __name__ == "__main__":
    main()
