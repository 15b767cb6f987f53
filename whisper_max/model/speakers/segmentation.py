"""Who of up to three speakers is heard when, in 10 s: the network of pyannote's segmentation-3.0.

https://github.com/pyannote/pyannote-audio, ``PyanNet``: SincNet, four bidirectional LSTMs and three linear layers.
"""

from __future__ import annotations

from max.dtype import DType
from max.graph import TensorType, TensorValue, ops

from whisper_max.model.panels import PANEL, n_panels
from whisper_max.model.speakers.layers import DEVICE, LEAKY_RELU, Taps, Weights, convolution
from whisper_max.model.speakers.shapes import HIDDEN, N_CLASSES, N_LSTM, SINC_KERNEL, SINC_STEP, WINDOW_SAMPLES

POOL = 3
CHANNELS = (80, 60, 60)
KERNEL = 5


def input_types() -> list[TensorType]:
    """samples: (B, 1, WINDOW_SAMPLES, 1) float32, normalised by ``weights.normalised``."""
    return [TensorType(DType.float32, ["windows", 1, WINDOW_SAMPLES, 1], device=DEVICE)]


def pool_norm(x: TensorValue, weights: Weights, *, rectify: bool = False) -> TensorValue:
    """Max pooling, instance norm, leaky ReLU; of magnitudes, where asked. (B, 1, T, C) -> (B, 1, T // 3, C)."""
    batch, groups, length, channels = x.shape
    shape = [batch, groups, int(length) // POOL, channels]
    (y,) = ops.custom(
        "whisper_max.pool_norm",
        DEVICE,
        [x, weights("norm_weight", int(channels)), weights("norm_bias", int(channels))],
        out_types=[TensorType(DType.float32, shape, device=DEVICE)],
        parameters={"rectify": rectify},
    )
    return y.tensor


def sincnet(samples: TensorValue, weights: Weights) -> TensorValue:
    """(B, 1, WINDOW_SAMPLES, 1) -> (B, 1, N_FRAMES, 60)."""
    n_filtered = (WINDOW_SAMPLES - SINC_KERNEL) // SINC_STEP + 1
    filters = Taps(kernel=(1, SINC_KERNEL), step=(1, SINC_STEP))
    x = convolution(samples, weights / 0, CHANNELS[0], filters, length=n_filtered)
    x = pool_norm(x, weights / 0, rectify=True)
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


def segment_stages(samples: TensorValue, weights: Weights) -> list[TensorValue]:
    """The value of every stage: SincNet, each LSTM, and the logits, (B, 1, N_FRAMES, N_CLASSES)."""
    stages = [sincnet(samples, weights / "sincnet")]
    for layer in range(N_LSTM):
        stages.append(lstm(stages[-1], weights / "lstm" / layer))
    x = stages[-1]
    for layer in range(2):
        x = convolution(x, weights / "linear" / layer, HIDDEN, slope=LEAKY_RELU)
    return [*stages, convolution(x, weights / "classifier", N_CLASSES)]


def segment(samples: TensorValue, weights: Weights) -> TensorValue:
    """The logits of ``CLASSES`` in each frame, (B, 1, N_FRAMES, N_CLASSES)."""
    return segment_stages(samples, weights)[-1]
