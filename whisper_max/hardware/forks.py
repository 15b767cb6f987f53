"""Processes that are forked after MAX was started: they are told so, and they can end.

MAX's threads don't come along with a fork. What gives them work there waits for ever, and so does what takes a model
apart: Python where the last reference goes, and MAX's own libraries at the end of the process.
"""

from __future__ import annotations

import ctypes
import os
from weakref import WeakSet

from whisper_max.errors import DeviceError

_HINT = (
    'start processes by multiprocessing.get_context("spawn"), or load no model before the fork '
    "(gunicorn: without preload_app) and one in each process"
)
_started_in: list[int] = []  # the process that MAX's threads are in, once they are
_bound: WeakSet[object] = WeakSet()


def note_started() -> None:
    """Take note that MAX's threads are about to start in this process."""
    if not _started_in:
        os.register_at_fork(after_in_child=_make_endable)
    _started_in[:] = [os.getpid()]


def bind(model: object) -> None:
    """Take note of what only the process that made it can take apart."""
    _bound.add(model)


def check_process() -> None:
    """Refuse a process that was forked after MAX's threads were started.

    Raises:
        DeviceError: it was.
    """
    if _started_in and os.getpid() != _started_in[0]:
        found = f"process {os.getpid()}, forked from {_started_in[0]}"
        raise DeviceError("MAX can't run in a process forked after it was started", found=found, hint=_HINT)


def _make_endable() -> None:
    """Keep the models of the parent in memory, and end without MAX's own clearing up, with the same exit status."""
    for model in _bound:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(model))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # of glibc: called with the status, the latest first, once Python has ended
        libc.on_exit(libc._exit, None)
