"""SHA-256 of weight files, computed once and remembered until the file changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from whisper_max.atomic import whole_file
from whisper_max.cache import cache_dir
from whisper_max.errors import CheckpointError

_CHUNK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


def verify(paths: Sequence[Path], expected: str, hint: str | None = None) -> None:
    """Check that files, joined in order, have the expected SHA-256.

    Raises:
        CheckpointError: they have another, or can't be read.
    """
    found = sha256_of(paths)
    if found != expected:
        forget(paths)
        raise CheckpointError(
            "the file is damaged or not what its name says",
            where=paths[0],
            expected=f"sha256 {expected}",
            found=found,
            hint=hint,
        )


def sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256, in hex, of files joined in order.

    Remembered in ``cache_dir()/checksums`` by path, size, modification time and inode; where that folder can't be
    written the digest is computed each time.

    Raises:
        CheckpointError: a file can't be read.
    """
    try:
        memory = _memory(paths)
        remembered = memory.read_text(encoding="ascii") if memory.is_file() else ""
        if _DIGEST.fullmatch(remembered):
            return remembered
        digest = _compute(paths)
    except OSError as error:
        raise CheckpointError(f"can't be read ({error.strerror or error})", where=paths[0]) from error
    _remember(memory, digest)
    return digest


def forget(paths: Sequence[Path]) -> None:
    """Drop what is remembered of these files."""
    with suppress(OSError):
        _memory(paths).unlink(missing_ok=True)


def _compute(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _memory(paths: Sequence[Path]) -> Path:
    """The file that remembers the digest of these files in their present state."""
    identity = []
    for path in paths:
        stat = path.stat()
        identity.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return cache_dir() / "checksums" / hashlib.sha256(repr(identity).encode()).hexdigest()


def _remember(memory: Path, digest: str) -> None:
    """Write the digest whole or not at all; an unwritable cache only costs time."""
    with suppress(OSError), whole_file(memory) as file:
        file.write(digest.encode("ascii"))
