"""A warm process that tries one case after the other; it is started again when one was its end."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from scripts.fuzz.verdicts import FAULT, Verdict

_START = 120.0  # seconds until it is ready
_SHOWN = 4000  # characters of what it says on stderr


class Child:
    """Use it as a context.

    Args:
        kind: of the cases, by name.
        seconds: that a case may take.
    """

    def __init__(self, kind: str, seconds: float) -> None:
        self._kind, self._seconds = kind, seconds
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the context
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: tuple[type[BaseException], BaseException, TracebackType]) -> None:
        self._end()
        self._stderr.close()

    def judge(self, folder: Path) -> Verdict:
        """Try a case. The end of the process, silence and lines on stderr are this case's faults."""
        process = self._process or self._start()
        self._stderr.seek(0)
        self._stderr.truncate()
        print(folder, file=process.stdin, flush=True)
        answer = _line(process, self._seconds)
        self._stderr.seek(0)
        heard = self._stderr.read().decode(errors="replace")[-_SHOWN:]
        if answer is None:
            self._end()
            return Verdict(FAULT, f"no end in {self._seconds:.0f} s\n{heard}")
        if not answer:
            status = process.wait()
            self._end()
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            return Verdict(FAULT, f"the process ended: {name}\n{heard}")
        verdict = Verdict(*json.loads(answer))
        return Verdict(FAULT, f"on stderr: {heard}\n{verdict.said}") if heard else verdict

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-X", "faulthandler", "-m", "scripts.fuzz.worker", self._kind]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        if _line(self._process, _START) != "ready\n":
            self._stderr.seek(0)
            raise RuntimeError(f"the process for {self._kind} does not start: {self._stderr.read().decode()[-_SHOWN:]}")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _line(process: subprocess.Popen[str], seconds: float) -> str | None:
    """The next line; empty at the end of the process, None where none comes in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else None
