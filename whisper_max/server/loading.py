"""From a model's id to an engine thread, and what that takes in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whisper_max.api import Model
from whisper_max.checkpoint import read_checkpoint, resolve
from whisper_max.dims import ModelDimensions
from whisper_max.load import load_model
from whisper_max.server.settings import Settings

log = logging.getLogger(__name__)

_FLOAT_BYTES = 4  # of a weight, at its widest, and of a number in a cache
_MLP_WIDTH = 4  # the inner width of a block's MLP, in widths of the model
_ENCODED_AHEAD = 2  # windows that are encoded for each one in the batch


@dataclass(frozen=True)
class Loader:
    """How models come into memory; called on a thread of its own.

    load: the model of a source. estimate: bytes it takes with a full batch.
    """

    load: Callable[[str], Model]
    estimate: Callable[[str], int]


def loader(settings: Settings) -> Loader:
    """The loader of real models."""
    folder = None if settings.model_dir is None else Path(settings.model_dir)

    def load(source: str) -> Model:
        return load_model(
            source,
            device=settings.device,
            compute_type=settings.compute_type,
            threads=settings.threads or None,
            offline=settings.offline,
            weights_dir=folder,
            progress=log.info,
        )

    def estimate(source: str) -> int:
        files = resolve(source, offline=settings.offline, weights_dir=folder, announce=log.info)
        return model_bytes(read_checkpoint(files).dims, settings.batch_size)

    return Loader(load, estimate)


def model_bytes(dims: ModelDimensions, batch_size: int) -> int:
    """What a model takes with a full batch, estimated from its dimensions: weights, cross-KV and KV cache."""
    encoder, decoder = dims.n_audio_state, dims.n_text_state
    weights = (
        dims.n_audio_layer * (4 + 2 * _MLP_WIDTH) * encoder**2  # attention has 4 matrices
        + dims.n_text_layer * (8 + 2 * _MLP_WIDTH) * decoder**2  # and cross-attention 4 more
        + (dims.n_vocab + dims.n_text_ctx) * decoder
        + (3 * dims.n_mels + 3 * encoder + dims.n_audio_ctx) * encoder
    )
    sides = 2 * dims.n_text_layer * decoder  # keys and values
    windows = batch_size * sides * (_ENCODED_AHEAD * dims.n_audio_ctx + dims.n_text_ctx)
    return _FLOAT_BYTES * (weights + windows)
