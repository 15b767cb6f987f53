"""Moving values between NumPy and a device, and taking rows of device buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from max.driver import CPU, Buffer, Device
from max.dtype import DType
from numpy.typing import NDArray

MASKED = np.float32(-1e30)
"""What is added to a forbidden score: far below any score, and finite."""


@dataclass(frozen=True)
class Placement:
    """A device and the dtype of the caches on it."""

    device: Device
    dtype: DType

    def put(self, array: NDArray[Any]) -> Buffer:
        """A host array on the device, in its own dtype; shares its memory where the device is the host."""
        buffer = Buffer.from_numpy(np.ascontiguousarray(array))
        return buffer if self.device.is_host else buffer.to(self.device)

    def get(self, buffer: Buffer) -> NDArray[Any]:
        """A device buffer as a host array; shares its memory where the device is the host."""
        array: NDArray[Any] = (buffer if self.device.is_host else buffer.to(CPU())).to_numpy()
        return array

    def zeros(self, shape: Sequence[int]) -> Buffer:
        """A zeroed buffer in the caches' dtype; on the host its pages are only taken when they are written."""
        if self.device.is_host and self.dtype in (DType.float32, DType.float16):
            return Buffer.from_numpy(np.zeros(shape, self.dtype.to_numpy()))
        return Buffer.zeros(shape, self.dtype, device=self.device)


@lru_cache(maxsize=8)
def causal_mask(length: int) -> NDArray[np.float32]:
    """(length, length) float32 to add to scores: 0 up to the diagonal, ``MASKED`` above it."""
    return np.triu(np.full((length, length), MASKED, np.float32), 1)


def rows_of(buffers: Sequence[Buffer], rows: slice) -> list[Buffer]:
    """A stretch of leading rows of each buffer, sharing its memory."""
    return [_rows_of(buffer, rows) for buffer in buffers]


def _rows_of(buffer: Buffer, rows: slice) -> Buffer:
    whole = rows.start == 0 and rows.stop == buffer.shape[0]
    return buffer if whole else buffer[(rows, *[slice(None)] * (buffer.rank - 1))]


def take_rows(buffer: Buffer, rows: Sequence[int]) -> Buffer:
    """A new buffer of some leading rows, in the order given."""
    taken = Buffer(dtype=buffer.dtype, shape=(len(rows), *buffer.shape[1:]), device=buffer.device)
    for index, row in enumerate(rows):
        copy_row(taken, index, buffer, row)
    return taken


def copy_row(target: Buffer, row: int, source: Buffer, source_row: int) -> None:
    """Copy one leading row of a buffer into another; done when this returns, or before what the device does next.

    On the host the copy runs beside the graphs that are started after it, so it has to be waited for.
    """
    _rows_of(target, slice(row, row + 1)).inplace_copy_from(_rows_of(source, slice(source_row, source_row + 1)))
    if target.device.is_host:
        target.device.synchronize()
