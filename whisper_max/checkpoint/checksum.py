"""SHA-256 of weight files, computed once and remembered until the file changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from whisper_max.errors import CheckpointError
from whisper_max.files.atomic import whole_file
from whisper_max.files.cache import cache_dir

_CHUNK = 1 << 20
_DIGEST = re.compile(rb"[0-9a-f]{64}")


def verify(paths: Sequence[Path], expected: str, hint: str | None = None) -> None:
    """Check that files, joined in order, have the expected SHA-256; what is remembered only ever says that they have.

    Raises:
        CheckpointError: they have another, or can't be read.
    """
    memory = _memory(paths)
    if _recall(memory) == expected:
        return
    found = _compute(paths)
    _remember(memory, found)
    if found != expected:
        raise CheckpointError(
            "the file is damaged or not what its name says",
            where=paths[0],
            expected=f"sha256 {expected}",
            found=found,
            hint=hint,
        )


def sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256, in hex, of files joined in order.

    Remembered in ``cache_dir()/checksums`` by path, size, modification time and inode; where that folder can't be read
    or written, or the memory is damaged, the digest is computed.

    Raises:
        CheckpointError: a file can't be read.
    """
    memory = _memory(paths)
    digest = _recall(memory)
    if digest is None:
        digest = _compute(paths)
        _remember(memory, digest)
    return digest


def _compute(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    try:
        for path in paths:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise _unreadable(paths, error) from error
    return digest.hexdigest()


def _unreadable(paths: Sequence[Path], error: OSError) -> CheckpointError:
    return CheckpointError(f"can't be read ({error.strerror or error})", where=error.filename or paths[0])


def _memory(paths: Sequence[Path]) -> Path:
    """The file that remembers the digest of these files in their present state."""
    identity = []
    try:
        for path in paths:
            stat = path.stat()
            identity.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError as error:
        raise _unreadable(paths, error) from error
    return cache_dir() / "checksums" / hashlib.sha256(repr(identity).encode(errors="surrogateescape")).hexdigest()


def _recall(memory: Path) -> str | None:
    """The digest that is remembered; None where there is none, or what is there is no digest."""
    try:
        content = memory.read_bytes() if memory.is_file() else b""
    except OSError:
        return None
    return content.decode() if _DIGEST.fullmatch(content) else None


def _remember(memory: Path, digest: str) -> None:
    """Write the digest whole or not at all; an unwritable cache only costs time."""
    with suppress(OSError), whole_file(memory) as file:
        file.write(digest.encode("ascii"))
