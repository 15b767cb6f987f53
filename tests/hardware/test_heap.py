"""Threads share one heap."""

import os
import subprocess
import sys

import pytest

COUNT = """
import ctypes, re, threading
from pathlib import Path
from whisper_max.hardware.heap import share_heap

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
print(share_heap())
together = threading.Barrier(5)

def take():
    library.malloc(1000)
    together.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
together.wait()
for thread in threads:
    thread.join()
stream = library.fopen
stream.restype = ctypes.c_void_p
file = stream(b"heaps.xml", b"w")
library.malloc_info(0, ctypes.c_void_p(file))
library.fclose(ctypes.c_void_p(file))
print(len(re.findall("<heap nr=", Path("heaps.xml").read_text())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has a heap for each thread")
@pytest.mark.parametrize(("set_by_user", "shares", "n_heaps"), [(None, "True", 1), ("4", "False", 4)])
def test_threads_share_a_heap_unless_the_user_says_otherwise(tmp_path, set_by_user, shares, n_heaps):
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if set_by_user is not None:
        environment["MALLOC_ARENA_MAX"] = set_by_user
    run = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [shares, str(n_heaps)]
