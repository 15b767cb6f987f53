"""From a checkpoint's tensors to the weights that the compiled graphs ask for.

The graphs want what runs fastest: query, key and value stacked, convolutions as matrices, and on a CPU every matrix in
panels, in a narrow storage dtype. Each rule below makes one of their layers from the checkpoint's tensors, named as in
openai-whisper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import itemgetter
from typing import Any

import numpy as np
from max.driver import Buffer, Device
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.checkpoint import Tensors as StoredTensors
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.checkpoint.tensors import QuantizedTensor, Stored
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError
from whisper_max.hardware.cores import usable_cores
from whisper_max.hardware.processors import vnni
from whisper_max.model.panels import GROUP, PANEL, n_groups, n_panels

Float32 = NDArray[np.float32]
Array = NDArray[Any]
"""float32, or float16 where the checkpoint has that."""
Tensors = Mapping[str, Array]
Make = Callable[[Tensors], Array]
MakeAll = Callable[[], dict[str, Array]]
CACHE_LINE = 64
_TOGETHER = 1 << 16
"""Elements that are converted together: in float32 they stay in a core's cache, and hardly count beside the weights."""


@dataclass(frozen=True)
class Rule:
    """How to make one weight.

    name: the graphs'. linear: the matrix or bias of a linear layer. filler: the zeros of a layer without a bias, which
    only the CPU's kernels ask for. matrices: the checkpoint's matrices that are stacked in this one.
    """

    name: str
    make: Make
    linear: bool = False
    filler: bool = False
    matrices: tuple[str, ...] = ()


def prepare_weights(
    tensors: Tensors,
    dims: ModelDimensions,
    dtype: DType,
    storage: DType,
    device: Device,
    keep: Callable[[MakeAll], dict[str, Array]] | None = None,
) -> dict[str, Buffer]:
    """All weights of the graphs, by the graphs' names, on the device.

    Args:
        tensors: the checkpoint's state dict, complete and of the right shapes (the checkpoint room sees to that).
        dims: its dimensions.
        dtype: of what is not a matrix; on a GPU of everything.
        storage: on a CPU, of the matrices of linear layers: float32, float16 or int8.
        device: where the graphs run.
        keep: gives what its argument makes for a CPU, maybe from where it was kept.
    """
    if device.is_host:
        make = partial(host_weights, tensors, dims, storage)
        arrays = make() if keep is None else keep(make)
        weights = {name: Buffer.from_numpy(array) for name, array in arrays.items()}
    else:
        rules = weight_rules(dims, own_logits=LOGITS in tensors)
        weights = {rule.name: to_device(_made(rule, tensors), dtype, device) for rule in rules if not rule.filler}
    _bind_logits(weights)
    if device.is_host and storage == DType.int8:
        weights["vnni"] = Buffer.from_numpy(np.array([vnni()], np.int32))
    return weights


def host_weights(tensors: Tensors, dims: ModelDimensions, storage: DType) -> dict[str, Array]:
    """All weights for a CPU but those that are others by another name; arguments as for ``prepare_weights``.

    All cores convert tensors, one each at a time, from the dtype that they are stored in: little more is ever in memory
    than the result and the largest tensors.
    """
    rules = weight_rules(dims, own_logits=LOGITS in tensors)
    convert = partial(_on_host, tensors=_AsStored(tensors), storage=storage)
    weights: dict[str, Array] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:
        for parts in pool.map(convert, rules):
            weights |= parts
    return weights


def _bind_logits(weights: dict[str, Buffer]) -> None:
    """Let the logits be made by the token embedding, in one memory, where they have no matrix of their own."""
    embedding, logits = (name.removesuffix("weight") for name in (TOKEN_EMBEDDING, LOGITS))
    if LOGITS not in weights:
        parts = [part for part in ("weight", "scale", "offset") if f"{embedding}{part}" in weights]
        weights |= {f"{logits}{part}": weights[f"{embedding}{part}"] for part in parts}
    weights.pop(f"{embedding}offset", None)  # which only products need


