"""A file made of pieces: ranges of another file, and bytes that stand between them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from io import FileIO
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

Piece: TypeAlias = "range | bytes"
"""Bytes ``start`` to ``stop`` of the file, or bytes of our own."""

_BLOCK = 1 << 20


def count_nonzero(file: FileIO, start: int, stop: int) -> int:
    """Bytes of a range that are not zero, which is what files are padded with."""
    n_bytes = 0
    for place in range(start, stop, _BLOCK):
        block = os.pread(file.fileno(), min(_BLOCK, stop - place), place)
        n_bytes += len(block) - block.count(0)
    return n_bytes


class Pieces:
    """The pieces in a row, read as one file.

    Args:
        file: what the ranges are of, opened unbuffered; it is not closed here.
        pieces: what to read, in this order.
    """

    def __init__(self, file: FileIO, pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = pieces
        self._starts = list(accumulate((len(piece) for piece in pieces), initial=0))
        self._place = 0

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; the number of bytes that there were."""
        with memoryview(buffer) as view:
            content = self.read(len(view))
            view[: len(content)] = content
        return len(content)

    def read(self, n_bytes: int) -> bytes:
        """At most this many bytes; none at the end."""
        content = b""
        while len(content) < n_bytes and self._place < self._starts[-1]:
            index = bisect_right(self._starts, self._place) - 1
            some = self._pieces[index][self._place - self._starts[index] :][: n_bytes - len(content)]
            if isinstance(some, range):
                some = os.pread(self._file.fileno(), len(some), some.start)
            if not some:  # the file became shorter
                break
            content += some
            self._place += len(some)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """As a file does."""
        return self._place
