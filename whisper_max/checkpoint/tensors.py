"""Tensors where they lie in their files, read and converted one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.errors import CheckpointError

Array = NDArray[np.generic]
_T = TypeVar("_T", bound=np.generic)

ITEM_SIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
"""The dtypes that hold weights, and their bytes per element."""

_AS_NUMPY = {"float32": "<f4", "float16": "<f2", "float64": "<f8"}


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
        is_possible = all(size >= 0 for size in self.shape)
        self.file.check(self.offset, self.nbytes if is_possible else -1, self.name)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]

    def rows(self, start: int, stop: int) -> StoredTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        row = self.nbytes // self.shape[0]
        return replace(self, offset=self.offset + start * row, shape=(stop - start, *self.shape[1:]))

    def reshaped(self, shape: tuple[int, ...]) -> StoredTensor:
        """The same elements in the same order under another shape of the same size."""
        return replace(self, shape=shape)

    def read(self) -> Array:
        """The tensor in its stored dtype (bfloat16 and float64 as float32): aligned, C-contiguous, maybe read-only."""
        raw = self.file.read(self.offset, self.nbytes, self.name)
        if self.dtype == "bfloat16":  # the upper half of a float32
            upper = raw.view("<u2").astype(np.uint32)
            return (upper << 16).view(np.float32).reshape(self.shape)
        stored = raw.view(_AS_NUMPY[self.dtype]).reshape(self.shape)
        if self.dtype == "float64":
            with np.errstate(over="ignore"):  # what float32 can't hold is found infinite
                return stored.astype(np.float32)
        return np.require(stored, requirements=["C", "A"])


@dataclass(frozen=True)
class StridedTensor:
    """A tensor whose elements lie among those of a storage in another order than its own: a transposed one, say.

    storage: one-dimensional. offset, stride: in elements.
    """

    storage: StoredTensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        count = self.storage.shape[0]
        if not 0 < math.prod(self.shape) <= count or self._end > count:  # that many, so that no file claims much
            raise CheckpointError(
                f"{self.name[:80]} leaves its storage", where=self.file.where, expected=f"{count} elements",
                found=f"shape {self.shape} with strides {self.stride}",
            )  # fmt: skip

    @property
    def _end(self) -> int:
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((size - 1) * stride for size, stride in steps) + 1

    @property
    def file(self) -> FileBytes:
        return self.storage.file

    @property
    def name(self) -> str:
        return self.storage.name

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    def rows(self, start: int, stop: int) -> StridedTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        offset = self.offset + start * self.stride[0]
        return replace(self, offset=offset, shape=(stop - start, *self.shape[1:]))

    def read(self) -> Array:
        """Its values, as ``StoredTensor.read`` gives them."""
        span = self.storage.rows(self.offset, self._end).read()
        strides = [stride * span.itemsize for stride in self.stride]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(span, self.shape, strides, writeable=False))


InFile = StoredTensor | StridedTensor
"""A tensor of floats in a file."""


def by_columns(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose first axis lies innermost."""
    return tuple(math.prod(shape[:axis]) for axis in range(len(shape)))


_OTHER_SIZES = {"uint32": 4, "int32": 4, "int64": 8}


