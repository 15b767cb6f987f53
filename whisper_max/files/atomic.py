"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def try_to_write(path: Path) -> None:
    """Find out, before anything takes long, whether a file could be written; its folder is made when missing.

    Raises:
        OSError: it could not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with tempfile.TemporaryFile(dir=path.parent):
        pass


@contextmanager
def whole_file(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """A file to write: beside its place until the block ends, then flushed to the disk and moved there.

    The folder is made when missing. Where the block, the disk or the move fails, nothing is left behind and what was
    there before stays. No reader ever sees a part of it.

    Args:
        path: its place.
        flush: else a machine that loses power may leave it empty, which whoever reads it must bear.

    Raises:
        OSError: the folder or the file can't be written.
    """
    temporary = path.with_name(f".whisper_max-{secrets.token_hex(8)}.part")  # short: a name may be as long as allowed
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "xb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
