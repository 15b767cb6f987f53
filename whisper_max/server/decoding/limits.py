"""What a process that decodes may do: compute for a while, in so much memory, and nothing else.

It reads the recording and writes to its pipe, through descriptors that are open already. It can't open another, which
a file, a socket and a pipe each take, and where the kernel has namespaces of networks (Linux) there is none in its own.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MOST_FILES = 1024  # descriptors that may be open before


def leave_network() -> bool:
    """Move this process, which must have one thread, to a network without interfaces; False where that can't be."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def limit(memory: int, seconds: int, n_files: int) -> None:
    """Limit this process for the rest of its life.

    Args:
        memory: bytes that it may take besides what it has.
        seconds: of processor time.
        n_files: descriptors, all of which are open.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with open("/proc/self/statm", "rb") as sizes:
            taken = int(sizes.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.closerange(n_files, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, n_files))