class _AsStored(Mapping[str, Array]):
    """Tensors of a checkpoint in the dtype that they are stored in: most are only put in another order."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Array:
        return self._tensors.raw(name) if isinstance(self._tensors, StoredTensors) else self._tensors[name]

    def scales(self, names: Sequence[str]) -> Float32 | None:
        """The scales of stacked matrices, where all of them are stored in int8."""
        if not isinstance(self._tensors, StoredTensors):
            return None
        entries = [self._tensors.entry(name) for name in names]
        narrow = [entry.scale for entry in entries if isinstance(entry, QuantizedTensor)]
        return np.concatenate(narrow) if names and len(narrow) == len(names) else None

    def by_rows(self, names: Sequence[str], *, int8: bool) -> _ByRows | None:
        """Stacked matrices to be read in stretches, where they are in a file that allows it.

        int8: whether those in int8 come as their int8 values, else as what they stand for.
        """
        if not isinstance(self._tensors, StoredTensors):
            return None
        entries = [self._tensors.entry(name) for name in names]
        parts = [entry for entry in entries if isinstance(entry, Stored)]
        return _ByRows(parts, int8=int8) if names and len(parts) == len(names) else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _ByRows:
    """Stacked matrices in a file, read in stretches of rows, so that none ever is in memory as a whole."""

    def __init__(self, parts: Sequence[Stored], *, int8: bool) -> None:
        self._parts = parts
        self._int8 = int8
        self.shape = (sum(part.shape[0] for part in parts), prod(parts[0].shape[1:]))

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(self.shape[0])
        pieces = []
        for part in self._parts:
            if max(start, 0) < min(stop, part.shape[0]):
                pieces.append(self._read(part.rows(max(start, 0), min(stop, part.shape[0]))))
            start, stop = start - part.shape[0], stop - part.shape[0]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read(self, part: Stored) -> Array:
        matrix = part.values if self._int8 and isinstance(part, QuantizedTensor) else part.read()
        return _taps_outermost(matrix) if matrix.ndim > 2 else matrix


def _on_host(rule: Rule, tensors: _AsStored, storage: DType) -> list[tuple[str, NDArray[np.generic]]]:
    """What one rule makes for a CPU; int8 that stays int8 is only put in another order."""
    scales = tensors.scales(rule.matrices) if storage == DType.int8 else None
    by_rows = tensors.by_rows(rule.matrices, int8=scales is not None)
    if by_rows is not None:
        return list(stored(rule.name, by_rows, storage, scales))
    array = _made(rule, tensors)
    if not rule.linear:
        return [(rule.name, np.ascontiguousarray(array, np.float32))]
    return [(rule.name, _padded(array))] if array.ndim == 1 else list(stored(rule.name, array, storage))


def stored(
    name: str, matrix: Array | _ByRows, storage: DType, scales: Float32 | None = None
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """A matrix (n_out, n_in) as the CPU's kernels read it; for int8 its scales and offsets too.

    scales: of each output, where the matrix is in int8.
    """
    if storage == DType.int8:
        with np.errstate(invalid="ignore"):  # checked below, by the scales
            panels, scale, offset = in_int8_panels(matrix, scales)
        _check_finite(scale, name)
        layer = name.removesuffix("weight")
        yield from ((name, panels), (f"{layer}scale", scale), (f"{layer}offset", offset))
    else:
        with np.errstate(over="ignore"):
            wide = in_panels(matrix, storage)
        _check_finite(wide, name)
        yield name, wide


def _made(rule: Rule, tensors: Mapping[str, Array]) -> Array:
    array = rule.make(tensors)
    _check_finite(array, rule.name)
    return array


def _check_finite(array: Array, name: str) -> None:
    """Refuse a weight that is infinite or no number: what a model with one says means nothing."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _TOGETHER):
        piece = flat[start : start + _TOGETHER]
        if piece.dtype == np.float16:  # by its bits: isfinite takes five times as long
            is_finite = (piece.view(np.uint16) & 0x7FFF).max() < 0x7C00
        else:
            is_finite = np.isfinite(piece).all()
        if not is_finite:
            raise CheckpointError(
                f"{name} has values that are infinite or no numbers",
                hint="the model was damaged when it was trained, or does not fit this compute type",
            )


