"""Tensors where they lie in their files, read and converted one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.errors import CheckpointError

Array = NDArray[np.generic]

ITEM_SIZE = {"float32": 4, "float16": 2, "bfloat16": 2}
"""The dtypes that hold weights, and their bytes per element."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file: little-endian, row-major, at ``offset``.

    dtype is a key of ``ITEM_SIZE``; the extent is checked against the file when the object is made.
    """

    file: FileBytes
    name: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_SIZE:
            raise CheckpointError(
                f"{self.name} has an unusable dtype",
                where=self.file.where,
                expected=", ".join(ITEM_SIZE),
                found=self.dtype,
            )
        if any(size < 0 for size in self.shape) or not 0 <= self.offset <= self.file.size - self.nbytes:
            raise CheckpointError(
                f"the file ends inside {self.name}",
                where=self.file.where,
                expected=f"{self.nbytes} bytes at {self.offset}",
                found=f"a file of {self.file.size} bytes",
            )

    @property
    def nbytes(self) -> int:
        """Bytes the tensor takes in its file."""
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        row = self.nbytes // self.shape[0]
        return replace(self, offset=self.offset + start * row, shape=(stop - start, *self.shape[1:]))

    def reshaped(self, shape: tuple[int, ...]) -> StoredTensor:
        """The same elements in the same order under another shape of the same size."""
        return replace(self, shape=shape)

    def read(self) -> Array:
        """The tensor in its stored dtype (bfloat16 widened to float32): aligned, C-contiguous, maybe read-only."""
        raw = self.file.read(self.offset, self.nbytes, self.name)
        if self.dtype == "bfloat16":  # the upper half of a float32
            upper = raw.view("<u2").astype(np.uint32)
            return (upper << 16).view(np.float32).reshape(self.shape)
        stored = raw.view("<f4" if self.dtype == "float32" else "<f2").reshape(self.shape)
        return np.require(stored, requirements=["C", "A"])


@dataclass(frozen=True)
class QuantizedTensor:
    """A matrix in int8, (n_out, n_in) or (n_out, n_in, 3), and the float32 scale of each output, (n_out,)."""

    values: NDArray[np.int8]
    scale: StoredTensor
    dtype: str = "int8"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the matrix."""
        return self.values.shape

    def read(self) -> NDArray[np.float32]:
        """The values that stand for the matrix: int8 times scale.

        Quantising them again gives the same int8 and the same scales, bit for bit: float32(127 * s) / 127 is s for
        every s that is a float32 divided by 127.
        """
        scale = self.scale.read().astype(np.float32, copy=False)
        values = self.values.astype(np.float32)
        values *= scale.reshape(-1, *[1] * (values.ndim - 1))
        return values


class Tensors(Mapping[str, NDArray[np.float32]]):
    """A state dict in canonical names whose tensors are read, and converted to float32, when asked for.

    ``tensors[name]`` is C-contiguous float32: a read-only view of the mapped file where it is stored so, else a new
    array each time (nothing is kept).
    """

    def __init__(self, entries: Mapping[str, StoredTensor | QuantizedTensor | NDArray[np.float32]]) -> None:
        self._entries = dict(entries)

    @property
    def quantized(self) -> bool:
        """True where matrices are int8, so that their float32 values are not those of the original checkpoint."""
        return any(isinstance(entry, QuantizedTensor) for entry in self._entries.values())

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.raw(name).astype(np.float32, order="C", copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def raw(self, name: str) -> Array:
        """The tensor as stored: float16 or float32 (bfloat16 and int8 come as float32)."""
        entry = self._entries[name]
        return entry if isinstance(entry, np.ndarray) else entry.read()

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, without reading it."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """The dtype in the file: "float32", "float16", "bfloat16" or "int8" ("float32" where computed)."""
        entry = self._entries[name]
        return "float32" if isinstance(entry, np.ndarray) else entry.dtype
