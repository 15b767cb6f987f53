"""The sizes that are checked and timed, by name."""

from __future__ import annotations

from dataclasses import replace

from whisper_max.checkpoint.published import MODELS
from whisper_max.dims import ModelDimensions

SIZES = ("tiny", "base", "small", "medium", "large-v3", "large-v3-turbo")
TINY_SHAPE = ModelDimensions(
    n_mels=80, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=1908, n_text_ctx=48, n_text_state=128, n_text_head=2, n_text_layer=1,
)  # fmt: skip
"""No published size: small enough to try the scripts themselves on any machine."""


def dims_of(size: str) -> ModelDimensions:
    """The dimensions of a published size, or of ``tiny-shape``."""
    return TINY_SHAPE if size == "tiny-shape" else MODELS[size].dims


def one_layer(dims: ModelDimensions) -> ModelDimensions:
    """The same with one block on each side: every kernel at every shape that the whole model has."""
    return replace(dims, n_audio_layer=1, n_text_layer=1)
