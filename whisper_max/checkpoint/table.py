"""Name tables applied: strict both ways, every shape checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from whisper_max.checkpoint.layout import ENCODER_POSITIONS, LOGITS, TOKEN_EMBEDDING, Shapes, sinusoids, tensor_shapes
from whisper_max.checkpoint.tensors import ComputedTensor, Entry, Stored, Tensors
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

KEY_BIAS = ""
"""Marks a part that belongs to no tensor: a bias on keys adds the same to all scores of a query, which is nothing."""

NAMED_IN_ERRORS = 4
"""How many tensors of a long list an error names."""


@dataclass(frozen=True)
class NameTable:
    """What a format calls each tensor: data only.

    tensors: stored name to the canonical names stacked in it along the first axis; ``{}`` is the layer number.
    optional: stored names that may be absent: the encoder's positions, which can be computed, and biases on keys.
    logits: what the matrix of the logits is called; where it is absent or equal, the token embedding is that matrix.
    """

    tensors: Mapping[str, tuple[str, ...]]
    optional: frozenset[str] = frozenset()
    logits: str | None = None


def apply_table(table: NameTable, stored: Mapping[str, Stored], dims: ModelDimensions, where: object) -> Tensors:
    """The canonical tensors of a checkpoint, none missing, none left over, none of another shape.

    Raises:
        CheckpointError: tensors missing, unexpected or mis-shaped.
    """
    expected = expand(table.tensors, dims)
    optional = set(expand({name: table.tensors[name] for name in table.optional}, dims))
    _check_names(expected, set(stored) - {table.logits}, optional, where)
    shapes = tensor_shapes(dims)
    entries: dict[str, Entry] = {}
    for name, parts in expected.items():
        if name in stored:
            entries |= _split(stored[name], parts, shapes, where)
    if table.logits is not None and table.logits in stored:
        entries |= _own_logits(stored[table.logits], entries[TOKEN_EMBEDDING], where)
    if ENCODER_POSITIONS not in entries:
        entries[ENCODER_POSITIONS] = ComputedTensor(sinusoids(dims.n_audio_ctx, dims.n_audio_state))
    return Tensors({name: entries[name] for name in (*shapes, LOGITS) if name in entries})


def summarise(names: Iterable[str]) -> str:
    """A list for an error: its length and its first few names."""
    ordered = sorted(names)
    more = ", ..." if len(ordered) > NAMED_IN_ERRORS else ""
    return f"{len(ordered)} ({', '.join(name[:80] for name in ordered[:NAMED_IN_ERRORS])}{more})"


def expand(tensors: Mapping[str, tuple[str, ...]], dims: ModelDimensions) -> dict[str, tuple[str, ...]]:
    """The table with every layer number written out."""
    layers = {"encoder": dims.n_audio_layer, "decoder": dims.n_text_layer}
    expanded = {}
    for name, parts in tensors.items():
        side = min(layers, key=lambda side: name.find(side) % (len(name) + 1))  # the first that the name mentions
        for layer in range(layers[side]) if "{}" in name else [0]:
            expanded[name.format(layer)] = tuple(part.format(layer) for part in parts)
    return expanded


def _check_names(expected: Iterable[str], found: set[str], optional: set[str], where: object) -> None:
    missing = set(expected) - found - optional
    unexpected = found - set(expected)
    if missing:
        also = f"; unexpected: {summarise(unexpected)}" if unexpected else ""
        raise CheckpointError(f"tensors are missing: {summarise(missing)}{also}", where=where)
    if unexpected:
        raise CheckpointError(f"unexpected tensors: {summarise(unexpected)}", where=where)


def _split(tensor: Stored, parts: tuple[str, ...], shapes: Shapes, where: object) -> dict[str, Entry]:
    """The parts stacked in one tensor; stacked parts all have the same shape."""
    if parts == (KEY_BIAS,):
        return {}
    one = shapes[max(parts)]
    whole = (one[0] * len(parts), *one[1:])
    _check_shape(tensor, whole, where)
    if len(parts) == 1:
        return {parts[0]: tensor}
    entries: dict[str, Entry] = {}
    for index, part in enumerate(parts):
        rows = tensor.rows(index * one[0], (index + 1) * one[0])
        if part != KEY_BIAS:
            entries[part] = rows
    return entries


def _own_logits(matrix: Stored, embedding: Entry, where: object) -> dict[str, Entry]:
    """The matrix of the logits, where it is another than the token embedding."""
    _check_shape(matrix, embedding.shape, where)
    return {} if np.array_equal(matrix.read(), embedding.read()) else {LOGITS: matrix}


def _check_shape(tensor: Stored, expected: tuple[int, ...], where: object) -> None:
    if tensor.shape != expected:
        raise CheckpointError(f"{tensor.name} has the wrong shape", where=where, expected=expected, found=tensor.shape)
