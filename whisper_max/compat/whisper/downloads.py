"""Where published models are, and fetching one: ``whisper._MODELS`` and ``whisper._download``."""

from __future__ import annotations

from pathlib import Path

from whisper_max.checkpoint.hub import HUB_ID, download
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.compat.loading import available_models, print_line
from whisper_max.errors import OptionError

_MODELS = {name: MODELS[ALIASES.get(name, name)].hub_id for name in available_models()}
"""The repository of each published model on the hub, where the peer has addresses of files."""


def _download(url: str, root: str, in_memory: bool) -> bytes | str:
    """Fetch a model to a folder of its own below ``root``, unless it is there.

    Args:
        url: one of ``_MODELS``, or another hub id.
        root: a folder of models.
        in_memory: give the bytes of the weights and not their path.

    Returns:
        the path of the weights, which ``load_model`` takes.

    Raises:
        OptionError: not a repository.
        HubError: as ``load_model``.
    """
    if not HUB_ID.fullmatch(url):
        raise OptionError("not a repository of the hub", where="url", expected="one of whisper._MODELS", found=url)
    name = next((name for name, hub_id in _MODELS.items() if hub_id == url), url.replace("/", "--"))
    weights = download(url, None, print_line, None, Path(root) / name).weights[0]
    return weights.read_bytes() if in_memory else str(weights)
