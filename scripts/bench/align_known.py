"""How exactly a known text is timed: mean and 95th percentile of the distance to the times of the transcript's words.

Each recording is transcribed with word times; then its own text is aligned, as it is, with 10 % of its words removed,
and with 10 % changed to other words of the recording. Words that stayed are compared by their starts and ends, found
by the characters before them, as scripts without spaces are aligned by character.

    python scripts/bench/align_known.py AUDIO... [--model base] [--compute_type int8] [--json FILE]

With ``--long SECONDS`` the recordings are joined to one that is so long, in another order each round, and its text is
aligned once: 10 % of the words changed, every tenth passage of 40 words left out, and every tenth there twice, which
the recording says once; of these the nearer one counts.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import whisper_max
from whisper_max.api import Model
from whisper_max.audio.io import load_audio
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.transcribe.result import Word

Float32 = NDArray[np.float32]
_SHARE = 0.1
_PASSAGE = 40  # words
_SURE = 0.5  # of words that stayed, those surer than this count as found


@dataclass(frozen=True)
class Piece:
    """Of a text that was made. word: of the transcript, None for one that was put in another's place."""

    text: str
    word: Word | None


def main() -> None:
    """Measure each recording, and all of them together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="+", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_type", default="auto")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--long", type=float, metavar="SECONDS", help="join them to one recording that is so long")
    args = parser.parse_args()
    model = whisper_max.load_model(args.model, compute_type=args.compute_type)
    if args.long is not None:
        report_long(model, joined(args.audio, args.long), args.json)
        return
    distances: dict[str, list[float]] = {}
    doubt: dict[str, list[float]] = {}  # probabilities of words that were changed
    seconds = {"transcribe": 0.0, "align": 0.0}
    for number, path in enumerate(args.audio):
        begin = time.perf_counter()
        result = model.transcribe(path, word_timestamps=True)
        seconds["transcribe"] += time.perf_counter() - begin
        words = [word for segment in result.segments for word in segment.words or () if word.word.strip()]
        if len(words) < 3:
            continue
        for kind in ("same", "removed", "changed"):
            text, kept = altered(words, kind, random.Random(number))
            begin = time.perf_counter()
            found = timed(model, path, text, result.language)
            if kind == "same":
                seconds["align"] += time.perf_counter() - begin
            apart, likely = compared(kept, found)
            distances.setdefault(kind, []).extend(apart)
            doubt.setdefault(kind, []).extend(likely)
    report = {
        kind: {
            "boundaries": len(each),
            "mean": round(float(np.mean(each)), 4),
            "p95": round(float(np.percentile(each, 95)), 4),
            "beyond_0.2_s": round(float(np.mean(np.array(each) > 0.2)), 4),
        }
        for kind, each in distances.items()
    }
    for kind, likely in doubt.items():
        if not likely:
            continue
        report[kind]["median_probability_of_changed"] = round(float(np.median(likely)), 3)
    print(json.dumps({"seconds": {name: round(each, 1) for name, each in seconds.items()}, **report}, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def joined(paths: Sequence[Path], seconds: float) -> Float32:
    """Recordings in rounds, shuffled in each, until they are so long, (n_samples,), with half a second between."""
    sounds = [load_audio(path) for path in paths]
    rng = random.Random(0)
    parts: list[Float32] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        for sound in rng.sample(sounds, len(sounds)):
            parts += [sound, np.zeros(SAMPLE_RATE // 2, np.float32)]
    return np.concatenate(parts)


def report_long(model: Model, sound: Float32, json_file: Path | None) -> None:
    """Measure a long recording whose text skips and repeats parts."""
    begin = time.perf_counter()
    result = model.transcribe(sound, word_timestamps=True, language="en")
    middle, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = [word for segment in result.segments for word in segment.words or () if len(word.word.split()) == 1]
    text, kept = edited(words, random.Random(0))
    found = timed(model, sound, text, "en")
    end = time.perf_counter()
    distances: dict[int, list[float]] = {}
    for word, index in zip(found, kept, strict=True):
        if index is not None:
            old = words[index]
            each = [abs(word.start - old.start), abs(word.end - old.end)]
            distances[index] = min(distances.get(index, each), each, key=sum)
    errors = np.array(list(distances.values())).ravel()
    report = {
        "seconds": round(len(sound) / SAMPLE_RATE),
        "words": len(found),
        "transcribe_seconds": round(middle - begin, 1),
        "align_seconds": round(end - middle, 1),
        "peak_MB_transcribed": peak // 1024,
        "peak_MB_aligned": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "mean": round(float(errors.mean()), 4),
        "p95": round(float(np.percentile(errors, 95)), 4),
        "beyond_0.2_s": round(float(np.mean(errors > 0.2)), 4),
        "median_probability_of_changed": round(
            float(np.median([word.probability for word, index in zip(found, kept, strict=True) if index is None])), 3
        ),
    }
    print(json.dumps(report, indent=1))
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def edited(words: Sequence[Word], rng: random.Random) -> tuple[str, list[int | None]]:
    """A text that skips, repeats and changes parts; for each of its words the number of the one that it is, or None."""
    pieces: list[str] = []
    kept: list[int | None] = []
    for first in range(0, len(words), _PASSAGE):
        chance = rng.random()
        for _ in range(0 if chance < _SHARE else 2 if chance > 1 - _SHARE else 1):
            for index in range(first, min(first + _PASSAGE, len(words))):
                changed = rng.random() < _SHARE
                pieces.append((rng.choice(words) if changed else words[index]).word.strip())
                kept.append(None if changed else index)
    return " ".join(pieces), kept


def altered(words: list[Word], kind: str, rng: random.Random) -> tuple[str, list[Piece]]:
    """A text made of words, and its pieces."""
    pieces: list[Piece] = []
    for word in words:
        if len(word.word.split()) != 1:  # a phrase, of which some words could not be told apart
            continue
        if kind == "same" or rng.random() >= _SHARE:
            pieces.append(Piece(word.word.strip(), word))
        elif kind == "changed":
            pieces.append(Piece(rng.choice(words).word.strip(), None))
    spaced = any(word.word.startswith(" ") for word in words[1:])
    return (" " if spaced else "").join(piece.text for piece in pieces), pieces


def compared(pieces: Sequence[Piece], found: Sequence[Word]) -> tuple[list[float], list[float]]:
    """How far boundaries are apart that are those of a word and of its piece, and how likely changed words are."""
    starts: dict[int, float] = {}  # by the number of characters before, white space not counted
    ends: dict[int, float] = {}
    changed: set[int] = set()
    at = 0
    for piece in pieces:
        stop = at + n_characters(piece.text)
        if piece.word is None:
            changed.update(range(at, stop))
        else:
            starts[at], ends[stop] = piece.word.start, piece.word.end
        at = stop
    apart: list[float] = []
    likely: list[float] = []
    at = 0
    for word in found:
        stop = at + n_characters(word.word)
        if at in changed:
            likely.append(word.probability)
        else:
            apart += [abs(word.start - starts[at])] if at in starts else []
            apart += [abs(word.end - ends[stop])] if stop in ends else []
        at = stop
    return apart, likely


def n_characters(text: str) -> int:
    """White space not counted."""
    return len("".join(text.split()))


def timed(model: Model, path: Path | Float32, text: str, language: str) -> list[Word]:
    """The words of an aligned text."""
    result = model.align(path, text, language=language)
    return [word for segment in result.segments for word in segment.words or ()]


if __name__ == "__main__":
    main()
