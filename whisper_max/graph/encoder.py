"""The encoder: conv stem, positions, blocks and ``ln_post``; and the graph that runs it."""

from __future__ import annotations

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.graph.conv_stem import conv_stem
from whisper_max.graph.layers import attention, layer_norm, linear, merge_heads, mlp, split_heads
from whisper_max.graph.weights import Weights


def input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """mel: (windows, n_mels, n_frames) float32."""
    return [TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device)]


def self_attention(x: TensorValue, weights: Weights, n_state: int, n_head: int) -> TensorValue:
    """Attention of every position over all others. x: (B, T, n_state), same shape out."""
    qkv = linear(x, weights, "attn.qkv", n_state, 3 * n_state)  # (B, T, 3 * n_state)
    q, k, v = (split_heads(part, n_head) for part in ops.split(qkv, [n_state] * 3, axis=-1))  # each (B, H, T, hd)
    return linear(merge_heads(attention(q, k, v)), weights, "attn.out", n_state, n_state)


def encoder_block(x: TensorValue, weights: Weights, n_state: int, n_head: int) -> TensorValue:
    """One pre-norm residual block. x: (B, T, n_state), same shape out."""
    x = x + self_attention(layer_norm(x, weights, "attn_ln", n_state), weights, n_state, n_head)
    return x + mlp(layer_norm(x, weights, "mlp_ln", n_state), weights, n_state)


def encoder_stages(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> dict[str, TensorValue]:
    """Every stage by name, each (B, n_audio_ctx, n_audio_state): conv_stem, embedded, block.N, ln_post."""
    stages: dict[str, TensorValue] = {}
    x = stages["conv_stem"] = conv_stem(mel.cast(weights.dtype), weights, dims)
    positions = weights("positional_embedding", dims.n_audio_ctx, dims.n_audio_state)
    x = stages["embedded"] = x + positions
    for index in range(dims.n_audio_layer):
        x = encoder_block(x, weights / "blocks" / index, dims.n_audio_state, dims.n_audio_head)
        stages[f"block.{index}"] = x
    stages["ln_post"] = layer_norm(x, weights, "ln_post", dims.n_audio_state)
    return stages


def encode(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Audio features ``xa``, (B, n_audio_ctx, n_audio_state), of log-mel windows."""
    return encoder_stages(mel, weights, dims)["ln_post"]
