"""From what the user names to files on disk."""

from __future__ import annotations

from pathlib import Path

from whisper_max.checkpoint.files import ModelFiles, files_at
from whisper_max.checkpoint.installed import installed_files
from whisper_max.errors import UnknownModelError


def resolve(model: str | Path) -> ModelFiles:
    """The files of a model given by path or name."""
    if isinstance(model, Path) or Path(model).exists():
        return files_at(Path(model))
    found = installed_files(model)
    if found is None:
        raise UnknownModelError("unknown model", found=repr(model))
    return found
