"""How many threads run the graphs of a CPU: the cores that this process may really use.

MAX starts one pool of worker threads a process, when its first device is made, with a worker for each core that the
calling thread may run on; it takes no other number. So that thread may run on a few cores only while the pool starts,
and afterwards it and the workers may run where they like again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from max.driver import CPU

from whisper_max.errors import OptionError
from whisper_max.hardware.busy_wait import settle_busy_wait
from whisper_max.hardware.cores import allowed_cores, usable_cores
from whisper_max.hardware.forks import check_process, note_started
from whisper_max.hardware.heap import share_heap

VARIABLE = "WHISPER_MAX_THREADS"
_LOCK = threading.Lock()
_started: list[int] = []  # the size of the pool, once there is one


def start_workers(threads: int | None = None) -> int:
    """Start the pool of worker threads, if it isn't there yet; must come before anything of MAX makes a device.

    Args:
        threads: how many; None for ``$WHISPER_MAX_THREADS``, else every core that can be used.

    Returns:
        the size of the pool.

    Raises:
        OptionError: not a number of threads that can be had, or the pool is there with another number; or the user has
            set how long workers spin to two different times.
        DeviceError: the pool is in the process that this one was forked from.
    """
    check_process()  # first: another thread may have held the lock when the process was forked
    with _LOCK:
        settle_busy_wait()
        if not _started:
            wanted = _wanted(threads)
            share_heap()
            with _on_cores(wanted):
                note_started()
                CPU()
            _started.append(wanted)
        elif threads is not None and threads != _started[0]:
            raise OptionError(
                "the threads of a process are started once", where="threads", expected=_started[0], found=threads
            )
        return _started[0]


def nearest_threads(wanted: int) -> int:
    """The nearest number of threads that can be had: at most the cores, and those of the pool once it is there."""
    with _LOCK:
        return _started[0] if _started else min(wanted, len(allowed_cores()))


def _wanted(threads: int | None) -> int:
    where, most = "threads", len(allowed_cores())
    found: object = threads
    if threads is None:
        where, found = VARIABLE, os.environ.get(VARIABLE)
        if not found:
            return usable_cores()
    if not str(found).isdecimal() or not 1 <= int(str(found)) <= most:
        raise OptionError("impossible number of threads", where=where, expected=f"1 to {most}", found=found)
    return int(str(found))


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Let this thread see so many cores; at the end it and the threads started since see all again."""
    cores = allowed_cores()
    if count == len(cores):
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise OptionError("can't be set on this system", where="threads", expected=len(cores), found=count)
    before = set(os.listdir("/proc/self/task"))
    os.sched_setaffinity(0, cores[:count])
    try:
        yield
    finally:
        for thread in ("0", *(set(os.listdir("/proc/self/task")) - before)):
            os.sched_setaffinity(int(thread), cores)
