"""The encoder: conv stem, positions, blocks and ``ln_post``; and the graph that runs it."""

from __future__ import annotations

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue

from whisper_max.dims import ModelDimensions
from whisper_max.model.conv_stem import conv_stem
from whisper_max.model.layers import layer_norm
from whisper_max.model.weights import Weights


def input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """mel: (windows, n_mels, n_frames) float32."""
    return [TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device)]


def encoder_block(x: TensorValue, weights: Weights, n_state: int, n_head: int) -> TensorValue:
    """One pre-norm residual block. x: (B, T, n_state), same shape out."""
    ops = weights.ops
    qkv = ops.normed_linear(x, weights, "attn_ln", "attn.qkv", n_state, 3 * n_state)
    attended = ops.encoder_attention(qkv, n_head, weights)
    x = ops.linear(attended, weights, "attn.out", n_state, n_state, residual=x)
    return ops.mlp(x, weights, n_state)


def encode_stages(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> list[TensorValue]:
    """The value of every stage, named by ``stages.stage_names``, each (B, n_audio_ctx, n_audio_state)."""
    stages = [conv_stem(mel.cast(weights.dtype), weights, dims)]
    stages.append(stages[-1] + weights("positional_embedding", dims.n_audio_ctx, dims.n_audio_state))
    for index in range(dims.n_audio_layer):
        block = weights / "blocks" / index
        stages.append(encoder_block(stages[-1], block, dims.n_audio_state, dims.n_audio_head))
    return [*stages, layer_norm(stages[-1], weights, "ln_post", dims.n_audio_state)]


def encode(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Audio features ``xa``, (B, n_audio_ctx, n_audio_state), of log-mel windows."""
    return encode_stages(mel, weights, dims)[-1]
