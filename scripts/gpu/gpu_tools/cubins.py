"""The machine code for NVIDIA GPUs inside a compiled module, read without any tool of CUDA's.

A module in MAX's format holds each kernel as an ELF file of its own. What an instruction is stands in its lowest nine
bits (as nvdisasm names them, for the 128-bit instructions since Volta); registers and stack stand in ``.nv.info``.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

CUDA_MACHINE = 190  # EM_CUDA of the ELF standard
_HEADER, _SECTION = struct.Struct("<40xQ10xHHH"), struct.Struct("<II8x8xQQII8x8x")
_REGISTERS, _STACK = 0x2F, 0x11  # attributes of .nv.info
_INSTRUCTION = 16
OPCODES = {0x1F0: "wgmma", 0x03C: "mma", 0x187: "store", 0x183: "load"}
"""HGMMA, HMMA, and stores and loads of a thread's own memory: STL, LDL."""


@dataclass(frozen=True)
class Kernel:
    """One kernel. shared: bytes that it has always; stack: bytes a thread; spills: instructions that use the stack."""

    name: str
    registers: int
    stack: int
    shared: int
    spills: int
    wgmma: int
    mma: int


def kernels(module: bytes) -> Iterator[Kernel]:
    """All kernels of a module, in its order."""
    for found in re.finditer(b"\x7fELF\x02", module):
        elf = memoryview(module)[found.start() :]
        if len(elf) > 64 and struct.unpack_from("<H", elf, 18)[0] == CUDA_MACHINE:
            yield from _kernels_of(elf)


def _kernels_of(elf: memoryview) -> Iterator[Kernel]:
    sections = _sections(elf)
    found = {_REGISTERS: 0, _STACK: 0} | _attributes(bytes(sections.get(".nv.info", b"")))
    for name, code in sections.items():
        if name.startswith(".text."):
            kernel = name.removeprefix(".text.")
            counts = Counter(OPCODES.get(word & 0x1FF, "") for word, _ in struct.iter_unpack("<QQ", code))
            shared = len(sections.get(f".nv.shared.{kernel}", b""))
            spills = counts["store"] + counts["load"]
            yield Kernel(kernel, found[_REGISTERS], found[_STACK], shared, spills, counts["wgmma"], counts["mma"])


def _sections(elf: memoryview) -> dict[str, memoryview]:
    """By name; of one that takes no room in the file, as many zeros."""
    table, entry_size, n_entries, names_index = _HEADER.unpack_from(elf, 0)
    entries = [_SECTION.unpack_from(elf, table + i * entry_size) for i in range(n_entries)]
    names = bytes(_contents(elf, entries[names_index]))
    return {names[entry[0] : names.index(b"\0", entry[0])].decode(): _contents(elf, entry) for entry in entries}


def _contents(elf: memoryview, entry: tuple[int, ...]) -> memoryview:
    nobits = 8  # SHT_NOBITS
    _, kind, offset, size, *_ = entry
    return memoryview(bytes(size)) if kind == nobits else elf[offset : offset + size]


def _attributes(info: bytes) -> dict[int, int]:
    """The last word of each attribute that has a size; of one kernel's file."""
    found, at = dict[int, int](), 0
    while at + 4 <= len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == 4:  # a value of `size` bytes follows
            if size >= 4:
                found[attribute] = struct.unpack_from("<I", info, at + size - 4)[0]
            at += size
    return found
