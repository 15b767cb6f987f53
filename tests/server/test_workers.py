"""Threads that open recordings."""

import os
import sys
import threading

import numpy as np
import pytest

from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.recordings import LONG_UPLOAD, Workers


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_threads_for_long_uploads_come_after_others():
    found = {}
    workers = Workers(1, Decoders(1 << 30, 60, 60))

    def note(kind):
        found[kind] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    workers.submit(np.zeros(100, np.float32), lambda: note("short")).result()
    workers.submit(np.zeros(LONG_UPLOAD, np.float32), lambda: note("long")).result()
    workers.close()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert found == {"short": own, "long": min(own + 5, 19)}
