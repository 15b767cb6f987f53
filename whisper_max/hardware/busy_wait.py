"""How long MAX's workers spin, once they have nothing to do, before they sleep.

By default 200 us: while Python chooses a token, or makes the next window's spectrogram, they spin on the cores that it
needs. MAX reads the time where the workers start and where a session is made, each from a variable of its own, and
needs them to be equal, and the same for every session.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisper_max.errors import OptionError

WORKERS, SESSION = "MODULAR_THREAD_BUSY_WAIT_US", "MODULAR_RUNTIME_THREAD_BUSY_WAIT_TIME_US"
SHORT = "20"
"""Microseconds. base, int8, one recording of 12 minutes on two cores of an EPYC (family 25, model 17), in turn: 12.10 s
of 21.8 s of processor time (5 runs) where the default takes 12.44 of 24.2 (7 runs)."""
_TASKS = Path("/proc/self/task")
_settled: dict[str, str] = {}


def settle_busy_wait() -> None:
    """Let MAX's workers sleep sooner; comes before they start, and again before each session.

    Leaves alone what the user has set, but for the variable that the user did not set beside it. Leaves all alone where
    somebody else has started the workers, or where that can't be known.

    Raises:
        OptionError: the user has set the two variables to different values.
    """
    if not _settled:
        given = {name: value for name in (WORKERS, SESSION) if (value := os.environ.get(name)) is not None}
        if len(set(given.values())) > 1:
            expected = f"as ${WORKERS}, {given[WORKERS]}"
            raise OptionError("differs", where=SESSION, expected=expected, found=given[SESSION])
        if not given and _others_started_workers():
            return
        wait = next(iter(given.values()), SHORT)
        _settled.update({WORKERS: wait, SESSION: wait})
    os.environ.update(_settled)


def _others_started_workers() -> bool:
    try:
        return any("Thread" in (task / "comm").read_text(errors="replace") for task in _TASKS.iterdir())
    except OSError:  # another system than Linux
        return True
