"""Loading a model the way a peer's arguments say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import whisper_max
from whisper_max.api import Model
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.checkpoint.resolve import locate
from whisper_max.errors import OptionError

_GPU = re.compile(r"(?:cuda|gpu)(?::\d+)?")


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
        name: published name, path or hub id.
        device: "auto", "cpu", "cuda" or "cuda:N".
        compute_type: as ``whisper_max.load_model``.
        download_root: a folder of models, looked at first; downloads don't go there, so it must hold the model or
            the model must be elsewhere on this machine.
        offline: never ask the hub.
        revision: branch, tag or commit on the hub.
        threads: on a CPU, the same for all models of a process; None for every core that may be used.

    Raises:
        OptionError: the model is not on this machine and ``download_root`` was given.
        WhisperMaxError: as ``whisper_max.load_model``.
    """
    published = MODELS.get(ALIASES.get(name, name))
    if download_root is not None and (published is None or locate(published, Path(download_root), revision) is None):
        raise OptionError(
            "the model is not there, and downloads go to the hub's cache",
            where="download_root",
            found=download_root,
            hint="put the model's file or folder there, or leave the argument out and set HF_HUB_CACHE",
        )
    return whisper_max.load_model(
        name,
        device=device,
        compute_type=compute_type,
        offline=offline,
        weights_dir=download_root,
        revision=revision,
        threads=threads,
        progress=print_line,
    )


def available_models() -> list[str]:
    """The names that can be loaded: published models, small to large, and their aliases."""
    return [*MODELS, *ALIASES]


def is_gpu(device: str) -> bool:
    """True for "cuda", "gpu" and the same with a number."""
    return _GPU.fullmatch(device) is not None


def print_line(line: str) -> None:
    """A line about something slow, on standard error at once."""
    print(line, file=sys.stderr, flush=True)
