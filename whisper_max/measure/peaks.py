"""The most that this machine does, measured with NumPy: what a stage of the model can be held against.

``python -m whisper_max.measure.peaks THREADS`` measures in its own process and prints JSON; ``measure_peaks``
starts it, since the library of matrix products takes its number of threads from the environment when it is loaded.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from whisper_max.errors import DeviceError

REPEATS = 5
MATRIX = 2048  # rows and columns: 17 GFLOP a product, far more work than memory traffic
READ_BYTES = 1 << 28  # 256 MiB, more than the caches of most processors
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "asimd")


@dataclass(frozen=True)
class Peaks:
    """The best of some tries.

    flops: multiplications and additions a second of a float32 matrix product. bandwidth: bytes a second read from
    memory. threads: that did it.
    """

    flops: float
    bandwidth: float
    threads: int


def measure_peaks(threads: int) -> Peaks:
    """Measure both rates with so many threads, in a process of its own; a few seconds.

    Raises:
        DeviceError: the process failed.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-m", "whisper_max.measure.peaks", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise DeviceError("this machine's peaks can't be measured", where=" ".join(command[1:3]), found=last)
    return Peaks(**json.loads(done.stdout))


def matmul_rate(size: int = MATRIX, repeats: int = REPEATS) -> float:
    """Operations a second of float32 matrix products, (size, size) by (size, size): 2 * size**3 each."""
    left, right = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    out = np.empty_like(left)
    return 2 * size**3 / _least_seconds(lambda: np.matmul(left, right, out=out), repeats)


def read_rate(threads: int, n_bytes: int = READ_BYTES, repeats: int = REPEATS) -> float:
    """Bytes a second of finding the greatest of an array of float32, a part of it in each thread."""
    parts = np.array_split(np.random.default_rng(0).random(n_bytes // 4, dtype=np.float32), threads)
    with ThreadPoolExecutor(threads) as pool:
        return n_bytes / _least_seconds(lambda: list(pool.map(np.max, parts)), repeats)


def _least_seconds(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, family and model where Linux tells them, and of what may matter here whether it has it."""
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    keys = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = keys.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in keys and "model" in keys:  # a name alone may be that of several generations
        name += f", family {keys['cpu family']} model {keys['model']}"
    flags = (keys.get("flags") or keys.get("Features") or "").split()
    has = [feature for feature in _FEATURES if feature in flags]
    return f"{name} ({', '.join(has)})" if has else name


if __name__ == "__main__":
    n_threads = int(sys.argv[1])
    print(json.dumps(asdict(Peaks(matmul_rate(), read_rate(n_threads), n_threads))))
