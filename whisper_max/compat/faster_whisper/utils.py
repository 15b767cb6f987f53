"""faster-whisper's ``faster_whisper.utils``: models by name, and times."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from whisper_max.checkpoint.hub import HUB_ID, cached_files, download, is_offline
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.compat.loading import available_models, print_line
from whisper_max.compat.segments import end_of
from whisper_max.errors import HubError, NotOfferedError, OptionError
from whisper_max.output import format_timestamp

__all__ = [
    "available_models",
    "disabled_tqdm",
    "download_model",
    "format_timestamp",
    "get_assets_path",
    "get_end",
    "get_logger",
]

_MODELS = {name: MODELS[ALIASES.get(name, name)].hub_id for name in available_models()}
"""Where each published model is on the hub: OpenAI's own weights, where the peer has converted ones."""

get_end = end_of
_HINT = "an installed weights package and a folder of weights need no download: WhisperModel takes the name"


class disabled_tqdm(tqdm):  # type: ignore[misc]
    """A progress bar that is not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def get_assets_path() -> str:
    """Refused: there is no folder of ONNX files.

    Raises:
        NotOfferedError: always.
    """
    raise NotOfferedError("not offered", where="get_assets_path", hint="faster_whisper.vad has get_vad_model")


def get_logger() -> logging.Logger:
    """The peer's logger, for programs that set its level or write to it; ``whisper_max`` writes nothing there."""
    return logging.getLogger("faster_whisper")


def download_model(
    size_or_id: str,
    output_dir: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | None = None,
    revision: str | None = None,
    use_auth_token: str | bool | None = None,
) -> str:
    """The folder of a model of the hub, which is downloaded where it is not in the hub's cache; WhisperModel takes it.

    Args:
        size_or_id: a published name, which stands for OpenAI's own repository and not for a converted one; or a hub id.
        output_dir: a folder to download to, in the place of the cache; what is there already and unchanged is kept.
        local_files_only: never ask the hub; what is not in its cache is an error.
        cache_dir: the hub's cache; None for the one that ``HF_HUB_CACHE`` names.
        revision: branch, tag or commit.
        use_auth_token: None or True, for the stored one; ``HF_TOKEN`` gives another.

    Raises:
        OptionError: an unknown name, or an argument that can't be honoured.
        HubError: the model is not here, and the hub can't be reached, refuses, or is forbidden.
        CheckpointError: the repository holds no model in a known format.
    """
    if use_auth_token not in (None, True):
        raise OptionError("only the stored one is offered", where="use_auth_token", hint="set HF_TOKEN")
    if output_dir is not None and local_files_only:
        hint = "WhisperModel takes the folder of a model that is there"
        raise OptionError("can't be given together with output_dir", where="local_files_only", hint=hint)
    hub_id = _hub_id(size_or_id)
    cache = None if cache_dir is None else Path(cache_dir)
    found = cached_files(hub_id, revision, cache) if output_dir is None else None
    if found is None:
        if local_files_only or is_offline():
            raise HubError("was not downloaded, and the hub is off limits (offline)", where=hub_id, hint=_HINT)
        found = download(hub_id, revision, print_line, _HINT, output_dir, cache)
    return str(found.weights[0].parent)


def _hub_id(size_or_id: str) -> str:
    published = MODELS.get(ALIASES.get(size_or_id, size_or_id))
    if published is not None:
        return published.hub_id
    if HUB_ID.fullmatch(size_or_id):
        return size_or_id
    raise OptionError(
        "unknown model", where="size_or_id", expected=f"{', '.join(available_models())} or a hub id", found=size_or_id
    )