def in_panels(matrix: Array | _ByRows, storage: DType) -> NDArray[np.generic]:
    """(n_out, n_in) -> (n_panels, n_in, PANEL) in the storage dtype, the last panel filled up with zeros."""
    n_out, n_in = matrix.shape
    panels = _aligned_zeros((n_panels(n_out), n_in, PANEL), storage.to_numpy())
    step = _rows_together(n_in)
    for start in range(0, n_out, step):
        rows, first = matrix[start : start + step], start // PANEL
        whole = len(rows) // PANEL
        panels[first : first + whole] = rows[: whole * PANEL].reshape(whole, PANEL, n_in).transpose(0, 2, 1)
        if rest := len(rows) % PANEL:
            panels[first + whole, :, :rest] = rows[whole * PANEL :].T
    return panels


def in_int8_panels(
    matrix: Array | _ByRows, scales: Float32 | None = None
) -> tuple[NDArray[np.int8], Float32, NDArray[np.int32]]:
    """(n_out, n_in) -> int8 panels (n_panels, n_groups, PANEL, GROUP) filled up with zeros, and what belongs to them.

    Both (n_panels * PANEL,): the scale of each output, and its offset, -128 times the sum of its int8 values: the
    kernels hold their input as unsigned bytes, 128 more than its values.
    """
    n_out, n_in = matrix.shape
    groups = n_groups(n_in)
    panels = _aligned_zeros((n_panels(n_out), groups, PANEL, GROUP), np.int8)
    scale, offset = np.zeros(len(panels) * PANEL, np.float32), np.zeros(len(panels) * PANEL, np.int32)
    step = _rows_together(n_in)
    for start in range(0, n_out, step):
        rows = matrix[start : start + step]
        narrow, narrow_scales = quantized(rows) if scales is None else (rows, scales[start : start + step])
        count = n_panels(len(narrow))
        padded = np.zeros((count * PANEL, groups * GROUP), np.int8)
        padded[: len(narrow), :n_in] = narrow
        first = start // PANEL
        # (count, PANEL, groups) -> (count, groups, PANEL): a group's bytes stay together, as one int32
        panels[first : first + count].view(np.int32)[..., 0] = (
            padded.view(np.int32).reshape(count, PANEL, groups).transpose(0, 2, 1)
        )
        scale[start : start + len(narrow)] = narrow_scales
        offset[start : start + len(padded)] = -128 * padded.sum(axis=1, dtype=np.int32)
    return panels, scale, offset


def _rows_together(n_in: int) -> int:
    """How many rows to convert together: whole panels."""
    return -(-_TOGETHER // (n_in * PANEL)) * PANEL


def quantized(matrix: Array) -> tuple[NDArray[np.int8], Float32]:
    """A matrix (n_out, n_in) as int8, and the scale of each output: its largest magnitude / 127 (1 for zeros)."""
    matrix = matrix.astype(np.float32, copy=False)
    scale = np.maximum(matrix.max(axis=1), -matrix.min(axis=1)) / np.float32(127)
    scale[scale == 0] = 1
    steps = matrix / scale[:, None]
    return np.rint(steps, out=steps).astype(np.int8), scale


def _aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic] | np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin at a cache line, so that no vector of a panel lies across two."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def fits_float16(tensors: Tensors, dims: ModelDimensions) -> bool:
    """True where every matrix of the checkpoint is exact in float16, as those that OpenAI published are."""
    with np.errstate(over="ignore"):
        return all(
            np.array_equal(matrix.astype(np.float16).astype(np.float32), matrix, equal_nan=True)
            for rule in weight_rules(dims, own_logits=LOGITS in tensors)
            if rule.linear and (matrix := rule.make(tensors)).ndim > 1
        )


def _padded(vector: Array) -> Array:
    """(n_out,) with zeros up to whole panels."""
    return np.pad(vector.astype(np.float32, copy=False), (0, n_panels(len(vector)) * PANEL - len(vector)))


