"""From the tensors of the two checkpoints to the weights that the graphs ask for.

Matrices are put into panels as in ``model.panels``, and normalisations that follow a convolution into its weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.panels import PANEL, n_panels
from whisper_max.model.speakers.shapes import BLOCKS, GROWTH, HIDDEN, N_LSTM, SAMPLE_RATE, block_widths

Float32 = NDArray[np.float32]
Tensors = Mapping[str, NDArray[np.float32]]
NORM_EPSILON = 1e-5  # torch.nn.BatchNorm's default
LOWEST_HZ = BAND_HZ = 50.0  # pyannote.audio ``SincNet``: min_low_hz and min_band_hz


def in_panels(matrix: NDArray[np.floating]) -> Float32:
    """(n_out, n_in) -> (n_panels, n_in, PANEL), the last panel filled up with zeros."""
    n_out, n_in = matrix.shape
    padded = np.zeros((n_panels(n_out) * PANEL, n_in), np.float32)
    padded[:n_out] = matrix
    return np.ascontiguousarray(padded.reshape(-1, PANEL, n_in).transpose(0, 2, 1))


def padded(vector: NDArray[np.floating]) -> Float32:
    """(n,) -> (n_panels * PANEL,), filled up with zeros."""
    filled = np.zeros(n_panels(len(vector)) * PANEL, np.float32)
    filled[: len(vector)] = vector
    return filled


def layer(name: str, matrix: NDArray[np.floating], bias: NDArray[np.floating] | None = None) -> dict[str, Float32]:
    """A layer of the graphs. matrix: (n_out, n_in), inputs in the order of the taps; bias: (n_out,), or none."""
    return {
        f"{name}.weight": in_panels(matrix),
        f"{name}.bias": padded(np.zeros(len(matrix)) if bias is None else bias),
    }


# ---------------------------------------------------------------- segmentation


def segmentation_weights(tensors: Tensors) -> dict[str, Float32]:
    """The weights of ``segmentation.segment``, from tensors that ``files`` has checked."""
    filters = sinc_filters(tensors)
    norm = [tensors[f"sincnet.wav_norm1d.{part}"][0] for part in ("weight", "bias")]
    weights = {
        "sincnet.0.filters": np.asarray(filters[:, : filters.shape[1] // 2 + 1].T, np.float32),
        "sincnet.0.totals": filters.sum(axis=1).astype(np.float32),
        "sincnet.0.levels": np.array(norm, np.float32),
    }
    for number in (1, 2):
        kernel = tensors[f"sincnet.conv1d.{number}.weight"].transpose(0, 2, 1)  # (n_out, taps, channels)
        weights |= layer(f"sincnet.{number}", kernel.reshape(len(kernel), -1), tensors[f"sincnet.conv1d.{number}.bias"])
    for number in (0, 1, 2):
        for part in ("weight", "bias"):
            weights[f"sincnet.{number}.norm_{part}"] = tensors[f"sincnet.norm1d.{number}.{part}"]
    for number in range(N_LSTM):
        weights |= _lstm(tensors, number)
    for number in (0, 1):
        weights |= layer(f"linear.{number}", tensors[f"linear.{number}.weight"], tensors[f"linear.{number}.bias"])
    return weights | layer("classifier", tensors["classifier.weight"], tensors["classifier.bias"])


def _lstm(tensors: Tensors, number: int) -> dict[str, Float32]:
    """Both directions of an LSTM, the forward one first."""
    sides = [f"l{number}", f"l{number}_reverse"]
    inputs = np.concatenate([tensors[f"lstm.weight_ih_{side}"] for side in sides])
    bias = np.concatenate([tensors[f"lstm.bias_ih_{side}"] + tensors[f"lstm.bias_hh_{side}"] for side in sides])
    name = f"lstm.{number}"
    return {
        **layer(name, inputs, bias),
        f"{name}.recurrent": np.stack([in_panels(tensors[f"lstm.weight_hh_{side}"]) for side in sides]),
        f"{name}.no_bias": np.zeros(4 * HIDDEN, np.float32),
    }


def sinc_filters(tensors: Tensors) -> NDArray[np.float64]:
    """The band-pass filters of SincNet, (80, 251): even ones, then odd ones, of the same bands.

    https://github.com/asteroid-team/asteroid-filterbanks, ``ParamSincFB``.
    """
    bank = "sincnet.conv1d.0.filterbank"
    low = LOWEST_HZ + np.abs(tensors[f"{bank}.low_hz_"].astype(np.float64))  # (40, 1)
    high = np.clip(low + BAND_HZ + np.abs(tensors[f"{bank}.band_hz_"]), LOWEST_HZ, SAMPLE_RATE / 2)
    times = tensors[f"{bank}.n_"].astype(np.float64)  # (1, 125), radians a Hz, up to before 0
    window = tensors[f"{bank}.window_"]  # (125,)
    band = 2 * (high - low)  # (40, 1)
    even = (np.sin(high * times) - np.sin(low * times)) / (times / 2) * window / band  # (40, 125)
    odd = (np.cos(low * times) - np.cos(high * times)) / (times / 2) * window / band
    middle = np.ones_like(band)
    return np.concatenate(
        [np.hstack([even, middle, even[:, ::-1]]), np.hstack([odd, 0 * middle, -odd[:, ::-1]])]
    )  # (80, 251)


# ---------------------------------------------------------------- embedding


def embedding_weights(tensors: Tensors) -> dict[str, Float32]:
    """The weights of ``embedding.embed``, from tensors that ``files`` has checked."""
    weights = _normed(tensors, "head.conv1", "head.conv1", "head.bn1")
    for stage in (1, 2):
        for part in (0, 1):
            name = f"head.layer{stage}.{part}"
            weights |= _normed(tensors, f"{name}.conv1", f"{name}.conv1", f"{name}.bn1")
            weights |= _normed(tensors, f"{name}.conv2", f"{name}.conv2", f"{name}.bn2")
        first = f"head.layer{stage}.0.shortcut"
        weights |= _normed(tensors, first, f"{first}.0", f"{first}.1")
    weights |= _normed(tensors, "head.conv2", "head.conv2", "head.bn2")
    weights |= _tdnn(tensors)
    for number, (block, width) in enumerate(zip(BLOCKS, block_widths(), strict=True), start=1):
        weights[f"block{number}.weight"] = _dense_block(tensors, number, block.n_layers, width.n_in)
        matrix = tensors[f"xvector.transit{number}.linear.weight"][:, :, 0]
        scale, shift = np.ones(len(matrix)), None
        if number == len(BLOCKS):
            scale, shift = norm_of(tensors, "xvector.out_nonlinear.batchnorm")
        weights |= layer(f"transit{number}", matrix * scale[:, None], shift)
    scale, shift = norm_of(tensors, "xvector.dense.nonlinear.batchnorm")
    return weights | layer("dense", tensors["xvector.dense.linear.weight"][:, :, 0] * scale[:, None], shift)


def norm_of(tensors: Tensors, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A batch normalisation as scale and shift, (channels,) each."""
    mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
    scale = 1 / np.sqrt(variance.astype(np.float64) + NORM_EPSILON)
    if f"{name}.weight" in tensors:
        scale = scale * tensors[f"{name}.weight"]
    shift = -mean * scale
    return scale, shift + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else shift


