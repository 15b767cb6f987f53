"""The conv stem: two convolutions that turn a log-mel window into encoder positions."""

from __future__ import annotations

from max.graph import TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.weights import Weights

KERNEL_SIZE = 3


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
