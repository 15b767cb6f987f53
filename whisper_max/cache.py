"""Where whisper_max keeps what it can make again: compiled artifacts and remembered checksums."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder: ``$WHISPER_MAX_CACHE``, else ``$XDG_CACHE_HOME/whisper_max``, else ``~/.cache/whisper_max``.

    The folder is named, not made. Everything in it may be deleted at any time.
    """
    own = os.environ.get("WHISPER_MAX_CACHE")
    if own:
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    base = Path(xdg).expanduser() if xdg else Path.home() / ".cache"
    return base / "whisper_max"
