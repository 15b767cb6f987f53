"""Timers of threads that wake far too often.

When it first runs a graph, MAX starts a thread that writes its log, and looks for something to write every 0.1 ms as
long as the process lives. On two cores its 5,000 to 10,000 wake-ups a second took a twentieth of the time from the
workers, and a sixth of a core from a server that did nothing. Linux lets a thread's timers be late by what its timer
slack says, 0.05 ms by default; a thread inherits it from the one that starts it. Where another thread than ours starts
MAX's, nothing is gained: once in many runs it woke as often as before, why is not known.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

LATE = 100_000_000
"""Nanoseconds by which timers may be late."""
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
"""Of ``prctl``, in Linux's prctl.h."""


@contextmanager
def late_timers() -> Iterator[None]:
    """Let threads that this one starts meanwhile wake up to ``LATE`` late from timed waits; only on Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    before = -1 if prctl is None else prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)
    if prctl is None or before <= 0:
        yield
        return
    prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(LATE), 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(before), 0, 0, 0)
