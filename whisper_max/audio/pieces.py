"""A file made of pieces: ranges of another file, and bytes that stand between them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
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


def check_readable(file: FileIO) -> None:
    """Read a file that seems to end too early, to know whether the disk is at fault: decoders don't tell.

    Raises:
        OSError: the disk refuses a part of it.
    """
    place = 0
    while block := os.pread(file.fileno(), _BLOCK, place):
        place += len(block)


class Pieces:
    """The pieces in a row, read as one file.

    Args:
        file: what the ranges are of, opened unbuffered; it is not closed here.
        pieces: what to read, in this order.
        watch: called before each read; what it raises ends the reading.
    """

    def __init__(self, file: FileIO, pieces: Sequence[Piece], watch: Callable[[], object] | None = None) -> None:
        self._watch = watch
        self._file = file
        self._pieces = pieces
        self._starts = list(accumulate((len(piece) for piece in pieces), initial=0))
        self._place = 0

    def __len__(self) -> int:
        """Bytes of all pieces."""
        return self._starts[-1]

    def of(self, pieces: Sequence[Piece]) -> Pieces:
        """Pieces of these, which are one range."""
        first = self._pieces[0]
        base = first.start if isinstance(first, range) else 0
        moved = [range(p.start + base, p.stop + base) if isinstance(p, range) else p for p in pieces]
        return Pieces(self._file, moved, self._watch)

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; the number of bytes that there were, none where the disk refuses them.

        For libsndfile, to which nothing can be raised; see ``check_readable``.
        """
        with memoryview(buffer) as view:
            try:
                content = self.read(len(view))
            except OSError:
                return 0
            view[: len(content)] = content
        return len(content)

    def read(self, n_bytes: int) -> bytes:
        """At most this many bytes; none at the end."""
        if self._watch is not None:
            self._watch()
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

    def peek(self, place: int, n_bytes: int) -> bytes:
        """At most this many bytes from a place on; the position stays."""
        position, self._place = self._place, place
        content = self.read(n_bytes)
        self._place = position
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """As a file does."""
        return self._place
