"""The model hub: its cache on disk, read directly, and downloads through huggingface_hub."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from whisper_max.checkpoint.beside import check_small_files
from whisper_max.checkpoint.files import (
    COMPANIONS,
    CTRANSLATE2,
    MLX,
    PYTORCH,
    SAFETENSORS,
    KnownDigest,
    ModelFiles,
    companions_in,
    files_at,
)
from whisper_max.errors import CheckpointError, HubError
from whisper_max.files.cache import NOWHERE, at_home

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"

WANTED_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"),
    ("model.bin",),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-?????-of-?????.bin"),
    ("weights.safetensors",),
    ("weights.npz",),
)
"""Patterns of weights, each line for all of a model: those of the first line that a repository has are downloaded."""

ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""Patterns of the files of a LoRA adapter."""

_VOCABULARIES = {
    SAFETENSORS: {"tokenizer.json", "vocab.json"},
    PYTORCH: {"tokenizer.json", "vocab.json"},
    CTRANSLATE2: {"tokenizer.json", "vocabulary.json", "vocabulary.txt"},
}
_PATIENCE = 10.0  # seconds until the hub answers at all
_TRUE = {"1", "ON", "YES", "TRUE"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def hub_cache_dir() -> Path:
    """huggingface_hub's cache folder: ``HF_HUB_CACHE``, else ``HF_HOME/hub``, else below the user's cache folder."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(at_home(os.path.expandvars(os.environ[variable])) or NOWHERE)
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(user_cache, "huggingface")
    return Path(at_home(os.path.expandvars(home)) or NOWHERE) / "hub"


def is_offline() -> bool:
    """True where the environment forbids the hub (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def cached_files(hub_id: str, revision: str | None = None, cache: Path | None = None) -> ModelFiles | None:
    """The files of a repository in the hub cache, or in another one, or None where they are not all there.

    The weights and the files without which a model can't be read count as all.
    """
    repository = (cache or hub_cache_dir()) / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / _commit(repository, revision or DEFAULT_REVISION)
    if not snapshot.is_dir():
        return None
    try:
        found = files_at(snapshot)
    except CheckpointError:  # a download that was interrupted; the hub completes it, or names the fault
        return None
    needs_config = found.format in (SAFETENSORS, PYTORCH, MLX) and "config.json" not in found.companions
    tokenizers = _VOCABULARIES.get(found.format)
    if needs_config or (tokenizers is not None and not tokenizers & set(found.companions)):
        return None
    return _from_hub(found, "cached")


def download(
    hub_id: str,
    revision: str | None = None,
    announce: Callable[[str], None] | None = None,
    hint: str | None = None,
    folder: str | Path | None = None,
    cache: Path | None = None,
) -> ModelFiles:
    """Download a repository's model files into the hub cache, resuming what is there: the weights last.

    Args:
        hub_id: "owner/repository".
        revision: branch, tag or commit; None is the main branch.
        announce: called with one line before the download begins.
        hint: what else the user could do, for errors.
        folder: where the files go in the place of the cache.
        cache: another one than the hub cache.

    Raises:
        HubError: no network, no such repository or revision, access refused, or no space on the disk.
        CheckpointError: the repository holds no model in a known format, or one that is known from its small files
            not to be usable.
    """
    endpoint = _endpoint()
    cache = cache or hub_cache_dir()
    target = cache if folder is None else Path(folder)
    if announce is not None:
        announce(f"downloading {hub_id} from {endpoint} to {target}")
    with _hub_errors(hub_id, revision, hint, target):
        from huggingface_hub import HfApi  # slow to import, and needed here only

        _knock()
        names = HfApi(endpoint=endpoint).list_repo_files(hub_id, revision=revision)
        check_small_files(companions_in(_fetch(hub_id, COMPANIONS, revision, folder, cache)))
        found = _fetch(hub_id, (*COMPANIONS, *_weights_among(names)), revision, folder, cache)
    return _from_hub(files_at(found), "hub")


def cached_adapter(hub_id: str) -> Path | None:
    """The folder of a LoRA adapter in the hub cache, or None where it is not whole."""
    repository = hub_cache_dir() / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / _commit(repository, DEFAULT_REVISION)
    there = [(snapshot / name).is_file() for name in ADAPTER]
    return snapshot if there[0] and any(there[1:]) else None


def fetch_adapter(hub_id: str, announce: Callable[[str], None] | None = None) -> Path:
    """The folder of a LoRA adapter from the hub or its cache.

    Raises:
        HubError: as ``download``.
    """
    if announce is not None:
        announce(f"fetching the adapter {hub_id} from {_endpoint()}")
    with _hub_errors(hub_id, None, None, hub_cache_dir()):
        _knock()
        return _fetch(hub_id, ADAPTER, None, None, hub_cache_dir())


def cached_folder(hub_id: str, patterns: Sequence[str]) -> Path | None:
    """The folder of a repository in the hub cache, or None where no file in it matches one of these patterns."""
    repository = hub_cache_dir() / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / _commit(repository, DEFAULT_REVISION)
    there = (path.is_file() for pattern in patterns for path in snapshot.rglob(pattern))
    return snapshot if any(there) else None


def fetch_folder(hub_id: str, patterns: Sequence[str], announce: Callable[[str], object] | None = None) -> Path:
    """The folder with the files of a repository that match one of these patterns, from the hub or its cache.

    Raises:
        HubError: as ``download``.
    """
    if announce is not None:
        announce(f"fetching {hub_id} from {_endpoint()}")
    with _hub_errors(hub_id, None, None, hub_cache_dir()):
        return _fetch(hub_id, patterns, None, None, hub_cache_dir())


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def _knock() -> None:
    """Ask the hub for nothing, once: where none can be reached, huggingface_hub itself would try for half a minute.

    It is asked with huggingface_hub's own session, so with its proxies and certificates; any answer will do.
    """
    from huggingface_hub import get_session

    get_session().head(_endpoint(), timeout=_PATIENCE)


def _fetch(hub_id: str, patterns: Sequence[str], revision: str | None, folder: str | Path | None, cache: Path) -> Path:
    """The folder with the files of a repository that match one of these patterns."""
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=cache,
            local_dir=folder,
            endpoint=_endpoint(),
            allow_patterns=list(patterns),
        )
    )


