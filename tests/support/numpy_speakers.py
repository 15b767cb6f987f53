"""The networks that tell speakers apart, in NumPy and float64, from state dicts in the names of their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Mapping[str, Array]
SAMPLE_RATE = 16000


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.01 * x)


def conv1d(x: Array, kernel: Array, step: int = 1, pad: int = 0, gap: int = 1) -> Array:
    """x: (C, T); kernel: (n_out, C, taps) -> (n_out, T')."""
    x = np.pad(x, ((0, 0), (pad, pad)))
    taps = kernel.shape[2]
    windows = sliding_window_view(x, (taps - 1) * gap + 1, axis=1)[:, ::step, ::gap]  # (C, T', taps)
    return np.einsum("ctk,ock->ot", windows, kernel.astype(np.float64), optimize=True)


def conv2d(x: Array, kernel: Array, step: int = 1) -> Array:
    """x: (C, F, T); kernel: (n_out, C, k, k); as much padding as keeps T; step: in F."""
    size = kernel.shape[2]
    pad = size // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::step]  # (C, F', T, k, k)
    return np.einsum("cftij,ocij->oft", windows, kernel.astype(np.float64), optimize=True)


# ---------------------------------------------------------------- segmentation


def filters(t: Tensors) -> Array:
    """SincNet's, written out from its definition: differences of two low-pass filters, even and odd."""
    bank = "sincnet.conv1d.0.filterbank"
    low = 50 + np.abs(t[f"{bank}.low_hz_"][:, 0].astype(np.float64))
    high = np.clip(low + 50 + np.abs(t[f"{bank}.band_hz_"][:, 0]), 50, SAMPLE_RATE / 2)
    time = t[f"{bank}.n_"][0].astype(np.float64)
    rows = []
    for wave, sign in ((np.sin, 1), (np.cos, -1)):
        for f, g in zip(low, high, strict=True):
            left = sign * (wave(g * time) - wave(f * time)) / (time / 2) * t[f"{bank}.window_"] / (2 * (g - f))
            rows.append(np.concatenate([left, [1.0 if sign == 1 else 0.0], sign * left[::-1]]))
    return np.stack(rows)[:, None]  # (80, 1, 251)


def sincnet(samples: Array, t: Tensors) -> Array:
    """samples: (n,) -> (60, T)."""
    x = samples.astype(np.float64)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * t["sincnet.wav_norm1d.weight"] + t["sincnet.wav_norm1d.bias"]
    x = x[None]
    for layer in range(3):
        if layer == 0:
            x = np.abs(conv1d(x, filters(t), step=10))
        else:
            x = conv1d(x, t[f"sincnet.conv1d.{layer}.weight"]) + t[f"sincnet.conv1d.{layer}.bias"][:, None]
        x = x[:, : x.shape[1] // 3 * 3].reshape(len(x), -1, 3).max(axis=2)
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        x = leaky(x * t[f"sincnet.norm1d.{layer}.weight"][:, None] + t[f"sincnet.norm1d.{layer}.bias"][:, None])
    return x


def lstm(x: Array, t: Tensors, layer: int) -> Array:
    """x: (T, C) -> (T, 256)."""
    sides = []
    for side, order in (("", 1), ("_reverse", -1)):
        inputs, recurrent = (t[f"lstm.weight_{kind}_l{layer}{side}"].astype(np.float64) for kind in ("ih", "hh"))
        bias = t[f"lstm.bias_ih_l{layer}{side}"].astype(np.float64) + t[f"lstm.bias_hh_l{layer}{side}"]
        gates = x[::order] @ inputs.T + bias
        state, cell = np.zeros(recurrent.shape[1]), np.zeros(recurrent.shape[1])
        states = []
        for gate in gates:
            i, f, g, o = np.split(gate + recurrent @ state, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            state = sigmoid(o) * np.tanh(cell)
            states.append(state)
        sides.append(np.stack(states)[::order])
    return np.concatenate(sides, axis=1)


def segment_stages(samples: Array, t: Tensors) -> list[Array]:
    """Every stage of one window, each (T, C)."""
    stages = [sincnet(samples, t).T]
    for layer in range(4):
        stages.append(lstm(stages[-1], t, layer))
    x = stages[-1]
    for layer in range(2):
        x = leaky(x @ t[f"linear.{layer}.weight"].T.astype(np.float64) + t[f"linear.{layer}.bias"])
    return [*stages, x @ t["classifier.weight"].T.astype(np.float64) + t["classifier.bias"]]


# ---------------------------------------------------------------- embedding


def norm(x: Array, t: Tensors, name: str) -> Array:
    """A batch normalisation as it is applied; channels first."""
    column = (slice(None), *[None] * (x.ndim - 1))
    x = (x - t[f"{name}.running_mean"][column]) / np.sqrt(t[f"{name}.running_var"][column].astype(np.float64) + 1e-5)
    return x * t[f"{name}.weight"][column] + t[f"{name}.bias"][column] if f"{name}.weight" in t else x


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def head(features: Array, t: Tensors) -> Array:
    """features: (T, 80) -> (32, 10, T)."""
    x = relu(norm(conv2d(features.T[None].astype(np.float64), t["head.conv1.weight"]), t, "head.bn1"))
    for stage in (1, 2):
        for part, step in ((0, 2), (1, 1)):
            name = f"head.layer{stage}.{part}"
            y = relu(norm(conv2d(x, t[f"{name}.conv1.weight"], step), t, f"{name}.bn1"))
            y = norm(conv2d(y, t[f"{name}.conv2.weight"]), t, f"{name}.bn2")
            if step > 1:
                x = norm(conv2d(x, t[f"{name}.shortcut.0.weight"], step), t, f"{name}.shortcut.1")
            x = relu(y + x)
    return relu(norm(conv2d(x, t["head.conv2.weight"], 2), t, "head.bn2"))


def dense_layer(x: Array, t: Tensors, name: str, gap: int) -> Array:
    """x: (C, T) -> (32, T), the features that are added."""
    y = conv1d(relu(norm(x, t, f"{name}.nonlinear1.batchnorm")), t[f"{name}.linear1.weight"])
    y = relu(norm(y, t, f"{name}.nonlinear2.batchnorm"))
    local = conv1d(y, t[f"{name}.cam_layer.linear_local.weight"], pad=gap, gap=gap)
    length = y.shape[1]
    segments = [y[:, at : at + 100].mean(axis=1) for at in range(0, length, 100)]
    context = y.mean(axis=1, keepdims=True) + np.stack(segments, axis=1)  # (128, n_segments)
    cam = f"{name}.cam_layer.linear"
    squeezed = relu(conv1d(context, t[f"{cam}1.weight"]) + t[f"{cam}1.bias"][:, None])
    mask = sigmoid(conv1d(squeezed, t[f"{cam}2.weight"]) + t[f"{cam}2.bias"][:, None])
    return local * np.repeat(mask, 100, axis=1)[:, :length]


def embed_stages(features: Array, t: Tensors, blocks: Sequence[tuple[int, int]]) -> list[Array]:
    """Head (32, 10, T), TDNN and each block with its transition (C, T'), and the embedding (192,)."""
    stages = [head(features, t)]
    flat = stages[0].reshape(-1, len(features))
    x = norm(conv1d(flat, t["xvector.tdnn.linear.weight"], step=2, pad=2), t, "xvector.tdnn.nonlinear.batchnorm")
    stages.append(relu(x))
    for number, (n_layers, gap) in enumerate(blocks, start=1):
        x = stages[-1]
        for layer in range(1, n_layers + 1):
            x = np.concatenate([x, dense_layer(x, t, f"xvector.block{number}.tdnnd{layer}", gap)])
        name = f"xvector.transit{number}"
        stages.append(conv1d(relu(norm(x, t, f"{name}.nonlinear.batchnorm")), t[f"{name}.linear.weight"]))
    stages[-1] = relu(norm(stages[-1], t, "xvector.out_nonlinear.batchnorm"))
    x = np.concatenate([stages[-1].mean(axis=1), stages[-1].std(axis=1, ddof=1)])
    x = conv1d(x[:, None], t["xvector.dense.linear.weight"])
    return [*stages, norm(x, t, "xvector.dense.nonlinear.batchnorm")[:, 0]]
