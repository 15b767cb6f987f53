"""Name tables applied: strict both ways, every shape checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.layout import ENCODER_POSITIONS, Shapes, sinusoids, tensor_shapes
from whisper_max.checkpoint.tensors import StoredTensor, Tensors
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

ZEROS = ""
"""Marks a stacked part that must be all zeros and belongs to no tensor."""

NAMED_IN_ERRORS = 4
"""How many tensors of a long list an error names."""


@dataclass(frozen=True)
class NameTable:
    """What a format calls each tensor: data only.

    tensors: stored name to the canonical names stacked in it along the first axis; ``{}`` is the layer number.
    optional: stored names that may be absent (only the encoder's positions can be computed).
    tied: stored names that repeat another tensor and are dropped if equal to it, else refused.
    """

    tensors: Mapping[str, tuple[str, ...]]
    optional: frozenset[str] = frozenset()
    tied: Mapping[str, str] | None = None


def apply_table(table: NameTable, stored: Mapping[str, StoredTensor], dims: ModelDimensions, where: object) -> Tensors:
    """The canonical tensors of a checkpoint, none missing, none left over, none of another shape.

    Raises:
        CheckpointError: tensors missing, unexpected or mis-shaped, a zero part that is not, a tied copy that differs.
    """
    expected = _expand(table.tensors, dims)
    tied = table.tied or {}
    _check_names(expected, set(stored) - set(tied), table.optional, where)
    shapes = tensor_shapes(dims)
    entries: dict[str, StoredTensor | NDArray[np.float32]] = {}
    for name, parts in expected.items():
        if name in stored:
            entries |= _split(stored[name], parts, shapes, where)
    for copy, original in tied.items():
        if copy in stored:
            _check_tied(stored[copy], stored[original], where)
    if ENCODER_POSITIONS not in entries:
        entries[ENCODER_POSITIONS] = sinusoids(dims.n_audio_ctx, dims.n_audio_state)
    return Tensors({name: entries[name] for name in shapes})


def summarise(names: Iterable[str]) -> str:
    """A list for an error: its length and its first few names."""
    ordered = sorted(names)
    more = ", ..." if len(ordered) > NAMED_IN_ERRORS else ""
    return f"{len(ordered)} ({', '.join(name[:80] for name in ordered[:NAMED_IN_ERRORS])}{more})"


def _expand(tensors: Mapping[str, tuple[str, ...]], dims: ModelDimensions) -> dict[str, tuple[str, ...]]:
    """The table with every layer number written out."""
    layers = {"encoder": dims.n_audio_layer, "decoder": dims.n_text_layer}
    expanded = {}
    for name, parts in tensors.items():
        side = max(parts).partition(".")[0]  # any part but ZEROS
        for layer in range(layers[side]) if "{}" in name else [0]:
            expanded[name.format(layer)] = tuple(part.format(layer) for part in parts)
    return expanded


def _check_names(expected: Iterable[str], found: set[str], optional: frozenset[str], where: object) -> None:
    missing = set(expected) - found - optional
    unexpected = found - set(expected)
    if missing:
        also = f"; unexpected: {summarise(unexpected)}" if unexpected else ""
        raise CheckpointError(f"tensors are missing: {summarise(missing)}{also}", where=where)
    if unexpected:
        raise CheckpointError(f"unexpected tensors: {summarise(unexpected)}", where=where)


def _split(
    tensor: StoredTensor, parts: tuple[str, ...], shapes: Shapes, where: object
) -> dict[str, StoredTensor | NDArray[np.float32]]:
    """The parts stacked in one tensor; stacked parts all have the same shape."""
    one = shapes[max(parts)]
    whole = (one[0] * len(parts), *one[1:])
    if tensor.shape != whole:
        raise CheckpointError(f"{tensor.name} has the wrong shape", where=where, expected=whole, found=tensor.shape)
    if len(parts) == 1:
        return {parts[0]: tensor}
    entries: dict[str, StoredTensor | NDArray[np.float32]] = {}
    for index, part in enumerate(parts):
        rows = tensor.rows(index * one[0], (index + 1) * one[0])
        if part == ZEROS:
            _check_zeros(rows, where)
        else:
            entries[part] = rows
    return entries


def _check_zeros(tensor: StoredTensor, where: object) -> None:
    if np.any(tensor.read()):
        raise CheckpointError(f"{tensor.name} has a bias on the keys", where=where, expected="zeros")


def _check_tied(copy: StoredTensor, original: StoredTensor, where: object) -> None:
    if copy.shape != original.shape or not np.array_equal(copy.read(), original.read()):
        raise CheckpointError(f"{copy.name} is not tied", where=where, expected=f"a copy of {original.name}")
