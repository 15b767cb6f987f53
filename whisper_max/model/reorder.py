"""Hypotheses that continue others: a cache filled with rows of another one."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferType, DeviceRef, TensorType, Value

from whisper_max.dims import ModelDimensions
from whisper_max.model.decoder import kv_cache_types
from whisper_max.model.layers import Ops


def reorder_input_types(dims: ModelDimensions, dtype: DType, device: DeviceRef) -> list[TensorType | BufferType]:
    """The inputs of ``reorder``: the caches to fill, those to read, the row to read for each row, slots in use (1,)."""
    head_dim = dims.n_text_state // dims.n_text_head
    source = TensorType(dtype, ["source_rows", dims.n_text_head, "capacity", head_dim], device=device)
    return [
        TensorType(DType.int32, ["rows"], device=device),
        TensorType(DType.int64, [1], device=DeviceRef.CPU()),
        *kv_cache_types(dims, dtype, device),
        *[source] * (2 * dims.n_text_layer),
    ]


def reorder(inputs: Sequence[Value], layers: Ops) -> None:
    """Fill a cache with rows of another, in the order given; only the slots in use are copied."""
    row_of, n_slots, *caches = inputs
    targets = [value.buffer for value in caches[: len(caches) // 2]]
    sources = [value.tensor for value in caches[len(caches) // 2 :]]
    layers.copy_slots(targets, sources, row_of.tensor, n_slots.tensor)
