"""The model hub: its cache on disk, read directly, and downloads through huggingface_hub."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from whisper_max.checkpoint.files import (
    COMPANIONS,
    CTRANSLATE2,
    SAFETENSORS,
    WEIGHTS,
    KnownDigest,
    ModelFiles,
    files_at,
)
from whisper_max.errors import CheckpointError, HubError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_REVISION = "main"

WANTED = (*COMPANIONS, *WEIGHTS, "model-?????-of-?????.safetensors")
"""Patterns of the files that are downloaded; nothing else of a repository is."""

_VOCABULARIES = {
    SAFETENSORS: {"tokenizer.json", "vocab.json"},
    CTRANSLATE2: {"tokenizer.json", "vocabulary.json", "vocabulary.txt"},
}
_TRUE = {"1", "ON", "YES", "TRUE"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def hub_cache_dir() -> Path:
    """huggingface_hub's cache folder: ``HF_HUB_CACHE``, else ``HF_HOME/hub``, else below the user's cache folder."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.path.expandvars(os.environ[variable])).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(user_cache, "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def is_offline() -> bool:
    """True where the environment forbids the hub (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def cached_files(hub_id: str, revision: str | None = None) -> ModelFiles | None:
    """The files of a repository in the hub cache, or None where they are not all there.

    The weights and the files without which a model can't be read count as all.
    """
    repository = hub_cache_dir() / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / _commit(repository, revision or DEFAULT_REVISION)
    if not snapshot.is_dir():
        return None
    try:
        found = files_at(snapshot)
    except CheckpointError:  # a download that was interrupted; the hub completes it, or names the fault
        return None
    needs_config = found.format == SAFETENSORS and "config.json" not in found.companions
    if needs_config or not _VOCABULARIES.get(found.format, set()) & set(found.companions):
        return None
    return _from_hub(found, "cached")


def download(
    hub_id: str,
    revision: str | None = None,
    announce: Callable[[str], None] | None = None,
    hint: str | None = None,
    folder: str | Path | None = None,
) -> ModelFiles:
    """Download a repository's model files into the hub cache, resuming what is there.

    Args:
        hub_id: "owner/repository".
        revision: branch, tag or commit; None is the main branch.
        announce: called with one line before the download begins.
        hint: what else the user could do, for errors.
        folder: where the files go in the place of the cache.

    Raises:
        HubError: no network, no such repository or revision, access refused, or no space on the disk.
        CheckpointError: the repository holds no model in a known format.
    """
    from huggingface_hub import snapshot_download  # slow to import, and needed here only
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    where = f"{endpoint}/{hub_id}"
    target = hub_cache_dir() if folder is None else Path(folder)
    if announce is not None:
        announce(f"downloading {hub_id} from {endpoint} to {target}")
    transport_error: Any = HfHubHTTPError.__bases__[0]  # of the HTTP library that huggingface_hub uses
    try:
        found = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=hub_cache_dir(),
            local_dir=folder,
            endpoint=endpoint,
            allow_patterns=list(WANTED),
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, transport_error) as error:
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
        if isinstance(cause, HfHubHTTPError):
            raise _refused(cause.response.status_code, where, revision, hint) from error
        raise HubError("the hub can't be reached", where=where, found=_first_line(cause or error), hint=hint) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise HubError("no space left on the disk", where=target) from error
        raise HubError("the download failed", where=where, found=_first_line(error)) from error
    return _from_hub(files_at(Path(found)), "hub")


def _commit(repository: Path, revision: str) -> str:
    """The commit that a branch or tag stood for at its last download; a commit stands for itself."""
    reference = repository / "refs" / revision
    return reference.read_text(encoding="ascii").strip() if reference.is_file() else revision


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
