"""The instructions that the shipped artifacts multiply bytes by, on each processor that they are for.

No machine runs them all. What is looked at is the code: the innermost loops of an artifact, and how often the
instruction is in them.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest
from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.artifact import SHIPPED, artifact_key, read_artifact

LONGEST_LOOP = 200
"""Instructions of the longest loop that is looked at."""


def code_of(processor: str) -> bytes:
    """The machine code for tiny.en in int8: the object, as it stands in MAX's format."""
    key = artifact_key(MODELS["tiny.en"].dims, DType.float32, DType.int8, f"cpu:{processor}")
    module = read_artifact(SHIPPED / key.file_name)
    assert module.count(b"\x7fELF") == 1
    return module[module.index(b"\x7fELF") :]


def loops(branches: list[int | None], counted: list[bool]) -> Iterator[int]:
    """How often an instruction is in each innermost loop.

    branches: for each instruction the one that it may jump to, or itself where that isn't known, if it jumps at all;
    counted: whether it is one to count.
    """
    for at, target in enumerate(branches):
        if (
            target is not None
            and at - LONGEST_LOOP < target < at
            and not any(branch is not None for branch in branches[target:at])
        ):
            yield sum(counted[target:at])


def arm_loops(code: bytes, wanted: int) -> list[int]:
    """``loops`` of code for Arm. wanted: bits of the instruction on vectors, without its registers."""
    (start,) = struct.unpack_from("<Q", code, 0x28)
    headers = [code[start + 64 * i : start + 64 * i + 64] for i in range(struct.unpack_from("<H", code, 0x3C)[0])]
    offset, size = next(struct.unpack_from("<QQ", header, 24) for header in headers if header[8] & 4)  # executable
    words = struct.unpack_from(f"<{size // 4}I", code, offset)
    return list(loops([branch(at, word) for at, word in enumerate(words)], [w & 0xFFE0FC00 == wanted for w in words]))


def branch(at: int, word: int) -> int | None:
    """Where an instruction of Arm jumps to, itself where it returns or calls; None where it doesn't jump."""
    if word & 0xFF000010 == 0x54000000 or word & 0x7E000000 == 0x34000000:  # b.cond; cbz and cbnz
        distance = word >> 5 & 0x7FFFF
        return at + distance - (distance >> 18 << 19)
    if word & 0x7E000000 == 0x36000000:  # tbz and tbnz
        distance = word >> 5 & 0x3FFF
        return at + distance - (distance >> 13 << 14)
    return at if word & 0x7C000000 == 0x14000000 or word & 0xFE000000 == 0xD6000000 else None


def x86_loops(folder, code: bytes, wanted: Callable[[str], bool]) -> list[int]:
    """``loops`` of code for x86-64. wanted: whether a line of objdump's has the instruction."""
    if shutil.which("objdump") is None:
        pytest.skip("objdump (binutils) is not installed")
    path = folder / "module.o"
    path.write_bytes(code)
    shown = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True)
    if "x86-64" not in shown.stdout:
        pytest.skip("this machine's objdump does not know x86-64")
    lines = [line.split("\t", 1) for line in shown.stdout.splitlines() if re.match(r" *[0-9a-f]+:\t", line)]
    places = {int(address.strip(" :"), 16): at for at, (address, _) in enumerate(lines)}
    branches: list[int | None] = []
    for at, (_, text) in enumerate(lines):
        jump = re.match(r"(?:j|call|ret)\S*\s*([0-9a-f]*)", text)
        branches.append(places.get(int(jump[1] or "0", 16), at) if jump else None)
    return list(loops(branches, [wanted(text) for _, text in lines]))


@pytest.mark.parametrize(
    ("processor", "instruction", "products"),
    [
        ("x86-64-v4", r"vpdpbusd .*zmm", 24),  # AVX512-VNNI: 12 rows by two vectors
        ("x86-64-v4", r"vpmaddwd .*zmm", 24),  # without it
        ("x86-64-v3", r"\{vex\} vpdpbusd .*ymm", 8),  # AVX-VNNI: 4 rows by two vectors
        ("x86-64-v3", r"vpmaddwd .*ymm", 12),  # without it: 6 rows
    ],
)
def test_bytes_are_multiplied_by_what_the_processor_has(tmp_path, processor, instruction, products):
    found = x86_loops(tmp_path, code_of(processor), lambda text: re.match(instruction, text) is not None)
    assert found.count(products) > 2


def test_bytes_are_multiplied_by_what_arm_has():
    assert arm_loops(code_of("neoverse-n1"), 0x4E809400).count(8) > 10  # sdot: 4 rows by two vectors
