"""Loading a model the way a peer's arguments say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import whisper_max
from whisper_max.api import Model
from whisper_max.checkpoint.copies import published_name
from whisper_max.checkpoint.files import files_at
from whisper_max.checkpoint.hub import HUB_ID, cached_files, download, is_offline
from whisper_max.checkpoint.published import ALIASES, MODELS, PublishedModel
from whisper_max.checkpoint.resolve import locate
from whisper_max.compat.errors import as_peers
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.hardware.threads import nearest_threads

_GPU = re.compile(r"(?:cuda|gpu)(?::\d+)?")
_SAME_TYPE = {"int8_float32": "int8"}  # CTranslate2's names of what we call otherwise


def load(
    name: str,
    *,
    device: str,
    compute_type: str,
    download_root: str | None,
    offline: bool = False,
    revision: str | None = None,
    threads: int | None = None,
) -> Model:
    """Load a model; lines about downloads and compilations go to standard error.

    Args:
        name: published name, path or hub id. The repository of a copy of a published model, such as
            ``Systran/faster-whisper-base``, is that model where the hub's cache has not the copy.
        device: "auto", "cpu", "cuda" or "cuda:N".
        compute_type: as ``whisper_max.load_model``, or "int8_float32", which is int8.
        download_root: a folder of models, looked at first; what is nowhere on this machine is downloaded to it.
        offline: never ask the hub.
        revision: branch, tag or commit on the hub.
        threads: on a CPU; at most the cores, and those of the process's first model. None for every core that may be
            used.

    Raises:
        OptionError: a revision of a model that would be downloaded to ``download_root``.
        WhisperMaxError: as ``whisper_max.load_model``.
    """
    name = _original(name, revision)
    if download_root is not None:
        name = _fetched(name, Path(download_root), revision, offline=offline or is_offline())
    with as_peers():
        return whisper_max.load_model(
            name,
            device=device,
            compute_type=_SAME_TYPE.get(compute_type, compute_type),
            offline=offline,
            weights_dir=download_root,
            revision=revision,
            threads=threads and nearest_threads(threads),
            progress=print_line,
        )


def _original(name: str, revision: str | None) -> str:
    """The published model that a hub id is a copy of, unless the copy itself is here, or a revision is asked for."""
    if revision is not None or not HUB_ID.fullmatch(name) or Path(name).exists() or cached_files(name) is not None:
        return name
    return published_name(name) or name


def _fetched(name: str, root: Path, revision: str | None, *, offline: bool) -> str:
    """Download a model to a folder where it is neither there nor elsewhere on this machine.

    Returns:
        the name, path or hub id to load; ``root`` is the folder of models then.
    """
    published = MODELS.get(ALIASES.get(name, name))
    if published is None and (Path(name).expanduser().exists() or not HUB_ID.fullmatch(name)):
        return name
    folder = root / (published.name if published else name.replace("/", "--"))
    if offline or (_is_here(published, root, folder, revision) if published else _is_whole(folder)):
        return name if published or not folder.exists() else str(folder)
    if revision is not None:
        hint = "leave download_root out: the hub's cache keeps revisions apart"
        raise OptionError("no place for a revision", where="download_root", found=root, hint=hint)
    download(published.hub_id if published else name, None, print_line, None, folder)
    return name if published else str(folder)


def _is_here(published: PublishedModel, root: Path, folder: Path, revision: str | None) -> bool:
    try:
        return locate(published, root, revision) is not None
    except CheckpointError:
        if _is_downloading(folder):
            return False
        raise


def _is_whole(folder: Path) -> bool:
    try:
        files_at(folder)
    except CheckpointError:
        return False
    return True


def _is_downloading(folder: Path) -> bool:
    """Whether the hub's client has begun to fill a folder."""
    return (folder / ".cache" / "huggingface").is_dir()


def available_models() -> list[str]:
    """The names that can be loaded: published models, small to large, and their aliases."""
    return [*MODELS, *ALIASES]


def is_gpu(device: str) -> bool:
    """True for "cuda", "gpu" and the same with a number."""
    return _GPU.fullmatch(device) is not None


def print_line(line: str) -> None:
    """A line about something slow, on standard error at once."""
    print(line, file=sys.stderr, flush=True)
