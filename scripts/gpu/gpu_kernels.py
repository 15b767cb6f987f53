"""What a compiled module for an NVIDIA GPU is made of: ``python scripts/gpu/gpu_kernels.py MODULE``; needs no GPU.

A line a kernel: registers, bytes of stack and of shared memory, instructions that spill, and those of tensor cores
(wgmma, mma). MODULE is an artifact (.wmx) or in MAX's own format.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_tools.cubins import Kernel, kernels

from whisper_max.compile.artifact import MAGIC, read_artifact
from whisper_max.errors import WhisperMaxError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("--spilling", action="store_true", help="only kernels that spill")
    args = parser.parse_args(argv)
    try:
        found = list(kernels(module_of(args.module)))
    except (WhisperMaxError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not found:
        print(f"error: {args.module}: has no kernels for an NVIDIA GPU", file=sys.stderr)
        return 2
    print("\n".join(table([kernel for kernel in found if kernel.spills or not args.spilling])))
    print(
        f"\n{len(found)} kernels; {sum(kernel.wgmma > 0 for kernel in found)} have wgmma, "
        f"{sum(kernel.mma > 0 for kernel in found)} mma, {sum(kernel.spills > 0 for kernel in found)} spill"
    )
    return 0


def module_of(path: Path) -> bytes:
    """A module in MAX's format, unpacked where it is an artifact."""
    with path.open("rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
    return read_artifact(path) if packed else path.read_bytes()


def table(found: Sequence[Kernel]) -> Iterator[str]:
    """In Markdown."""
    yield "| kernel | registers | stack | shared | spills | wgmma | mma |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for k in found:
        yield f"| {k.name} | {k.registers} | {k.stack} | {k.shared} | {k.spills} | {k.wgmma} | {k.mma} |"


if __name__ == "__main__":
    sys.exit(main())
