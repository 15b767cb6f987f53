"""One run of this package, in a process of its own: ``python -m whisper_max.measure.demo.child JOB``, JOB as JSON.

Says what happens in lines of JSON on standard output (``runs`` reads them), and ends when standard input does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def tell(**event: Any) -> None:
    """Say an event."""
    print(json.dumps(event), flush=True)


def run(job: dict[str, Any]) -> None:
    """Load the model, transcribe the samples, and tell of it.

    Raises:
        WhisperMaxError: as ``load_model`` and ``Model.transcribe``.
    """
    import numpy as np

    import whisper_max
    from whisper_max.transcribe.result import Segment

    tell(stage="loading")
    begin = time.perf_counter()
    model = whisper_max.load_model(**job["model"], progress=lambda line: tell(note=line))
    samples = np.fromfile(job["samples"], np.float32)
    loaded = time.perf_counter()
    tell(stage="transcribing", target=model.target)
    first: list[float] = []

    def take(segment: Segment) -> None:
        first.append(time.perf_counter() - loaded)
        tell(segment=segment.text)

    result = model.transcribe(
        samples, on_segment=take, on_progress=lambda done, _: tell(progress=done), **job["options"]
    )
    elapsed = time.perf_counter() - loaded
    tell(
        done={"load": loaded - begin, "transcribe": elapsed, "first": first[0] if first else None, "text": result.text}
    )


def main() -> None:
    """Run the job of the arguments; what can't be had here is told, not raised."""
    from whisper_max.errors import WhisperMaxError

    try:
        run(json.loads(sys.argv[1]))
    except WhisperMaxError as error:
        tell(missing=str(error))
    sys.stdin.read()


if __name__ == "__main__":
    main()
