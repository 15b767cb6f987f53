"""The decoder's caches, as explicit values in the graphs' signatures.

Self-attention keeps, for each layer, keys and values of every token so far: buffers of shape (rows, H, capacity, hd),
updated in place, where row = window * hyps + hypothesis. Each row has its own length, so rows start and finish
independently. Cross-attention keeps, for each layer, keys and values of the audio: (windows, H, n_audio_ctx, hd),
written once per window and shared by the window's hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from max.dtype import DType
from max.graph import BufferType, BufferValue, DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions


@dataclass(frozen=True)
class KVCache:
    """The self-attention buffers of all layers, each (rows, H, capacity, hd)."""

    keys: list[BufferValue]
    values: list[BufferValue]


@dataclass(frozen=True)
class CrossKV:
    """The cross-attention keys and values of all layers, each (windows, H, n_audio_ctx, hd)."""

    keys: list[TensorValue]
    values: list[TensorValue]


def kv_cache_types(dims: ModelDimensions, dtype: DType, device: DeviceRef) -> list[BufferType]:
    """Key buffers of all layers, then value buffers."""
    shape = ["rows", dims.n_text_head, "capacity", dims.n_text_state // dims.n_text_head]
    return [BufferType(dtype, shape, device=device)] * (2 * dims.n_text_layer)


def cross_kv_types(dims: ModelDimensions, dtype: DType, device: DeviceRef) -> list[TensorType]:
    """Cross keys of all layers, then cross values."""
    shape = ["windows", dims.n_text_head, dims.n_audio_ctx, dims.n_text_state // dims.n_text_head]
    return [TensorType(dtype, shape, device=device)] * (2 * dims.n_text_layer)


def split_kv_cache(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], KVCache]:
    """Take the inputs of ``kv_cache_types`` off the end of a graph's; returns those before them, and the cache."""
    before, keys, values = _split(inputs, dims)
    return before, KVCache([value.buffer for value in keys], [value.buffer for value in values])


def split_cross_kv(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], CrossKV]:
    """Take the inputs of ``cross_kv_types`` off the end of a graph's; returns those before them, and the rest."""
    before, keys, values = _split(inputs, dims)
    return before, CrossKV([value.tensor for value in keys], [value.tensor for value in values])


def _split(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], Sequence[Value], Sequence[Value]]:
    n = dims.n_text_layer
    return inputs[: -2 * n], inputs[-2 * n : -n], inputs[-n:]


def store_prompt(buffer: BufferValue, new: TensorValue) -> None:
    """Write the first slots of one layer. new: (rows, H, length, hd) in the buffer's dtype."""
    every = slice(None)
    length = ops.shape_to_tensor(new.shape)[2].cast(DType.int64)
    ops.buffer_store_slice(buffer, new, [every, every, (slice(0, length), new.shape[2]), every])
