"""Rows of buffers that are copied: of windows that change places, and of some that are no neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from max.driver import Buffer

from whisper_max.engine.runtime import rows_of


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
    (to,) = rows_of([target], slice(row, row + 1))
    to.inplace_copy_from(*rows_of([source], slice(source_row, source_row + 1)))
    if target.device.is_host:
        target.device.synchronize()
