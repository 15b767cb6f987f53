"""Every CPU kernel against what bounds it: ``python scripts/benchmark_kernels.py --json kernels.json``.

Builds ``benchmark_kernels.mojo`` for this machine (seconds, nothing of MAX's graph compiler) and prints each kernel's
fastest run, and which share it reaches of what this machine was measured to do in the same run: bytes a second of a
copy, multiply-adds a second of a loop on registers alone. Shapes are those of the base model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from whisper_max.engine.processors import vnni
from whisper_max.graph.module import KERNELS

SOURCE = Path(__file__).with_suffix(".mojo")
COPY, FLOAT, PAIRS, VNNI = (
    "floor: copy",
    "floor: float32 multiply-adds",
    "floor: int8 dots, pairs",
    "floor: int8 dots, VNNI",
)


@dataclass(frozen=True)
class Figure:
    """One kernel at one shape. operations: multiplications and additions; bytes: the least that has to move."""

    name: str
    nanoseconds: float
    operations: int
    bytes: int

    @property
    def gigabytes_a_second(self) -> float:
        return self.bytes / self.nanoseconds

    @property
    def giga_operations_a_second(self) -> float:
        return self.operations / self.nanoseconds


def build(folder: Path) -> Path:
    """The benchmark as a program for this machine."""
    mojo = Path(sys.executable).with_name("mojo")
    program = folder / "benchmark_kernels"
    subprocess.run([str(mojo), "build", "-I", str(KERNELS.parent), str(SOURCE), "-o", str(program)], check=True)
    return program


def measure(program: Path) -> tuple[int, int, list[Figure]]:
    """Threads, float32 lanes of a vector, and all figures."""
    flags = vnni()
    lines = subprocess.run([str(program), "width"], capture_output=True, text=True, check=True).stdout.split("\t")
    fast = flags & (1 if int(lines[2]) == 16 else 2)
    command = [str(program), "fast" if fast else "slow"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, *rows = (line.split("\t") for line in output.splitlines())
    figures = [Figure(name, float(ns), int(operations), int(moved)) for name, ns, operations, moved in rows]
    return int(first[1]), int(first[2]), figures


def peak_of(figure: Figure, floors: dict[str, Figure]) -> Figure:
    """The loop on registers that bounds a kernel."""
    if "int8" not in figure.name:
        return floors[FLOAT]
    return floors[VNNI] if "VNNI" in figure.name else floors[PAIRS]


def print_table(figures: list[Figure]) -> None:
    """Shares of copy and peak; the larger of the two is what the kernel is bound by."""
    floors = {figure.name: figure for figure in figures if figure.name.startswith("floor")}
    print("| kernel (rows x depth x columns) | ms | GB/s | of copy | Gop/s | of peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for figure in figures:
        moved, operations = figure.gigabytes_a_second, figure.giga_operations_a_second
        of_copy = moved / floors[COPY].gigabytes_a_second
        of_peak = operations / peak_of(figure, floors).giga_operations_a_second
        print(
            f"| {figure.name} | {figure.nanoseconds / 1e6:.3f} | {moved:.1f} | {of_copy:.0%} "
            f"| {operations:.0f} | {of_peak:.0%} |"
        )


def main() -> int:
    """Build, measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        threads, width, figures = measure(build(Path(folder)))
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "threads": threads, "vector_bits": 32 * width}
    print(f"{machine['platform']}, {threads} threads, {32 * width} bit vectors; the fastest of many runs each\n")
    print_table(figures)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": machine, "figures": [asdict(f) for f in figures]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
