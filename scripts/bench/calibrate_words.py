"""How far the probability of a word tells how often such words are right, and whether a temperature would mend it.

Every recording with a transcript is transcribed with word times. A word is right where the transcript has it, by the
fewest edits between the two. The recordings are in two halves by their names: the temperature is fitted on one and
judged on the other.

    python scripts/bench/calibrate_words.py MANIFEST.jsonl --models base:int8 tiny.en:int8 --json words.json \\
        --figure docs/measured/word_probability.png

The temperature T takes a probability p to ``1 / (1 + ((1 - p) / p) ** (1 / T))``; a model's is the one under which the
words of the fitted half are likeliest to be as right and wrong as they are. The expected calibration error is the mean,
over words in ten bins by what is said of them, of the distance between that and the share that is right. Needs the
extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jiwer import process_words
from numpy.typing import NDArray

import whisper_max
from whisper_max.api import Model
from whisper_max.measure.evaluate import ManifestEntry, Normaliser, read_manifest
from whisper_max.text.languages import UNSPACED

BINS = 10
LEAST = 1e-6  # as likely as any word is thought to be right or wrong
TEMPERATURES = np.round(np.arange(0.5, 4.0, 0.01), 2)

Float = NDArray[np.float64]


def words_of(
    model: Model, entries: Sequence[ManifestEntry], normalise: Normaliser
) -> Iterator[tuple[int, float, bool]]:
    """The half, the probability and the truth of each word."""
    for entry in entries:
        if entry.language in UNSPACED:  # what is a word there is no one's to say
            continue
        code = entry.language or "en"
        result = model.transcribe(entry.path, language=entry.language, word_timestamps=True)
        said = _single(entry.transcript.split(), code, normalise)
        found = [word for segment in result.segments for word in segment.words or ()]
        heard = _single([word.word for word in found], code, normalise)
        half = zlib.crc32(entry.name.encode()) % 2
        for index, is_right in _judged([each for _, each in said], [each for _, each in heard]):
            yield half, found[heard[index][0]].probability, is_right


def _single(words: Sequence[str], code: str, normalise: Normaliser) -> list[tuple[int, str]]:
    """The words that are something, with their numbers, each as one word."""
    written = [(index, normalise(word, code).replace(" ", "")) for index, word in enumerate(words)]
    return [(index, word) for index, word in written if word]


def _judged(said: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """Whether each word heard is one that was said."""
    if not said or not heard:
        yield from ((index, False) for index in range(len(heard)))
        return
    for chunk in process_words([" ".join(said)], [" ".join(heard)]).alignments[0]:
        for index in range(chunk.hyp_start_idx, chunk.hyp_end_idx):
            yield index, chunk.type == "equal"


def fit(probabilities: Float, right: Float) -> float:
    """The temperature under which the words are likeliest."""
    return float(min(TEMPERATURES, key=lambda temperature: _surprise(_scaled(probabilities, temperature), right)))


def _scaled(probabilities: Float, temperature: float) -> Float:
    certain = np.clip(probabilities, LEAST, 1 - LEAST)
    scaled: Float = 1 / (1 + ((1 - certain) / certain) ** (1 / temperature))
    return scaled


def _surprise(said: Float, right: Float) -> float:
    return float(-np.mean(np.log(np.where(right > 0, said, 1 - said))))


def bins(said: Float, right: Float) -> list[tuple[float, float, int]]:
    """What is said of the words of each bin, the share that is right, and how many they are."""
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    chosen = [place == number for number in range(BINS)]
    return [(float(said[each].mean()), float(right[each].mean()), int(each.sum())) for each in chosen if each.any()]


def calibration_error(said: Float, right: Float) -> float:
    """The expected one."""
    return sum(abs(mean - share) * count for mean, share, count in bins(said, right)) / len(said)


def measure(name: str, words: Sequence[tuple[int, float, bool]]) -> dict[str, Any]:
    """Fit on one half, judge on the other."""
    halves = [np.array([each[1:] for each in words if each[0] == half], np.float64).T for half in (0, 1)]
    (fitted, fitted_right), (judged, judged_right) = halves
    temperature = fit(fitted, fitted_right)
    scaled = _scaled(judged, temperature)
    return {
        "model": name,
        "fitted_words": len(fitted),
        "judged_words": len(judged),
        "right": round(float(judged_right.mean()), 4),
        "temperature": temperature,
        "error_before": round(calibration_error(judged, judged_right), 4),
        "error_after": round(calibration_error(scaled, judged_right), 4),
        "surprise_before": round(_surprise(_scaled(judged, 1.0), judged_right), 4),
        "surprise_after": round(_surprise(scaled, judged_right), 4),
        "temperature_of_all": fit(np.concatenate([fitted, judged]), np.concatenate([fitted_right, judged_right])),
        "bins_before": bins(judged, judged_right),
        "bins_after": bins(scaled, judged_right),
    }


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """The reliability diagram."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(results), figsize=(5 * len(results), 4.5), layout="constrained", squeeze=False
    )
    for axis, result in zip(axes[0], results, strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for name, label in (("before", "as it is"), ("after", "with the temperature")):
            said, share, _ = np.array(result[f"bins_{name}"]).T
            axis.plot(said, share, marker="o", label=f"{label}: error {result[f'error_{name}']:.3f}")
        axis.set(title=result["model"], xlabel="probability of words", ylabel="share that is right")
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", fontsize=8)
    for kind in (".png", ".svg"):
        figure.savefig(path.with_suffix(kind), dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--models", nargs="+", default=["base:int8", "tiny.en:int8"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--longest", type=float, default=1e9, help="seconds of a recording, by its key `seconds`")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    normalise = Normaliser()
    entries = [e for e in read_manifest(args.manifest).entries if float(e.keys.get("seconds", 0)) <= args.longest]
    results = []
    for name in args.models:
        model_name, _, kind = name.partition(":")
        model = whisper_max.load_model(model_name, device="cpu", compute_type=kind or "auto", threads=args.threads)
        chosen = [each for each in entries if each.language == "en" or not model_name.endswith(".en")]
        results.append(measure(name, list(words_of(model, chosen, normalise))))
        print({key: value for key, value in results[-1].items() if not key.startswith("bins")}, flush=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.figure:
        draw(results, args.figure)


if __name__ == "__main__":
    main()
