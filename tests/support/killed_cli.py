"""Runs ``transcribe`` many times and has it killed each time, at another point; run by test_cli_resume.py.

``python -m tests.support.killed_cli FOLDER N OPTION...`` transcribes FOLDER/audio and kills it at N of its steps, or at
all with N = 0, and then at some random times. A *step* is a moment just before or after a file is flushed, renamed or
removed, or in the middle of a line of the journal. After each kill the same command is run with ``--resume``. Every run
is a fork of this process, so that modules are imported once. Prints JSON:
``undisturbed``: the files of a whole run; ``kills``: for each kill the signal, which files it left, the status of the
resumed run and its files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import whisper_max
from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.commands import console
from whisper_max.commands.main import main
from whisper_max.transcribe import journal

N_RANDOM = 3  # kills at any time


class Steps:
    """Counts steps, and ends the process with SIGKILL at one of them."""

    def __init__(self, fatal: int) -> None:
        self.n, self._fatal = 0, fatal

    def step(self) -> None:
        self.n += 1
        if self.n == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def stepping(*args):
            self.step()
            result = function(*args)
            self.step()
            return result

        return stepping


class Halves:
    """A file that writes in two parts, with a step between."""

    def __init__(self, file, steps: Steps) -> None:
        self._file, self._steps = file, steps

    def write(self, data) -> int:
        half = max(len(data) // 2, 1)
        written = self._file.write(data[:half])
        self._steps.step()
        return written

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def command(folder: Path, out: str, options: list[str]) -> list[str]:
    return ["transcribe", str(folder / "audio"), "-o", str(folder / out), "--verbose", "False", *options]


def transcribe(folder: Path, out: str, options: list[str], fatal: int = 0) -> int:
    """Start the command in a fork; returns its process id. The number of steps goes to the file ``n_steps``."""
    pid = os.fork()
    if pid:
        return pid
    steps = Steps(fatal)
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, steps.around(getattr(os, name)))
    real_open = journal._open_locked
    setattr(journal, "_open_locked", lambda path: Halves(real_open(path), steps))  # noqa: B010 - it is no FileIO
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    status = main(command(folder, out, options))
    (folder / "n_steps").write_text(str(steps.n))
    os._exit(status)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def files(folder: Path) -> dict[str, str]:
    """The digests of all files below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def kills(folder: Path, options: list[str], fatal: list[int], seconds: float) -> list[dict[str, Any]]:
    results = []
    times = random.Random(1)
    for number, step in enumerate([*fatal, *[0] * N_RANDOM]):
        out = f"killed-{number}"
        pid = transcribe(folder, out, options, step)
        if not step:
            time.sleep(times.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
        killed = status_of(pid)
        left = sorted(files(folder / out))
        status = status_of(transcribe(folder, out, [*options, "--resume"]))
        results.append({"signal": -killed, "left": left, "status": status, "files": files(folder / out)})
    return results


def run(folder: Path, n_kills: int, options: list[str]) -> dict[str, Any]:
    model = Model(FakeInference(), synthetic_vocabulary())
    whisper_max.load_model = lambda *_, **__: model
    console.LINE_EVERY = math.inf
    with redirect_stdout(None):  # once in this process, so that each fork knows what the stand-in says
        main(command(folder, "before", options))
    start = time.monotonic()
    status = status_of(transcribe(folder, "whole", options))
    seconds = time.monotonic() - start
    n_steps = int((folder / "n_steps").read_text())
    every = max(n_steps // n_kills, 1) if n_kills else 1
    return {
        "status": status,
        "undisturbed": files(folder / "whole"),
        "kills": kills(folder, options, list(range(1, n_steps + 1, every)), seconds),
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
