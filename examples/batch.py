"""Many recordings side by side in one batch, each to an srt file beside it: ``python examples/batch.py FILE...``."""

from __future__ import annotations

import sys
from pathlib import Path

from whisper_max import load_model
from whisper_max.output import render


def main(paths: list[str]) -> int:
    """Transcribe each recording; one that fails is told and the others are still done."""
    model = load_model("base", compute_type="int8", progress=tell)
    n_failed = 0
    for outcome in model.transcribe_many(paths, batch_size=8, word_timestamps=True):
        if outcome.error is not None:
            n_failed += 1
            print(f"{paths[outcome.index]}: {outcome.error}", file=sys.stderr)
            continue
        subtitles = Path(paths[outcome.index]).with_suffix(".srt")
        subtitles.write_text(render(outcome.value(), "srt"), encoding="utf-8")
        print(f"{subtitles}: {outcome.value().language}, {outcome.value().duration:.1f} s")
    return 1 if n_failed else 0


def tell(line: str) -> None:
    """What takes a while is told apart from what was asked for."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["samples/jfk.flac"]))
