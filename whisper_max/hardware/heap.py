"""One heap for all threads of the process.

glibc gives each thread a heap of its own and keeps there what was freed: of the base model's graphs and weights, 35 MB
that nobody used. Few and large allocations don't need it.
"""

from __future__ import annotations

import ctypes
import os

VARIABLE = "MALLOC_ARENA_MAX"
_M_ARENA_MAX = -8
"""Of ``mallopt``, in glibc's malloc.h."""


def share_heap() -> bool:
    """Let threads that start from now on share the heaps there are.

    Leaves alone what the user has set with ``$MALLOC_ARENA_MAX``.

    Returns:
        False where that is so, or where the C library is another one.
    """
    if VARIABLE in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, 1) == 1