def weight_rules(dims: ModelDimensions, *, own_logits: bool = False) -> Iterator[Rule]:
    """The rule of every weight.

    own_logits: whether the logits have a matrix of their own; else its weight is the token embedding's.
    """
    for conv in ("encoder.conv1", "encoder.conv2"):
        weight = f"{conv}.weight"
        yield Rule(weight, partial(_unfolded, name=weight), linear=True, matrices=(weight,))
        yield Rule(f"{conv}.bias", itemgetter(f"{conv}.bias"), linear=True)
    yield _as_is("encoder.positional_embedding")
    for layer in range(dims.n_audio_layer):
        yield from _block_rules(f"encoder.blocks.{layer}")
    yield from _norm("encoder.ln_post")
    yield _matrix(TOKEN_EMBEDDING)
    if own_logits:
        yield _matrix(LOGITS)
    yield Rule("decoder.logits.bias", partial(_zeros, size=dims.n_vocab), linear=True, filler=True)
    yield _as_is("decoder.positional_embedding")
    for layer in range(dims.n_text_layer):
        block = f"decoder.blocks.{layer}"
        yield from _block_rules(block)
        yield from _norm(f"{block}.cross_attn_ln")
        key = f"{block}.cross_attn.key"
        yield _matrix(f"{key}.weight")
        yield Rule(f"{key}.bias", partial(_zeros, size=dims.n_text_state), linear=True, filler=True)
        for part in ("query", "value", "out"):
            yield from _linear(f"{block}.cross_attn.{part}")
    yield from _norm("decoder.ln")


def _block_rules(block: str) -> Iterator[Rule]:
    """What encoder and decoder blocks share."""
    attn = f"{block}.attn"
    stacked = tuple(f"{attn}.{part}.weight" for part in ("query", "key", "value"))
    yield Rule(f"{attn}.qkv.weight", partial(_stacked_weight, names=stacked), linear=True, matrices=stacked)
    yield Rule(f"{attn}.qkv.bias", partial(_stacked_bias, attn=attn), linear=True)
    yield from (rule for layer in (f"{attn}.out", f"{block}.mlp.0", f"{block}.mlp.2") for rule in _linear(layer))
    yield from (rule for layer in (f"{block}.attn_ln", f"{block}.mlp_ln") for rule in _norm(layer))


def _as_is(name: str) -> Rule:
    return Rule(name, itemgetter(name))


def _linear(layer: str) -> Iterable[Rule]:
    return [_matrix(f"{layer}.weight"), Rule(f"{layer}.bias", itemgetter(f"{layer}.bias"), linear=True)]


def _matrix(name: str) -> Rule:
    return Rule(name, itemgetter(name), linear=True, matrices=(name,))


def _norm(layer: str) -> Iterable[Rule]:
    return [_as_is(f"{layer}.weight"), _as_is(f"{layer}.bias")]


def _zeros(_tensors: Tensors, size: int) -> Array:
    return np.zeros(size, np.float32)


def _stacked_weight(tensors: Tensors, names: Sequence[str]) -> Array:
    """(3 * n_state, n_state): query, key, value."""
    return np.concatenate([tensors[name] for name in names])


def _stacked_bias(tensors: Tensors, attn: str) -> Array:
    """(3 * n_state,): query, zeros (a key has no bias), value."""
    query, value = tensors[f"{attn}.query.bias"], tensors[f"{attn}.value.bias"]
    return np.concatenate([query, np.zeros_like(query), value])


def _unfolded(tensors: Tensors, name: str) -> Array:
    """A convolution as a matrix over its unfolded input."""
    return _taps_outermost(tensors[name])


def _taps_outermost(weight: Array) -> Array:
    """A convolution's (n_out, n_in, 3) as the matrix (n_out, 3 * n_in)."""
    return np.ascontiguousarray(weight.transpose(0, 2, 1)).reshape(weight.shape[0], -1)


def to_device(array: Array, dtype: DType, device: Device) -> Buffer:
    """A float32 array in the compute dtype, on the device; float32 on a CPU is not copied."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    if dtype == DType.float16:
        buffer = Buffer.from_numpy(array.astype(np.float16))
    elif dtype == DType.bfloat16:
        buffer = Buffer.from_numpy(_bfloat16_bits(array)).view(DType.bfloat16, array.shape)
    else:
        buffer = Buffer.from_numpy(array)
    return buffer if device.is_host else buffer.to(device)


def _bfloat16_bits(array: Array) -> NDArray[np.uint16]:
    """The upper halves of float32 values, rounded to nearest even."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
