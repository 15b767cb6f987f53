"""The log-mel spectrogram on the device: ``audio/mel.py`` as two matrix products in float32."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions

N_FFT = 400  # samples per frame
HOP_LENGTH = 160  # samples between frames
N_FREQS = N_FFT // 2 + 1
HOPS_PER_FRAME = 3  # a frame reaches into this many hops; of the last one it takes the first half
LEAST_POWER = 1e-10
DYNAMIC_RANGE = 8.0  # decades kept below the loudest value


def n_samples(dims: ModelDimensions) -> int:
    """Samples that the frames of one window see, up to whole hops; the first is 200 before the window's start."""
    return (dims.n_frames + HOPS_PER_FRAME - 1) * HOP_LENGTH


def log_mel_input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """The inputs of ``log_mel``.

    samples: (windows, n_samples) float32. basis: (400, 402) float32, cosines then sines of the Fourier transform, times
    the window function. filters: (201, n_mels) float32.
    """
    return [
        TensorType(DType.float32, ["windows", n_samples(dims)], device=device),
        TensorType(DType.float32, [N_FFT, 2 * N_FREQS], device=device),
        TensorType(DType.float32, [N_FREQS, dims.n_mels], device=device),
    ]


def log_mel(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[TensorValue, TensorValue]:
    """log10 of the mel power, (windows, n_mels, n_frames) float32, and the highest of each window, (windows,)."""
    samples, basis, filters = (value.tensor for value in inputs)
    n_frames = dims.n_frames
    hops = samples.reshape((samples.shape[0], n_frames + HOPS_PER_FRAME - 1, HOP_LENGTH))
    frames = ops.concat(
        [
            hops[:, :n_frames, :],
            hops[:, 1 : n_frames + 1, :],
            hops[:, 2 : n_frames + 2, : N_FFT - 2 * HOP_LENGTH],
        ],
        axis=-1,
    )  # (windows, n_frames, 400)
    real, imaginary = ops.split(frames @ basis, [N_FREQS] * 2, axis=-1)
    power = (real * real + imaginary * imaginary) @ filters  # (windows, n_frames, n_mels)
    decades = ops.log(ops.max(power, LEAST_POWER)) * 0.4342944819032518  # 1 / ln 10
    highest = ops.max(ops.max(decades), axis=1)
    return ops.transpose(decades, 1, 2), highest.reshape((samples.shape[0],))


def scale_mel_input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """The inputs of ``scale_mel``.

    decades: what ``log_mel`` returned. highest: (windows,) float32, of each window's whole recording. n_frames:
    (windows,) int32, how many frames of each window are the recording's.
    """
    return [
        TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device),
        TensorType(DType.float32, ["windows"], device=device),
        TensorType(DType.int32, ["windows"], device=device),
    ]


def scale_mel(inputs: Sequence[Value], dims: ModelDimensions) -> TensorValue:
    """The encoder's input, (windows, n_mels, n_frames) float32: about -1..1, and 0 after the recording's frames."""
    decades, highest, n_frames = (value.tensor for value in inputs)
    lowest = ops.unsqueeze(ops.unsqueeze(highest, -1), -1) - DYNAMIC_RANGE  # (windows, 1, 1)
    scaled = (ops.max(decades, lowest) + 4.0) / 4.0
    frames = ops.range(0, dims.n_frames, 1, dtype=DType.int32, device=decades.device)
    heard = ops.unsqueeze(frames, 0) < ops.unsqueeze(n_frames, -1)  # (windows, n_frames)
    return scaled * ops.unsqueeze(heard.cast(DType.float32), 1)