@dataclass(frozen=True)
class Place:
    """An array of any dtype where it lies in a file: little-endian, at ``offset``.

    is_by_columns: whether its first axis lies innermost, else its last.
    """

    file: FileBytes
    name: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    is_by_columns: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes the array takes in its file; 0 for a dtype that nothing is read of."""
        return math.prod(self.shape) * {**ITEM_SIZE, **_OTHER_SIZES}.get(self.dtype, 0)

    def integers(self) -> NDArray[np.integer]:
        """Its values, where its dtype is one of integers."""
        raw = self.file.read(self.offset, self.nbytes, self.name)
        order: Literal["C", "F"] = "F" if self.is_by_columns else "C"
        return np.ascontiguousarray(raw.view(np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape, order=order))

    def stored(self) -> InFile:
        """The same as a tensor of weights.

        Raises:
            CheckpointError: a dtype that holds no weights, or it leaves the file.
        """
        if not self.is_by_columns:
            return StoredTensor(self.file, self.name, self.offset, self.dtype, self.shape)
        flat = StoredTensor(self.file, self.name, self.offset, self.dtype, (math.prod(self.shape),))
        return StridedTensor(flat, self.shape, by_columns(self.shape))


def rows_of_view(values: NDArray[_T], start: int, stop: int, file: FileBytes | None) -> NDArray[_T]:
    """Rows of values that are a view of a file, if of any, which is told that they are about to be looked at."""
    rows = values[start:stop]
    if file is not None:
        file.will_see(rows.nbytes)
    return rows


@dataclass(frozen=True)
class QuantizedTensor:
    """A matrix in int8, (n_out, n_in) or (n_out, n_in, 3), and the float32 scale of each output, (n_out,).

    file: what the values are a view of.
    """

    name: str
    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    dtype: str = "int8"
    file: FileBytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def rows(self, start: int, stop: int) -> QuantizedTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        return replace(self, values=rows_of_view(self.values, start, stop, self.file), scale=self.scale[start:stop])

    def read(self) -> NDArray[np.float32]:
        """The values that stand for the matrix: int8 times scale."""
        values = self.values.astype(np.float32)
        values *= self.scale.reshape(-1, *[1] * (values.ndim - 1))
        return values


@dataclass(frozen=True)
class ScaledTensor:
    """A matrix in int16 with one scale for all of it, which its values are to be divided by.

    file: what the values are a view of.
    """

    name: str
    values: NDArray[np.int16]
    divisor: np.float32
    dtype: str = "int16"
    file: FileBytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def rows(self, start: int, stop: int) -> ScaledTensor:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        return replace(self, values=rows_of_view(self.values, start, stop, self.file))

    def read(self) -> NDArray[np.float32]:
        """The values that stand for the matrix."""
        return self.values.astype(np.float32) / self.divisor


class Entry(Protocol):
    """A tensor that is read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def read(self) -> Array:
        """Its values."""
        ...


@runtime_checkable
class Stored(Entry, Protocol):
    """A tensor in a file that can be split into stretches of rows."""

    @property
    def name(self) -> str: ...

    def rows(self, start: int, stop: int) -> Stored:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        ...


@dataclass(frozen=True)
class ComputedTensor:
    """A tensor that no file holds."""

    values: NDArray[np.float32]
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def read(self) -> NDArray[np.float32]:
        """The values."""
        return self.values


def checked_scale(scale: InFile) -> NDArray[np.float32]:
    """The scales of a quantised matrix.

    Raises:
        CheckpointError: one is not above 0, or not finite.
    """
    values = scale.read().astype(np.float32)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise CheckpointError(f"{scale.name} has impossible scales", where=scale.file.where, expected="above 0")
    return values


class Tensors(Mapping[str, NDArray[np.float32]]):
    """A state dict in canonical names whose tensors are read, and converted to float32, when asked for.

    ``tensors[name]`` is C-contiguous float32: a read-only view of the mapped file where it is stored so, else a new
    array each time (nothing is kept).
    """

    def __init__(self, entries: Mapping[str, Entry | NDArray[np.float32]]) -> None:
        self._entries: dict[str, Entry] = {
            name: ComputedTensor(entry) if isinstance(entry, np.ndarray) else entry for name, entry in entries.items()
        }

    @property
    def quantized(self) -> bool:
        """True where matrices are int8, so that their float32 values are not those of the original checkpoint."""
        return any(isinstance(entry, QuantizedTensor) for entry in self._entries.values())

    @property
    def packed(self) -> str | None:
        """How matrices are packed where they are neither floats nor int8: "q5_0", say."""
        known = (*ITEM_SIZE, "int8")
        return next((entry.dtype for entry in self._entries.values() if entry.dtype not in known), None)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.raw(name).astype(np.float32, order="C", copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def raw(self, name: str) -> Array:
        """The tensor as stored: float16 or float32 (what is of another dtype comes as float32)."""
        return self._entries[name].read()

    def entry(self, name: str) -> Entry:
        """The tensor where it lies."""
        return self._entries[name]

    def replaced(self, entries: Mapping[str, Entry]) -> Tensors:
        """The same with other tensors for some."""
        return Tensors(self._entries | dict(entries))

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape, without reading it."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """The dtype in the file: one of ``ITEM_SIZE`` or "int8", say ("float32" where computed)."""
        return self._entries[name].dtype
