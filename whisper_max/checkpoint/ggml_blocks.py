"""ggml's quantised blocks: a row's elements in blocks of 32 or 256, each with scales of its own.

Every kind is widened to the float32 values that ggml itself computes. Source of the layouts: ggml ``ggml-common.h``
(structs ``block_q4_0`` and so on) and ``ggml-quants.c`` (``dequantize_row_*``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.errors import CheckpointError

Raw = NDArray[np.uint8]
"""Blocks as they lie in the file, (n_blocks, bytes of a block)."""
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class BlockKind:
    """One kind of block: how many elements it has and bytes it takes, and how it is widened.

    widen: from blocks to (n_blocks, n_elements) float32.
    """

    name: str
    n_elements: int
    n_bytes: int
    widen: Callable[[Raw], Float32]


@dataclass(frozen=True)
class BlockTensor:
    """A tensor of blocks in a file: row-major, rows of whole blocks, at ``offset``."""

    file: FileBytes
    name: str
    offset: int
    kind: BlockKind
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape) or self.shape[-1] % self.kind.n_elements:
            raise CheckpointError(
                f"{self.name} has rows of broken blocks",
                where=self.file.where,
                expected=f"a multiple of {self.kind.n_elements}",
                found=self.shape[-1],
            )
        self.file.check(self.offset, self.nbytes, self.name)

    @property
    def dtype(self) -> str:
        return self.kind.name

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) // self.kind.n_elements * self.kind.n_bytes

    def rows(self, start: int, stop: int) -> BlockTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        row = self.nbytes // self.shape[0]
        return replace(self, offset=self.offset + start * row, shape=(stop - start, *self.shape[1:]))

    def read(self) -> Float32:
        """The values that stand for the tensor."""
        raw = self.file.read(self.offset, self.nbytes, self.name).reshape(-1, self.kind.n_bytes)
        return self.kind.widen(raw).reshape(self.shape)


def _half(raw: Raw) -> Float32:
    """(n, 2) bytes of float16 -> (n, 1)."""
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _nibbles(packed: Raw) -> Raw:
    """(n, k) bytes -> (n, 2k): all lower halves, then all upper ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(packed: Raw) -> Raw:
    """(n, 4) bytes -> (n, 32): 16 where a bit is set."""
    return np.unpackbits(packed, axis=1, bitorder="little") * np.uint8(16)


def _q4_0(raw: Raw) -> Float32:
    return _half(raw[:, :2]) * (_nibbles(raw[:, 2:]).astype(np.float32) - 8)


def _q4_1(raw: Raw) -> Float32:
    return _half(raw[:, :2]) * _nibbles(raw[:, 4:]) + _half(raw[:, 2:4])


def _q5_0(raw: Raw) -> Float32:
    return _half(raw[:, :2]) * ((_nibbles(raw[:, 6:]) | _fifth_bits(raw[:, 2:6])).astype(np.float32) - 16)


def _q5_1(raw: Raw) -> Float32:
    return _half(raw[:, :2]) * (_nibbles(raw[:, 8:]) | _fifth_bits(raw[:, 4:8])) + _half(raw[:, 2:4])


def _q8_0(raw: Raw) -> Float32:
    return _half(raw[:, :2]) * raw[:, 2:].view(np.int8)


# Blocks of 256 in groups of 16 or 32, whose scales are integers times the block's.


