"""Alignment heads: the attention heads of the decoder that follow the audio."""

from __future__ import annotations

import reprlib
from typing import Any

from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

Heads = tuple[tuple[int, int], ...]
"""(decoder layer, head) pairs."""


def possible_heads(stated: object, dims: ModelDimensions) -> tuple[Heads, int]:
    """The heads among those stated that this model has, and how many it has not.

    Models that were made from a deeper one keep its heads, which must not keep them from transcribing.
    """
    pairs: list[Any] = stated if isinstance(stated, list) else [] if stated is None else [stated]
    heads = [(pair[0], pair[1]) for pair in pairs if _is_possible(pair, dims)]
    return tuple(heads), len(pairs) - len(heads)


def checked_heads(stated: list[object], dims: ModelDimensions, where: object) -> Heads:
    """The alignment heads that a file of our own states.

    Raises:
        CheckpointError: not pairs of a decoder layer and a head of this model.
    """
    heads, n_impossible = possible_heads(stated, dims)
    if n_impossible:
        raise CheckpointError(
            "impossible alignment_heads",
            where=where,
            expected=f"[layer, head] pairs below [{dims.n_text_layer}, {dims.n_text_head}]",
            found=reprlib.repr(next(pair for pair in stated if not _is_possible(pair, dims))),
        )
    return heads


def _is_possible(pair: object, dims: ModelDimensions) -> bool:
    match pair:
        case [int(layer), int(head)] if not isinstance(layer, bool) and not isinstance(head, bool):
            return 0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head
    return False
