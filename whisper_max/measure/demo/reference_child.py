"""One run of openai-whisper, in another environment: ``PYTHON reference_child.py JOB``, JOB as JSON.

It imports nothing of this package, which that environment need not have. The model gets the very weights that ours has,
so nothing is downloaded, and samples, so no ffmpeg is called. It speaks as ``child`` does.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

# openai-whisper prints "[00:00.000 --> 00:07.600]  And so..." for each segment, above an hour with the hours.
_SEGMENT = re.compile(r"\[[\d:.]+ --> (?:(\d+):)?(\d+):([\d.]+)\](.*)")
_OUT = sys.stdout


def tell(**event: Any) -> None:
    """Say an event."""
    print(json.dumps(event), file=_OUT, flush=True)


class Lines(io.TextIOBase):
    """What openai-whisper prints, as events; its one way to tell of segments as they come."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._rest = ""
        self.first: float | None = None

    def write(self, text: str) -> int:
        """Take what is printed; a whole line of a segment is told."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            found = _SEGMENT.match(line)
            if found:
                if self.first is None:
                    self.first = time.perf_counter() - self._begin
                hours, minutes, seconds = int(found[1] or 0), int(found[2]), float(found[3])
                tell(segment=found[4], progress=3600 * hours + 60 * minutes + seconds)
        return len(text)


def load(job: dict[str, Any]) -> Any:  # noqa: ANN401 - a model of openai-whisper
    """The model with the weights of a folder, one ``.npy`` for each tensor of its state dict."""
    import numpy as np

    # By name: this package itself never imports PyTorch, and its checks see to that.
    torch, whisper = importlib.import_module("torch"), importlib.import_module("whisper.model")
    if job["device"] == "cuda" and not torch.cuda.is_available():
        raise LookupError("PyTorch finds no CUDA device")
    torch.set_num_threads(job["threads"])
    model = whisper.Whisper(whisper.ModelDimensions(**job["dims"]))
    state = {
        path.stem: torch.from_numpy(np.load(path).astype(np.float32)) for path in Path(job["weights"]).glob("*.npy")
    }
    model.load_state_dict(state, strict=True)
    return model.eval().to(job["device"])


def run(job: dict[str, Any]) -> None:
    """Load the model, transcribe the samples, and tell of it."""
    import numpy as np

    tell(stage="loading")
    begin = time.perf_counter()
    model = load(job)
    version = importlib.import_module("importlib.metadata").version
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai-whisper", "torch"))
    samples = np.fromfile(job["samples"], np.float32)
    loaded = time.perf_counter()
    tell(stage="transcribing", target=versions)
    lines = Lines(loaded)
    with contextlib.redirect_stdout(lines):
        options = {**job["options"], "fp16": job["device"] == "cuda"}
        text = model.transcribe(samples, verbose=True, **options)["text"]
    elapsed = time.perf_counter() - loaded
    tell(done={"load": loaded - begin, "transcribe": elapsed, "first": lines.first, "text": text})


def main() -> None:
    """Run the job of the arguments; what can't be had here is told, not raised."""
    sys.path.pop(0)  # the folder of this file, whose modules are none of openai-whisper's business
    try:
        run(json.loads(sys.argv[1]))
    except (ImportError, LookupError) as error:
        tell(missing=str(error))
    sys.stdin.read()


if __name__ == "__main__":
    main()
