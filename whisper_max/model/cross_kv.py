"""Cross-attention keys and values: once per window, in the layout the decoder reads."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferType, DeviceRef, TensorType, Value

from whisper_max.dims import ModelDimensions
from whisper_max.model.kv_cache import cross_kv_types
from whisper_max.model.weights import Weights


def cross_kv_input_types(
    dims: ModelDimensions, dtype: DType, kv_dtype: DType, device: DeviceRef
) -> list[TensorType | BufferType]:
    """xa: (windows, n_audio_ctx, n_audio_state); then the buffers to fill, keys of all layers before values."""
    return [
        TensorType(dtype, ["windows", dims.n_audio_ctx, dims.n_audio_state], device=device),
        *[side.as_buffer() for side in cross_kv_types(dims, kv_dtype, device)],
    ]


def cross_kv(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> None:
    """Fill the cross keys and values of every layer, each (windows, H, n_audio_ctx, hd)."""
    xa, *buffers = inputs
    keys, values = buffers[: dims.n_text_layer], buffers[dims.n_text_layer :]
    n_in, n_out = dims.n_audio_state, dims.n_text_state
    for layer in range(dims.n_text_layer):
        block = weights / "blocks" / layer
        weights.ops.store_heads(keys[layer].buffer, xa.tensor, block, "cross_attn.key", n_in, n_out, bias=False)
        weights.ops.store_heads(values[layer].buffer, xa.tensor, block, "cross_attn.value", n_in, n_out)
