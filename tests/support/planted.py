"""A kind of input for the fuzzer, each seed of which does what its name says when it is tried."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from random import Random

from scripts.fuzz.kinds import Kind, always
from scripts.fuzz.verdicts import ACCEPTED, Verdict, refused
from whisper_max.errors import AudioError

WHAT = ("accepted", "refused", "raises", "ends", "waits", "fills", "talks")


def change(_name: str, content: bytes, _random: Random) -> bytes:
    return content


def attempt(folder: Path) -> Verdict:
    what = (folder / "what").read_text()
    if what == "refused":
        return refused(AudioError("not audio", where="file"))
    if what == "raises":
        raise KeyError(what)
    if what == "ends":
        os.kill(os.getpid(), 9)
    if what == "waits":
        time.sleep(60)
    if what == "fills":
        bytearray(1 << 30)
    if what == "talks":
        print("it talks", file=sys.stderr, flush=True)
    return Verdict(ACCEPTED)


KIND = Kind(lambda: {what: {"what": what.encode()} for what in WHAT}, change, lambda: always(attempt), 2.0, 1 << 29)
