"""Words while sound comes in: ``python examples/stream.py [RECORDING]`` feeds a recording in pieces of a fifth second.

A program with a microphone feeds what it hears in the same way; ``vad=False`` takes everything as one utterance, and
is left out where the extra ``vad`` is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from whisper_max import load_model
from whisper_max.audio.io import open_audio
from whisper_max.live import Committed

PIECE = 3200  # samples, 0.2 s


def main(path: str = "samples/jfk.flac") -> None:
    """Print words as soon as they are certain."""
    model = load_model("base", compute_type="int8", progress=tell)
    live = model.live(language="en", vad=False)
    with open_audio(path) as waveform:
        for start in range(0, waveform.n_samples, PIECE):
            show(live.feed(waveform.read(start, start + PIECE)))
    show(live.finish())
    print()


def show(events: Sequence[object]) -> None:
    """Print the words of what was committed."""
    for event in events:
        if isinstance(event, Committed):
            print("".join(word.word for word in event.words), end="", flush=True)


def tell(line: str) -> None:
    """What takes a while is told apart from what was asked for."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:2])
