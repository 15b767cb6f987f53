"""Run the tests of NumPy code as other processors would.

    python scripts/checks/other_processors.py [PYTEST ARGUMENT...]

OpenBLAS and NumPy choose their code by what the processor has. Here OpenBLAS is told to take another processor's, and
NumPy to leave some of its own alone. What a processor can't run is skipped, and said.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

# OpenBLAS's name of a kind of processor, NumPy's name of what it needs ("" where all have it), and what NumPy is to
# leave alone: everything, what is beyond AVX2 (its X86_V3, formerly AVX2), or nothing.
KINDS = (("Prescott", "", "all"), ("Haswell", "AVX2", "beyond AVX2"), ("Zen", "AVX2", ""), ("SkylakeX", "AVX512", ""))
NAMES = {"AVX2": ("X86_V3", "AVX2", "FMA3"), "AVX512": ("X86_V4", "AVX512_SKX")}


def main() -> int:
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    failed = []
    for kind, needs, without in KINDS:
        if needs and not set(NAMES[needs]) & set(found):
            print(f"{kind}: skipped, this processor has no {needs}", flush=True)
            continue
        left = [name for name in found if without == "all" or (without and name not in NAMES["AVX2"])]
        environment = {**os.environ, "OPENBLAS_CORETYPE": kind, "NPY_DISABLE_CPU_FEATURES": ",".join(left)}
        print(f"{kind}: NumPy without {', '.join(left) or 'nothing'}", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment, check=False).returncode:
            failed.append(kind)
    print(f"failed as {', '.join(failed)}" if failed else "passed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
