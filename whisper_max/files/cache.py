"""Where whisper_max keeps what it can make again: compiled artifacts and remembered checksums."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NOWHERE = Path(os.devnull) / "no home folder"
"""A folder that holds nothing, and can be neither made nor written."""


def cache_dir() -> Path:
    """The cache folder: ``$WHISPER_MAX_CACHE``, else ``$XDG_CACHE_HOME/whisper_max``, else ``~/.cache/whisper_max``.

    The folder is named, not made. Everything in it may be deleted at any time. For a user without a home folder it is
    a path that can be neither read nor written.
    """
    own, xdg = os.environ.get("WHISPER_MAX_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = own or os.path.join(xdg or "~/.cache", "whisper_max")
    return Path(at_home(folder) or NOWHERE)


def at_home(path: str) -> str | None:
    """A path with its ``~`` replaced by the home folder; None where there is no such user or home."""
    expanded = os.path.expanduser(path)
    return None if expanded.startswith("~") else expanded


def why_unwritable() -> str | None:
    """Why nothing can be kept in the cache folder; None where it can, as far as one sees without writing."""
    folder = cache_dir()
    if folder == NOWHERE:
        return "this user has no home folder"
    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(place):
        return f"{place}: {os.strerror(errno.ENOTDIR)}"
    return None if os.access(place, os.W_OK | os.X_OK) else f"{place} can't be written"
