"""Who of up to three speakers is heard when, in 10 s: the network of pyannote's segmentation-3.0.

https://github.com/pyannote/pyannote-audio, ``PyanNet``: SincNet, four bidirectional LSTMs and three linear layers.
"""

from __future__ import annotations

import numpy as np
from max.dtype import DType
from max.graph import TensorType, TensorValue, ops

from whisper_max.model.panels import PANEL, n_panels
from whisper_max.model.speakers.layers import DEVICE, LEAKY_RELU, Taps, Weights, convolution
from whisper_max.model.speakers.shapes import HIDDEN, N_CLASSES, N_LSTM, SINC_KERNEL, SINC_STEP, WINDOW_SAMPLES

POOL = 3
CHANNELS = (80, 60, 60)
KERNEL = 5


def input_types() -> list[TensorType]:
    """sound: (n_samples,) float32; starts: (B,) int32, the first frame of each window in it."""
    sound = TensorType(DType.float32, ["samples"], device=DEVICE)
    return [sound, TensorType(DType.int32, ["windows"], device=DEVICE)]


def filtered(sound: TensorValue, starts: TensorValue, weights: Weights) -> TensorValue:
    """Magnitudes of what the filters let through of each window, as ``pool_norm`` leaves them, (B, 1, T, CHANNELS[0]).

    The filters hear what two windows share once: their results are linear in what a window's normalisation does.
    """
    n_out = CHANNELS[0]
    n_pooled = ((sound.shape[0] - SINC_KERNEL) // SINC_STEP + 1) // POOL
    size = ops.constant(np.array([WINDOW_SAMPLES], np.int32), DType.int32, DEVICE)
    (heard,) = ops.custom(
        "whisper_max.sinc_filters",
        DEVICE,
        [sound, weights("filters", SINC_KERNEL // 2 + 1, n_out)],
        out_types=[TensorType(DType.float32, [n_pooled, 2, n_out], device=DEVICE)],
    )
    (levels,) = ops.custom(
        "whisper_max.sinc_levels",
        DEVICE,
        [sound, starts, weights("levels", 2), size],
        out_types=[TensorType(DType.float32, [starts.shape[0], 2], device=DEVICE)],
    )
    of_window = ((WINDOW_SAMPLES - SINC_KERNEL) // SINC_STEP + 1) // POOL
    (x,) = ops.custom(
        "whisper_max.sinc_norm",
        DEVICE,
        [heard, starts, levels, weights("totals", n_out), weights("norm_weight", n_out), weights("norm_bias", n_out)],
        out_types=[TensorType(DType.float32, [starts.shape[0], 1, of_window, n_out], device=DEVICE)],
    )
    return x.tensor


def pool_norm(x: TensorValue, weights: Weights) -> TensorValue:
    """Max pooling, instance norm, leaky ReLU. (B, 1, T, C) -> (B, 1, T // 3, C)."""
    batch, groups, length, channels = x.shape
    shape = [batch, groups, int(length) // POOL, channels]
    (y,) = ops.custom(
        "whisper_max.pool_norm",
        DEVICE,
        [x, weights("norm_weight", int(channels)), weights("norm_bias", int(channels))],
        out_types=[TensorType(DType.float32, shape, device=DEVICE)],
    )
    return y.tensor


def sincnet(sound: TensorValue, starts: TensorValue, weights: Weights) -> TensorValue:
    """(n_samples,), (B,) -> (B, 1, N_FRAMES, 60)."""
    x = filtered(sound, starts, weights / 0)
    for layer, n_out in enumerate(CHANNELS[1:], start=1):
        x = convolution(x, weights / layer, n_out, Taps(kernel=(1, KERNEL)), length=int(x.shape[2]) - KERNEL + 1)
        x = pool_norm(x, weights / layer)
    return x


def lstm(x: TensorValue, weights: Weights) -> TensorValue:
    """A bidirectional LSTM. (B, 1, T, C) -> (B, 1, T, 2 * HIDDEN)."""
    gates = convolution(x, weights, 8 * HIDDEN)  # (B, 1, T, 2 * 4 * HIDDEN)
    batch, groups, length, _ = x.shape
    shape = [batch, groups, length, 2 * HIDDEN]
    (y,) = ops.custom(
        "whisper_max.lstm",
        DEVICE,
        [gates, weights("recurrent", 2, n_panels(4 * HIDDEN), HIDDEN, PANEL), weights("no_bias", 4 * HIDDEN)],
        out_types=[TensorType(DType.float32, shape, device=DEVICE)],
        parameters={"hidden": HIDDEN},
    )
    return y.tensor


def segment_stages(sound: TensorValue, starts: TensorValue, weights: Weights) -> list[TensorValue]:
    """The value of every stage: SincNet, each LSTM, and the logits, (B, 1, N_FRAMES, N_CLASSES)."""
    stages = [sincnet(sound, starts, weights / "sincnet")]
    for layer in range(N_LSTM):
        stages.append(lstm(stages[-1], weights / "lstm" / layer))
    x = stages[-1]
    for layer in range(2):
        x = convolution(x, weights / "linear" / layer, HIDDEN, slope=LEAKY_RELU)
    return [*stages, convolution(x, weights / "classifier", N_CLASSES)]


def segment(sound: TensorValue, starts: TensorValue, weights: Weights) -> TensorValue:
    """The logits of ``CLASSES`` in each frame, (B, 1, N_FRAMES, N_CLASSES)."""
    return segment_stages(sound, starts, weights)[-1]