@contextmanager
def _hub_errors(hub_id: str, revision: str | None, hint: str | None, target: Path) -> Iterator[None]:
    """Say in our words what goes wrong between here and the hub."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    where = f"{_endpoint()}/{hub_id}"
    transport_error: Any = HfHubHTTPError.__bases__[0]  # of the HTTP library that huggingface_hub uses
    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, transport_error) as error:
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
        if isinstance(cause, HfHubHTTPError):
            raise _refused(cause.response.status_code, where, revision, hint) from error
        raise HubError("the hub can't be reached", where=where, found=_first_line(cause or error), hint=hint) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise HubError("no space left on the disk", where=target) from error
        hint = "set HF_HOME to a folder that can be written"
        raise HubError("the download failed", where=where, found=_first_line(error), hint=hint) from error


def _weights_among(names: Iterable[str]) -> tuple[str, ...]:
    """The patterns of the weights that are to be downloaded from a repository with these files."""
    there = set(names)
    return next((patterns for patterns in WANTED_WEIGHTS if there & {*patterns}), ())


def _commit(repository: Path, revision: str) -> str:
    """The commit that a branch or tag stood for at its last download; a commit stands for itself."""
    reference = repository / "refs" / revision
    return reference.read_text(encoding="ascii", errors="replace").strip() if reference.is_file() else revision


def _from_hub(found: ModelFiles, origin: str) -> ModelFiles:
    """With the digests that the cache knows: it names the blob of a large file by its SHA-256."""
    blobs = ((path, path.resolve()) for path in found.weights)
    checks = tuple(
        KnownDigest((path,), blob.name, f"delete {blob} and fetch it again")
        for path, blob in blobs
        if _SHA256.fullmatch(blob.name)
    )
    return replace(found, checks=checks, origin=origin)


def _refused(status: int, where: str, revision: str | None, hint: str | None) -> HubError:
    if status in (401, 403):
        return HubError(
            f"access refused ({status}): no such repository, or one that asks for a login",
            where=where,
            hint="check the name; for a gated one accept its terms and set HF_TOKEN",
        )
    if status == 404:
        revised = f" at revision {revision}" if revision else ""
        return HubError(f"no such repository{revised} (404)", where=where, hint="check the name")
    return HubError(f"the hub answered {status}", where=where, hint=hint)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
