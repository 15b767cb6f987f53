"""Alignment heads: the attention heads of the decoder that follow the audio."""

from __future__ import annotations

from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

Heads = tuple[tuple[int, int], ...]
"""(decoder layer, head) pairs."""


def checked_heads(stated: object, dims: ModelDimensions, where: object) -> Heads:
    """The alignment heads that a file states.

    Raises:
        CheckpointError: not pairs of a decoder layer and a head of this model.
    """
    heads = []
    for pair in stated if isinstance(stated, list) else [stated]:
        match pair:
            case [int(layer), int(head)] if 0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head:
                heads.append((layer, head))
            case _:
                raise CheckpointError(
                    "impossible alignment_heads",
                    where=where,
                    expected=f"[layer, head] pairs below [{dims.n_text_layer}, {dims.n_text_head}]",
                    found=repr(pair)[:40],
                )
    return tuple(heads)
