"""How exactly a known text is timed: mean and 95th percentile of the distance to the times of the transcript's words.

Each recording is transcribed with word times; then its own text is aligned, as it is, with 10 % of its words removed,
and with 10 % changed to other words of the recording. Words that stayed are compared by their starts and ends.

    python scripts/bench/align_known.py AUDIO... [--model base] [--compute_type int8] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np

import whisper_max
from whisper_max.api import Model
from whisper_max.transcribe.result import Word

_SHARE = 0.1
_SURE = 0.5  # of words that stayed, those surer than this count as found


def main() -> None:
    """Measure each recording, and all of them together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="+", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_type", default="auto")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    model = whisper_max.load_model(args.model, compute_type=args.compute_type)
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
            for index, word in enumerate(found):
                if (old := kept[index]) is None:
                    doubt.setdefault(kind, []).append(word.probability)
                else:
                    distances.setdefault(kind, []).extend((abs(word.start - old.start), abs(word.end - old.end)))
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
        report[kind]["median_probability_of_changed"] = round(float(np.median(likely)), 3)
    print(json.dumps({"seconds": {name: round(each, 1) for name, each in seconds.items()}, **report}, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def altered(words: list[Word], kind: str, rng: random.Random) -> tuple[str, list[Word | None]]:
    """A text made of words, and for each word of it the one that it is, or None where it was changed."""
    pieces: list[str] = []
    kept: list[Word | None] = []
    for word in words:
        for part in whole(word):
            lucky = kind == "same" or rng.random() >= _SHARE
            if lucky:
                pieces.append(part.word)
                kept.append(part)
            elif kind == "changed":
                pieces.append(rng.choice(words).word.strip())
                kept.append(None)
    return " ".join(piece.strip() for piece in pieces), kept


def whole(word: Word) -> list[Word]:
    """The word, where it is one of a text that is split at spaces."""
    return [word] if len(word.word.split()) == 1 else []


def timed(model: Model, path: Path, text: str, language: str) -> list[Word]:
    """The words of an aligned text."""
    result = model.align(path, text, language=language)
    return [word for segment in result.segments for word in segment.words or ()]


if __name__ == "__main__":
    main()
