"""Copies of published models, by the names that their repositories and files have."""

from __future__ import annotations

import re

from whisper_max.checkpoint.published import ALIASES, MODELS

_HUB_IDS = {model.hub_id.lower(): name for name, model in MODELS.items()}
_OWNERS = ("openai", "systran", "guillaumekln", "distil-whisper", "deepdml", "mobiuslabsgmbh", "ggerganov", "ggml-org")
_DRESS = (
    (re.compile(r"^ggml-|^faster-|\.bin$|-ct2$"), ""),
    (re.compile(r"^distil-whisper-"), "distil-"),
    (re.compile(r"^whisper-"), ""),
)
"""What repositories add to the names of published models."""


def published_name(source: str) -> str | None:
    """The published model of which a source is a copy, in any of its formats, by its name; None where it is none.

    ``Systran/faster-whisper-base``, ``openai/whisper-base`` and ``ggml-base.bin`` are ``base``.
    """
    wanted = source.lower()
    if wanted in _HUB_IDS:
        return _HUB_IDS[wanted]
    owner, _, name = wanted.rpartition("/")
    if owner and owner not in _OWNERS:
        return None
    for pattern, plain in _DRESS:
        name = pattern.sub(plain, name)
    name = ALIASES.get(name, name)
    return name if name in MODELS else None
