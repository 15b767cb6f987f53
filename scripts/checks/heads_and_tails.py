"""Where recordings begin and end: is anything invented in what is silent, or lost of what is said?

A recording with a known text, laid into silence or faint noise so that the whole lasts as long as a window or somewhat
more or less: speech first, silence first, and speech at both ends; and silence alone, with a prompt and with hotwords.

    python scripts/checks/heads_and_tails.py --models base:int8 tiny.en:int8

Prints a table: words that are not in the text, and words of the text that are not there, without the guard, with the
guard that drops, and with voice activity detection. Needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import whisper_max
from whisper_max.audio.io import load_audio
from whisper_max.measure.evaluate import Errors, Normaliser, count_errors

RATE = 16000
SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
# Of jfk.flac.
TEXT = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
WAYS: dict[str, dict[str, Any]] = {
    "off": {"guard": "off"},
    "drop": {"guard": "drop"},
    "vad": {"guard": "off", "vad": True},
}
SECONDS = (29, 29.9, 30.1, 31, 33)
PROMPTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a prompt": {"initial_prompt": "A speech about Americans and their country."},
    "a carried prompt": {"initial_prompt": "Glossary: Kennedy, Americans.", "carry_initial_prompt": True},
    "hotwords": {"hotwords": "Kennedy Americans country"},
}

Samples = NDArray[np.float32]


def laid(layout: str, seconds: float, background: float) -> tuple[Samples, str]:
    """A recording of so many seconds, and its text. background: the deviation of its noise; 0 for digital silence."""
    speech = load_audio(SAMPLE)
    samples = np.random.default_rng(round(seconds * 10)).normal(0, 1, round(seconds * RATE)) * background
    if layout in ("speech first", "both ends"):
        samples[: len(speech)] += speech
    if layout in ("silence first", "both ends"):
        samples[-len(speech) :] += speech
    return samples.astype(np.float32), f"{TEXT} {TEXT}" if layout == "both ends" else TEXT


def cases() -> Iterator[tuple[str, list[tuple[Samples, str, dict[str, Any]]]]]:
    """Rows of the table: recordings with their texts and options."""
    for layout in ("speech first", "silence first", "both ends"):
        for name, level in (("silence", 0.0), ("noise", 0.003)):
            yield f"{layout}, {name}", [(*laid(layout, seconds, level), {}) for seconds in SECONDS]
    for name, options in PROMPTS.items():
        silent = [np.random.default_rng(0).normal(0, 1, 33 * RATE).astype(np.float32) * level for level in (0, 1e-3)]
        yield f"33 s without speech, {name}", [(samples, "", options) for samples in silent]


def invented_and_lost(text: str, heard: str, normalise: Normaliser) -> tuple[int, int]:
    said, found = normalise(text, "en"), normalise(heard, "en")
    if not said:
        return len(found.split()), 0
    errors: Errors = count_errors(said, found, "en")[0]
    return errors.insertions + errors.substitutions, errors.deletions + errors.substitutions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["base:int8", "tiny.en:int8"])
    args = parser.parse_args()
    normalise = Normaliser()
    print("invented / lost words of", ", ".join(f"{each:g} s" for each in SECONDS))
    for name in args.models:
        model_name, _, compute_type = name.partition(":")
        model = whisper_max.load_model(model_name, device="cpu", compute_type=compute_type or "auto", threads=1)
        print(f"\n| {name} | {' | '.join(WAYS)} |\n|{' --- |' * (len(WAYS) + 1)}", flush=True)
        for case, recordings in cases():
            cells = []
            for way in WAYS.values():
                counts = [
                    invented_and_lost(text, model.transcribe(samples, language="en", **options, **way).text, normalise)
                    for samples, text, options in recordings
                ]
                cells.append(f"{sum(count[0] for count in counts)} / {sum(count[1] for count in counts)}")
            print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
