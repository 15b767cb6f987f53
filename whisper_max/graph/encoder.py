"""The encoder: conv stem, positions, blocks and ``ln_post``; and the graph that runs it."""

from __future__ import annotations

from collections.abc import Callable

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue

from whisper_max.dims import ModelDimensions
from whisper_max.graph.conv_stem import conv_stem
from whisper_max.graph.layers import layer_norm, linear, mlp, self_attention
from whisper_max.graph.weights import Weights

SelfAttention = Callable[[TensorValue, int], TensorValue]
"""(q, k and v side by side, heads) -> attended, as ``layers.self_attention`` without a mask."""


def input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """mel: (windows, n_mels, n_frames) float32."""
    return [TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device)]


def encoder_block(
    x: TensorValue, weights: Weights, n_state: int, n_head: int, attend: SelfAttention = self_attention
) -> TensorValue:
    """One pre-norm residual block. x: (B, T, n_state), same shape out."""
    qkv = linear(layer_norm(x, weights, "attn_ln", n_state), weights, "attn.qkv", n_state, 3 * n_state)
    x = linear(attend(qkv, n_head), weights, "attn.out", n_state, n_state, residual=x)
    return mlp(x, weights, n_state)


def encode_stages(
    mel: TensorValue, weights: Weights, dims: ModelDimensions, attend: SelfAttention = self_attention
) -> list[TensorValue]:
    """The value of every stage, named by ``stages.stage_names``, each (B, n_audio_ctx, n_audio_state)."""
    stages = [conv_stem(mel.cast(weights.dtype), weights, dims)]
    stages.append(stages[-1] + weights("positional_embedding", dims.n_audio_ctx, dims.n_audio_state))
    for index in range(dims.n_audio_layer):
        block = weights / "blocks" / index
        stages.append(encoder_block(stages[-1], block, dims.n_audio_state, dims.n_audio_head, attend))
    return [*stages, layer_norm(stages[-1], weights, "ln_post", dims.n_audio_state)]


def encode(
    mel: TensorValue, weights: Weights, dims: ModelDimensions, attend: SelfAttention = self_attention
) -> TensorValue:
    """Audio features ``xa``, (B, n_audio_ctx, n_audio_state), of log-mel windows."""
    return encode_stages(mel, weights, dims, attend)[-1]