def _two_bits(packed: Raw) -> Raw:
    """(n, 32 k) bytes -> (n, 128 k): of each 32 bytes the lowest pairs of bits, then the next ones."""
    parts = packed.reshape(len(packed), -1, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    return (parts & 3).astype(np.uint8).reshape(len(packed), -1)


def _four_bits(packed: Raw, run: int) -> Raw:
    """(n, run k) bytes -> (n, 2 run k): of each ``run`` bytes the lower halves, then the upper ones."""
    parts = packed.reshape(len(packed), -1, 1, run) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    return (parts & 15).astype(np.uint8).reshape(len(packed), -1)


def _grouped(values: NDArray[np.generic], scales: Float32) -> Float32:
    """(n, 256) values and (n, n_groups) scales -> their products, in groups."""
    groups = values.reshape(*scales.shape, -1).astype(np.float32)
    return groups * scales[:, :, None]


def _less(products: Float32, minima: Float32) -> Float32:
    return (products - minima[:, :, None]).reshape(len(products), -1)


def _scales_and_minima(packed: Raw) -> tuple[Raw, Raw]:
    """The six bits each of 8 scales and 8 minima, from 12 bytes."""
    low, high, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, (rest & 15) | (low >> 6 << 4)], axis=1)
    minima = np.concatenate([high & 63, (rest >> 4) | (high >> 6 << 4)], axis=1)
    return scales, minima


def _q2_k(raw: Raw) -> Float32:
    scales, packed, d, d_min = raw[:, :16], raw[:, 16:80], _half(raw[:, 80:82]), _half(raw[:, 82:84])
    return _less(_grouped(_two_bits(packed), d * (scales & 15)), d_min * (scales >> 4))


def _q3_k(raw: Raw) -> Float32:
    high, packed, scales, d = raw[:, :32], raw[:, 32:96], raw[:, 96:108], _half(raw[:, 108:110])
    low = np.concatenate([scales[:, :8] & 15, scales[:, :8] >> 4], axis=1)
    top = _two_bits_of(scales[:, 8:])
    factors = (low | (top << 4)).astype(np.float32) - 32
    values = _two_bits(packed).astype(np.float32) - np.where(_bit_planes(high), 0, 4)
    return _grouped(values, d * factors).reshape(len(raw), -1)


def _bit_planes(packed: Raw) -> Raw:
    """(n, 32) bytes -> (n, 256) bits: the lowest of all bytes, then the next ones."""
    return np.unpackbits(packed[:, None, :], axis=1, bitorder="little").reshape(len(packed), -1)


def _two_bits_of(packed: Raw) -> Raw:
    """(n, 4) bytes -> (n, 16): the lowest pairs of bits of all, then the next ones."""
    return np.concatenate([(packed >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1)


def _q4_k(raw: Raw) -> Float32:
    d, d_min, (scales, minima) = _half(raw[:, :2]), _half(raw[:, 2:4]), _scales_and_minima(raw[:, 4:16])
    return _less(_grouped(_four_bits(raw[:, 16:], 32), d * scales), d_min * minima)


def _q5_k(raw: Raw) -> Float32:
    d, d_min, (scales, minima) = _half(raw[:, :2]), _half(raw[:, 2:4]), _scales_and_minima(raw[:, 4:16])
    values = _four_bits(raw[:, 48:], 32) | (_bit_planes(raw[:, 16:48]) << 4)
    return _less(_grouped(values, d * scales), d_min * minima)


def _q6_k(raw: Raw) -> Float32:
    low, high, scales, d = raw[:, :128], raw[:, 128:192], raw[:, 192:208].view(np.int8), _half(raw[:, 208:210])
    values = (_four_bits(low, 64) | (_two_bits(high) << 4)).astype(np.float32) - 32
    return _grouped(values, d * scales).reshape(len(raw), -1)


KINDS = {
    2: BlockKind("q4_0", 32, 18, _q4_0),
    3: BlockKind("q4_1", 32, 20, _q4_1),
    6: BlockKind("q5_0", 32, 22, _q5_0),
    7: BlockKind("q5_1", 32, 24, _q5_1),
    8: BlockKind("q8_0", 32, 34, _q8_0),
    10: BlockKind("q2_k", 256, 84, _q2_k),
    11: BlockKind("q3_k", 256, 110, _q3_k),
    12: BlockKind("q4_k", 256, 144, _q4_k),
    13: BlockKind("q5_k", 256, 176, _q5_k),
    14: BlockKind("q6_k", 256, 210, _q6_k),
}
"""Kinds of blocks by ggml's type number."""
