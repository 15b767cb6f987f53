"""Every CPU kernel against what bounds it: ``python scripts/bench/benchmark_kernels.py --json kernels.json``.

Builds ``benchmark_kernels.mojo`` for this machine (seconds, nothing of MAX's graph compiler) and prints each kernel's
fastest run on one core, in processor time, and which share it reaches of what this core was measured to do in the same
run: multiply-adds or dot products a second on registers alone, bytes a second of reading memory. Shapes are those of
the base model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.kernels import Figure, table

from whisper_max.hardware.processors import cpu_flags, vnni
from whisper_max.model.module import KERNELS

SOURCE = Path(__file__).with_suffix(".mojo")


def build(folder: Path) -> Path:
    """The benchmark as a program for this machine."""
    mojo = Path(sys.executable).with_name("mojo")
    program = folder / "benchmark_kernels"
    subprocess.run([str(mojo), "build", "-I", str(KERNELS.parent), str(SOURCE), "-o", str(program)], check=True)
    return program


def measure(program: Path) -> tuple[int, list[Figure]]:
    """Float32 lanes of a vector, and all figures."""
    core = max(os.sched_getaffinity(0))
    wide = "avx512f" in cpu_flags()  # and so are the program's vectors
    abilities = [
        *(["vnni"] if vnni() & (1 if wide else 2) else []),
        *(["bf16"] if "avx512_bf16" in cpu_flags() else []),
    ]
    output = subprocess.run(
        [str(program), *abilities],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ).stdout
    first, *rows = (line.split("\t") for line in output.splitlines())
    figures = [Figure(name, bound, float(ns), int(done), int(moved)) for name, bound, ns, done, moved in rows]
    return int(first[1]), figures


def processor() -> dict[str, str]:
    """Vendor, family, model and name as Linux says them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    wanted = ("vendor_id", "cpu family", "model", "model name")
    return {name.strip(): value.strip() for name, _, value in reversed(list(pairs)) if name.strip() in wanted}


def main() -> int:
    """Build, measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        width, figures = measure(build(Path(folder)))
    machine = {"platform": platform.platform(), **processor(), "cores": os.cpu_count(), "vector bits": 32 * width}
    result = {"kind": "kernels", "machine": machine, "figures": [asdict(figure) for figure in figures]}
    print(table(result))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
