"""A voice as 192 numbers: the network CAM++ of https://arxiv.org/abs/2303.00332.

https://github.com/modelscope/3D-Speaker, ``CAMPPlus``. Normalisations after a convolution are part of its weights.
"""

from __future__ import annotations

import numpy as np
from max.dtype import DType
from max.graph import TensorType, TensorValue, ops

from whisper_max.model.speakers.layers import DEVICE, RELU, Taps, Weights, convolution
from whisper_max.model.speakers.shapes import (
    BLOCKS,
    EMBEDDING,
    GROWTH,
    HEAD_CHANNELS,
    N_MELS,
    TDNN_CHANNELS,
    block_size,
    block_widths,
)

AROUND = Taps(kernel=(3, 3))
HALVING = Taps(kernel=(3, 3), step=(2, 1))
BORDER = (1, 1)


def input_types() -> list[TensorType]:
    """features: (B, N_MELS + 2, T + 2, 1) float32, with a border of zeros."""
    return [TensorType(DType.float32, ["voices", N_MELS + 2, "padded", 1], device=DEVICE)]


def residual_block(x: TensorValue, weights: Weights, step: int) -> TensorValue:
    """Two convolutions and a residual. (B, F + 2, T + 2, C) -> (B, F / step + 2, T + 2, C), with borders."""
    n_groups, length = (int(x.shape[1]) - 2) // step, x.shape[2] - 2
    shortcut = x
    if step > 1:
        taps = Taps(step=(step, 1), first=(1, 1))
        shortcut = convolution(
            x, weights / "shortcut", HEAD_CHANNELS, taps, border=BORDER, n_groups=n_groups, length=length
        )
    first = Taps(kernel=(3, 3), step=(step, 1))
    y = convolution(
        x, weights / "conv1", HEAD_CHANNELS, first, slope=RELU, border=BORDER, n_groups=n_groups, length=length
    )
    return convolution(
        y,
        weights / "conv2",
        HEAD_CHANNELS,
        AROUND,
        slope=RELU,
        border=BORDER,
        n_groups=n_groups,
        length=length,
        residual=shortcut,
    )


def head(features: TensorValue, weights: Weights) -> TensorValue:
    """Convolutions over frequency and time. (B, N_MELS + 2, T + 2, 1) -> (B, N_MELS / 8, T + 4, C)."""
    length = features.shape[2] - 2
    x = convolution(
        features,
        weights / "conv1",
        HEAD_CHANNELS,
        AROUND,
        slope=RELU,
        border=BORDER,
        n_groups=N_MELS,
        length=length,
    )
    for layer in (1, 2):
        for block, step in enumerate((2, 1)):
            x = residual_block(x, weights / f"layer{layer}" / block, step)
    return convolution(
        x,
        weights / "conv2",
        HEAD_CHANNELS,
        HALVING,
        slope=RELU,
        border=(0, 2),
        n_groups=N_MELS // 8,
        length=length,
    )


def dense_block(x: TensorValue, weights: Weights, n_layers: int, dilation: int) -> TensorValue:
    """Densely connected layers and the ReLU after them. (B, 1, T, C) -> (B, 1, T, C + n_layers * GROWTH)."""
    batch, groups, length, n_in = x.shape
    shape = [batch, groups, length, int(n_in) + n_layers * GROWTH]
    (y,) = ops.custom(
        "whisper_max.dense_block",
        DEVICE,
        [
            x,
            weights("weight", block_size(int(n_in), n_layers)),
            ops.constant(np.array([dilation], np.int32), DType.int32, DEVICE),
        ],
        out_types=[TensorType(DType.float32, shape, device=DEVICE)],
    )
    return y.tensor


def statistics(x: TensorValue) -> TensorValue:
    """Mean and standard deviation over time. (B, 1, T, C) -> (B, 1, 1, 2 * C)."""
    batch, _, _, channels = x.shape
    shape = [batch, 1, 1, 2 * int(channels)]
    (y,) = ops.custom(
        "whisper_max.statistics", DEVICE, [x], out_types=[TensorType(DType.float32, shape, device=DEVICE)]
    )
    return y.tensor


def embed_stages(features: TensorValue, weights: Weights) -> list[TensorValue]:
    """The value of every stage: head, TDNN, each block with its transition, and the embedding, (B, 1, 1, EMBEDDING)."""
    half = (features.shape[2] - 3) // 2 + 1  # of T = padded - 2: (T - 1) // 2 + 1
    stages = [head(features, weights / "head")]
    tdnn = Taps(kernel=(N_MELS // 8, 5), step=(1, 2))
    stages.append(convolution(stages[-1], weights / "tdnn", TDNN_CHANNELS, tdnn, slope=RELU, length=half))
    for number, (block, width) in enumerate(zip(BLOCKS, block_widths(), strict=True), start=1):
        x = dense_block(stages[-1], weights / f"block{number}", block.n_layers, block.dilation)
        slope = RELU if number == len(BLOCKS) else 1.0
        stages.append(convolution(x, weights / f"transit{number}", width.n_out // 2, slope=slope))
    return [*stages, convolution(statistics(stages[-1]), weights / "dense", EMBEDDING)]


def embed(features: TensorValue, weights: Weights) -> TensorValue:
    """(B, N_MELS + 2, T + 2, 1) -> (B, 1, 1, EMBEDDING)."""
    return embed_stages(features, weights)[-1]
