"""Run the tests of NumPy code as other processors would.

    python scripts/checks/other_processors.py [PYTEST ARGUMENT...]

OpenBLAS and NumPy choose their code by what the processor has. Here OpenBLAS is told to take another processor's, and
NumPy to leave some of its own alone. What a processor can't run is skipped, and said; so is a kind that comes to the
same code as this processor by itself, which `make test` runs, or as a kind before it: wheels of NumPy hold an OpenBLAS
that has nothing of Zen's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np

# OpenBLAS's name of a kind of processor, NumPy's name of what it needs ("" where all have it), and what NumPy is to
# leave alone: everything, what is beyond AVX2 (its X86_V3, formerly AVX2), or nothing.
KINDS = (("Prescott", "", "all"), ("Haswell", "AVX2", "beyond AVX2"), ("Zen", "AVX2", ""), ("SkylakeX", "AVX512", ""))
NAMES = {"AVX2": ("X86_V3", "AVX2", "FMA3"), "AVX512": ("X86_V4", "AVX512_SKX")}
ITSELF = "this processor by itself"

CODE_TAKEN = """
import ctypes, os
import numpy as np
asked = os.environ.get("OPENBLAS_CORETYPE", "")
paths = {line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line}
libraries = [ctypes.CDLL(path) for path in paths]
names = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename")
asking = [getattr(library, name) for library in libraries for name in names if hasattr(library, name)]
for function in asking:
    function.restype = ctypes.c_char_p
simd = np.show_config(mode="dicts")["SIMD Extensions"]
print([function().decode() for function in asking] or asked, simd.get("found"))  # it leaves out what is empty
"""
"""Prints what OpenBLAS took, what it was asked for where it doesn't say, and what NumPy uses."""


def code_taken(environment: Mapping[str, str]) -> str:
    """The code that OpenBLAS and NumPy take in a process of this environment; equal texts mean equal code."""
    found = subprocess.run([sys.executable, "-c", CODE_TAKEN], env=environment, capture_output=True, check=True)
    return found.stdout.decode()


def environment_of(kind: str, left_alone: list[str]) -> dict[str, str]:
    """The environment of a process that computes as this kind of processor, without these features of NumPy's."""
    return {**os.environ, "OPENBLAS_CORETYPE": kind, "NPY_DISABLE_CPU_FEATURES": ",".join(left_alone)}


def main() -> int:
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    failed, same_as = [], {code_taken(os.environ): ITSELF}
    for kind, needs, without in KINDS:
        if needs and not set(NAMES[needs]) & set(found):
            print(f"{kind}: skipped, this processor has no {needs}", flush=True)
            continue
        left = [name for name in found if without == "all" or (without and name not in NAMES["AVX2"])]
        environment = environment_of(kind, left)
        earlier = same_as.setdefault(code_taken(environment), kind)
        if earlier != kind:
            print(f"{kind}: skipped, it is {earlier}", flush=True)
            continue
        print(f"{kind}: NumPy without {', '.join(left) or 'nothing'}", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment, check=False).returncode:
            failed.append(kind)
    print(f"failed as {', '.join(failed)}" if failed else "passed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
