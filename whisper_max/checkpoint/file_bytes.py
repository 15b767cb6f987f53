"""Files as byte ranges: memory mapped, bounds checked, several parts seen as one."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_max.errors import CheckpointError

ByteArray = NDArray[np.uint8]
_SEEN_AT_MOST = 1 << 20
"""Bytes that are read before their pages may leave memory again."""


class FileBytes:
    """Consecutive files seen as one read-only range of bytes, memory mapped.

    Args:
        paths: the parts in order; one path is the usual case.

    Raises:
        CheckpointError: a part is missing, unreadable or empty.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._maps = [_map(path) for path in self.paths]
        self.parts = [np.frombuffer(part, np.uint8) for part in self._maps]
        self.size = sum(len(part) for part in self.parts)
        self._seen = 0

    @property
    def where(self) -> Path:
        return self.paths[0]

    def read(self, offset: int, count: int, what: str) -> ByteArray:
        """``count`` bytes from ``offset`` as uint8: a view of the map, or a copy where the range spans two parts.

        What was read before may leave memory; who still looks at it has it read again.

        Raises:
            CheckpointError: the range leaves the file; ``what`` says what was being read.
        """
        self.check(offset, count, what)
        self.will_see(count)
        pieces: list[ByteArray] = []
        for part in self.parts:
            if 0 <= offset < len(part) and count:
                pieces.append(part[offset : offset + count])
                count -= len(pieces[-1])
                offset = len(part)
            offset -= len(part)
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint8)

    def check(self, offset: int, count: int, what: str) -> None:
        """Make sure that a range lies in the file.

        Raises:
            CheckpointError: it leaves the file; ``what`` says what lies there.
        """
        if count < 0 or not 0 <= offset <= self.size - count:
            raise CheckpointError(
                f"the file ends inside {what}",
                where=self.where,
                expected=f"{count} bytes at {offset}",
                found=f"a file of {self.size} bytes",
            )

    def will_see(self, count: int) -> None:
        """Tell that so many bytes are about to be looked at, so that others may leave memory."""
        self._seen += count
        if self._seen > _SEEN_AT_MOST:
            self._seen = count
            self._forget()

    def _forget(self) -> None:
        """Tell the system that no page of the maps is needed now, so that a file never is in memory as a whole."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for part in self._maps:
                part.madvise(mmap.MADV_DONTNEED)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise CheckpointError("the file is empty", where=path)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"can't be read ({error.strerror or error})", where=path) from error