def _normed(tensors: Tensors, name: str, convolution: str, norm: str) -> dict[str, Float32]:
    """A convolution over frequency and time, and the normalisation after it."""
    scale, shift = norm_of(tensors, norm)
    kernel = tensors[f"{convolution}.weight"].transpose(0, 2, 3, 1)  # (n_out, frequencies, times, channels)
    return layer(name, kernel.reshape(len(kernel), -1) * scale[:, None], shift)


def _tdnn(tensors: Tensors) -> dict[str, Float32]:
    """The convolution over all frequencies that the head leaves, which its channels are the outer index of."""
    scale, shift = norm_of(tensors, "xvector.tdnn.nonlinear.batchnorm")
    kernel = tensors["xvector.tdnn.linear.weight"]  # (n_out, channels * frequencies, times)
    kernel = kernel.reshape(len(kernel), -1, 10, kernel.shape[2])  # (n_out, channels, frequencies, times)
    return layer("tdnn", kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1) * scale[:, None], shift)


def _dense_block(tensors: Tensors, number: int, n_layers: int, n_in: int) -> Float32:
    """All weights of a block, as ``kernels/dense_block.mojo`` reads them."""
    parts: list[NDArray[np.floating]] = []
    for index in range(n_layers):
        name = f"xvector.block{number}.tdnnd{index + 1}"
        parts += norm_of(tensors, f"{name}.nonlinear1.batchnorm")
        scale, shift = norm_of(tensors, f"{name}.nonlinear2.batchnorm")
        parts += [shift, in_panels(tensors[f"{name}.linear1.weight"][:, :, 0] * scale[:, None])]
        for part in ("linear1", "linear2"):
            cam = f"{name}.cam_layer.{part}"
            parts += [tensors[f"{cam}.bias"], in_panels(tensors[f"{cam}.weight"][:, :, 0])]
        local = tensors[f"{name}.cam_layer.linear_local.weight"].transpose(0, 2, 1)  # (n_out, times, channels)
        parts.append(in_panels(local.reshape(GROWTH, -1)))
    parts += norm_of(tensors, f"xvector.transit{number}.nonlinear.batchnorm")
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)
