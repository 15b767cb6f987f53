"""Count what there is to read to follow one window from its mel to its segments: greedy, on a CPU.

``python scripts/checks/follow_window.py`` runs it and lists the files. A file is on the way where a function of it is
called

- while the graphs of one window are built (encode, cross_kv, prefill, step), which are what the engine runs, or
- while the base model transcribes 11 seconds of speech, from the recording's mel to its last segment,

or where it holds a protocol that such a file names. It counts whole, with its comments and blank lines. Rooms before
and beside the way (checkpoints, compiling, hardware, text, options as a mechanism, errors) are listed, but are not
counted: the figures of other implementations leave out their tokenizers and loaders too. What runs before the mel is
there, and what is only read (a constant, the field of an option), is not followed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from max.dtype import DType
from max.graph import DeviceRef

import whisper_max
from whisper_max.api import Model
from whisper_max.audio.io import load_audio
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.load import load_model
from whisper_max.model.module import build_module, kernel_library
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import transcribe_windows

PACKAGE = Path(whisper_max.__file__).parent
SAMPLE = PACKAGE.parent / "samples" / "jfk.flac"
ROOMS = ("audio", "model", "engine", "decode", "transcribe")
GRAPHS = ("encode", "cross_kv", "prefill", "step")


@dataclass
class Follower:
    """The functions of the package that are called, by module."""

    called: dict[str, set[str]] = field(default_factory=dict)

    def follow(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the work returns
        """Do the work and note what it calls, in this thread."""
        sys.setprofile(self._note)
        try:
            return work()
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        module = frame.f_globals.get("__name__", "")  # of what a dataclass generates too
        if event == "call" and module.startswith(f"{PACKAGE.name}."):
            self.called.setdefault(module, set()).add(frame.f_code.co_qualname)

    def modules(self) -> list[str]:
        """Those with a function that was called, and those of the protocols that these name."""
        named = {
            value.__module__
            for module in self.called
            for value in vars(sys.modules[module]).values()
            if getattr(value, "_is_protocol", False) and value.__module__.startswith(f"{PACKAGE.name}.")
        }
        return sorted({*self.called, *named})


def follow_window(model: Model, follower: Follower) -> list[str]:
    """Follow a window; returns the text of its segments."""
    storage, library = DType.float16, kernel_library(check=False)  # as base is stored on a CPU

    def build() -> None:
        build_module(model.dims, DType.float32, storage, DeviceRef.CPU(), only=GRAPHS, library=library)

    follower.follow(build)
    options = TranscribeOptions(language="en", temperature=0.0, guard="off")  # openai-whisper, too, has none
    waveform = ArrayWaveform(load_audio(SAMPLE))
    recording = open_recording(waveform, model.vocabulary, model.dims.n_mels, options, as_openai=True)

    def transcribe() -> list[str]:
        recording.begin(model.inference)
        return [segment.text for segment in transcribe_windows(model.inference, recording)]

    texts: list[str] = follower.follow(transcribe)
    return texts


def lines_of(modules: Iterable[str]) -> dict[str, int]:
    """The lines of each module's file, by its path in the package."""
    files = [Path(str(sys.modules[module].__file__)) for module in modules]
    return {file.relative_to(PACKAGE).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in files}


def main() -> int:
    """Print the files on the way, and their sum; fails where that is more than was asked for."""
    parser = argparse.ArgumentParser(description="Count what there is to read to follow one window.")
    parser.add_argument("--most_lines", type=int, help="fail above so many lines")
    parser.add_argument("--most_files", type=int, help="fail above so many files")
    parser.add_argument("--functions", action="store_true", help="say which functions of each file were called")
    arguments = parser.parse_args()
    follower = Follower()
    follow_window(load_model("base", device="cpu", compute_type="float32"), follower)
    lines = lines_of(follower.modules())
    counted = {file: n for file, n in lines.items() if file.partition("/")[0] in ROOMS}
    for file, n in counted.items():
        print(f"{n:5}  {file}")
        if arguments.functions:
            module = f"{PACKAGE.name}.{file.removesuffix('.py').replace('/', '.')}"
            print("       ", ", ".join(sorted(follower.called.get(module, {"(a protocol)"}))))
    print(f"{sum(counted.values()):5}  in {len(counted)} files")
    print("beside the way:", ", ".join(f"{file} {n}" for file, n in lines.items() if file not in counted))
    too_long = arguments.most_lines is not None and sum(counted.values()) > arguments.most_lines
    return int(too_long or (arguments.most_files is not None and len(counted) > arguments.most_files))


if __name__ == "__main__":
    sys.exit(main())
