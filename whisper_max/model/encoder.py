"""The encoder: conv stem, positions, blocks and ``ln_post``; and the graph that runs it."""

from __future__ import annotations

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.layers import Weights, layer_norm

KERNEL_SIZE = 3


def input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """mel: (windows, n_mels, n_frames) float32."""
    return [TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device)]


def conv1d(x: TensorValue, weights: Weights, name: str, n_in: int, n_out: int, stride: int) -> TensorValue:
    """A convolution of kernel 3 and padding 1 and its GELU, as one linear layer over the three shifted inputs.

    x: (B, T, n_in) -> (B, T / stride, n_out). The weight is stored (n_out, 3 * n_in), taps outermost.
    """
    length = int(x.shape[1])
    padded = ops.pad(x, [0, 0, 1, 1, 0, 0])  # (B, T + 2, n_in)
    taps = [padded[:, tap : tap + length : stride, :] for tap in range(KERNEL_SIZE)]  # each (B, T / stride, n_in)
    unfolded = ops.concat(taps, axis=-1)  # (B, T / stride, 3 * n_in)
    return weights.ops.linear(unfolded, weights, name, KERNEL_SIZE * n_in, n_out, gelu=True)


def conv_stem(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """mel: (B, n_mels, n_frames) -> (B, n_audio_ctx, n_audio_state), before positions are added."""
    x = ops.transpose(mel, 1, 2)  # (B, n_frames, n_mels)
    x = conv1d(x, weights, "conv1", dims.n_mels, dims.n_audio_state, stride=1)
    return conv1d(x, weights, "conv2", dims.n_audio_state, dims.n_audio_state, stride=2)


def encoder_block(x: TensorValue, weights: Weights, n_state: int, n_head: int) -> TensorValue:
    """One pre-norm residual block. x: (B, T, n_state), same shape out."""
    layers = weights.ops
    qkv = layers.normed_linear(x, weights, "attn_ln", "attn.qkv", n_state, 3 * n_state)
    attended = layers.encoder_attention(qkv, n_head, weights)
    x = layers.linear(attended, weights, "attn.out", n_state, n_state, residual=x)
    return layers.mlp(x, weights, n_state)


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
