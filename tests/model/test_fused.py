"""Operations of the CPU that do several layers at once, against NumPy in float64 and against themselves in parts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, TensorType
from numpy.typing import NDArray

from tests.support.int8_audio import packed
from whisper_max.engine.stages import unpacked
from whisper_max.engine.weights import stored
from whisper_max.hardware.processors import vnni
from whisper_max.model.int8 import FINE, Int8Weights
from whisper_max.model.layers import Ops
from whisper_max.model.module import weights_for
from whisper_max.model.panels import PANEL, n_panels

HEAD_DIM, N_HEAD = 64, 2
N_STATE, N_AUDIO, CAPACITY = HEAD_DIM * N_HEAD, 52, 17
N_COLUMNS = 211
DEVICE = DeviceRef.CPU()
FLOAT = DType.float32
cpu = Ops()
STORAGES = ["float32", "float16", "int8", "decoder.int8"]
"""What matrices are held in, and the prefix of their names: the decoder's rows are held in more bits here and there."""
CACHES = {"float32": ["float32", "float16"], "float16": ["float32"], "int8": ["float16"], "decoder.int8": ["float16"]}
CASES = [(storage, kv) for storage in STORAGES for kv in CACHES[storage]]
TOLERANCE = {"float32": 2e-5, "float16": 2e-5, "int8": 0.04, "decoder.int8": 0.04}
"""NumPy sees the rounding of weights too; int8 rounds activations, where float64 may round another way."""
LAYERS = {
    "attn.qkv": (N_STATE, 3 * N_STATE), "attn.out": (N_STATE, N_STATE), "cross_attn.query": (N_STATE, N_STATE),
    "cross_attn.out": (N_STATE, N_STATE), "mlp.0": (N_STATE, 4 * N_STATE), "mlp.2": (4 * N_STATE, N_STATE),
    "logits": (N_STATE, N_COLUMNS),
}  # fmt: skip
NORMS = ["attn_ln", "cross_attn_ln", "mlp_ln"]
_erf = np.vectorize(math.erf)


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def is_int8(storage):
    return storage.endswith("int8")


def dtype_of(storage):
    return DType[storage.rpartition(".")[2]]


def parameters():
    """Matrix and bias of each layer, weight and bias of each normalisation, float32."""
    layers = {
        name: (random(2 * seed, n_out, n_in) / np.float32(math.sqrt(n_in)), random(2 * seed + 1, n_out))
        for seed, (name, (n_in, n_out)) in enumerate(LAYERS.items())
    }
    norms = {
        name: (1 + 0.1 * random(50 + seed, N_STATE), random(60 + seed, N_STATE)) for seed, name in enumerate(NORMS)
    }
    return layers, norms


def as_weights(storage):
    """The parameters as the graphs take them, by name."""
    layers, norms = parameters()
    weights: dict[str, NDArray[Any]] = {"vnni": np.array([vnni()], np.int32)}
    for name, (matrix, bias) in layers.items():
        weights |= dict(stored(f"{name}.weight", matrix, dtype_of(storage)))
        weights[f"{name}.bias"] = np.pad(bias, (0, n_panels(len(bias)) * PANEL - len(bias)))
    for name, (weight, bias) in norms.items():
        weights |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return weights


class Plain(Int8Weights):
    """Weights for a processor that has no instruction for integers."""

    def processor(self):
        return [replace(self, prefix="")._declare("no_vnni", (1,), DType.int32)]


def add_graphs(module, library):
    """Each operation for each storage."""
    registry = {}

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=DEVICE)

    x = tensor(FLOAT, "rows", N_STATE)
    for storage in STORAGES:
        weights = weights_for(FLOAT, dtype_of(storage), DEVICE, N_AUDIO) / storage

        def add(name, types, forward, weights=weights, storage=storage):
            with Graph(f"{name}_{storage}", input_types=types, module=module, kernel_library=library) as graph:
                graph.output(forward(graph.inputs, weights))

        add(
            "normed", [x], lambda inputs, weights: cpu.normed_linear(
                inputs[0].tensor, weights, "attn_ln", "logits", N_STATE, N_COLUMNS
            ),
        )  # fmt: skip
        add("mlp", [x], lambda inputs, weights: cpu.mlp(inputs[0].tensor, weights, N_STATE))
        for kv in CACHES[storage]:
            cache = BufferType(DType[kv], ["rows", N_HEAD, CAPACITY, HEAD_DIM], device=DEVICE)
            shape = (
                (N_HEAD, n_panels(N_AUDIO) * PANEL, HEAD_DIM + 4) if is_int8(storage) else (N_HEAD, N_AUDIO, HEAD_DIM)
            )
            audio = tensor(DType.int8 if is_int8(storage) else DType[kv], "windows", *shape)
            types = [x, tensor(DType.int32, "rows"), cache, cache, audio, audio]

            def block(x, weights):
                caches, sides = (x[2].buffer, x[3].buffer), (x[4].tensor, x[5].tensor)
                return weights.ops.step_block(x[0].tensor, x[1].tensor, weights, caches, sides, ())

            add(f"block_{kv}", types, block)
            if is_int8(storage):
                plain = Plain(FLOAT, DType.int8, DEVICE, weights.ops, weights.prefix, weights.declared)
                add("plain_block", types, block, weights=plain)
        own = as_weights(storage)
        registry |= {
            name: own[name.removeprefix(f"{storage}.")] for name in weights.declared if name.startswith(f"{storage}.")
        } | {"vnni": own["vnni"], "no_vnni": np.zeros(1, np.int32)}
    return registry


@pytest.fixture(scope="module")
def fused(kernel_graphs):
    return lambda name, *inputs: kernel_graphs[name].execute(*inputs)[0].to_numpy()


def seen(name, storage):
    """A layer's matrix as the kernels see it, in float64, and its bias."""
    layers, _ = parameters()
    matrix, bias = layers[name]
    if not is_int8(storage):
        return matrix.astype(storage).astype(np.float64), bias
    scale = np.abs(matrix).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(matrix / scale).astype(np.float64) * scale, bias


def linear(x, name, storage):
    matrix, bias = seen(name, storage)
    if is_int8(storage):
        fine = storage.startswith("decoder.") and name in FINE
        step = np.abs(x).max(axis=-1, keepdims=True) / (127 * 256 if fine else 127)
        x = np.rint(x / step) * step
    return x @ matrix.T + bias


def norm(x, name):
    weight, bias = parameters()[1][name]
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


def expected_mlp(x, storage):
    hidden = linear(norm(x, "mlp_ln"), "mlp.0", storage)
    return x + linear(0.5 * hidden * (1 + _erf(hidden / math.sqrt(2))), "mlp.2", storage)


def attend(q, k, v):
    """q: (H, hd); k, v: (H, n, hd) -> (H * hd,)."""
    scores = np.einsum("hd,hnd->hn", q, k) / math.sqrt(HEAD_DIM)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hn,hnd->hd", weights / weights.sum(-1, keepdims=True), v).reshape(-1)


def expected_block(x, lengths, caches, audio, storage):
    """The block's output, and what it should have written: new keys and values (rows, H, hd)."""
    n_hyps = len(x) // len(audio[0])
    q, k, v = np.split(linear(norm(x, "attn_ln"), "attn.qkv", storage), 3, axis=-1)
    new = [part.reshape(-1, N_HEAD, HEAD_DIM).astype(caches.dtype).astype(np.float64) for part in (k, v)]
    attended = []
    for row, length in enumerate(lengths):
        keys, values = (
            np.concatenate([cache[row, :, :length].astype(np.float64), part[row][:, None]], axis=1)
            for cache, part in zip(caches, new, strict=True)
        )
        attended.append(attend(q[row].reshape(N_HEAD, HEAD_DIM), keys, values))
    x = x + linear(np.array(attended), "attn.out", storage)
    q = linear(norm(x, "cross_attn_ln"), "cross_attn.query", storage)
    k, v = (side.astype(np.float64) for side in audio)
    attended = [attend(q[row].reshape(N_HEAD, HEAD_DIM), k[row // n_hyps], v[row // n_hyps]) for row in range(len(x))]
    x = x + linear(np.array(attended), "cross_attn.out", storage)
    return expected_mlp(x, storage), new


ROWS = [1, 2, 7, 8, 9, 31, 33, 97, 250]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_rows", ROWS)
def test_a_layer_over_normalised_rows(fused, storage, n_rows):
    x = 3 * random(70, n_rows, N_STATE)
    expected = linear(norm(x.astype(np.float64), "attn_ln"), "logits", storage)
    fine = storage == "decoder.int8"
    np.testing.assert_allclose(fused(f"normed_{storage}", x), expected, atol=1e-3 if fine else TOLERANCE[storage])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_rows", ROWS)
def test_both_layers_around_a_gelu(fused, storage, n_rows):
    x = 3 * random(71, n_rows, N_STATE)
    np.testing.assert_allclose(
        fused(f"mlp_{storage}", x), expected_mlp(x.astype(np.float64), storage), atol=TOLERANCE[storage]
    )


@pytest.mark.parametrize("n_rows", ROWS)
def test_what_is_behind_a_gelu_of_the_decoder_is_held_in_16_bits(fused, n_rows):
    x = 3 * random(74, n_rows, N_STATE)
    expected = expected_mlp(x.astype(np.float64), "decoder.int8")
    # Where a number before it is rounded another way, more is off.
    assert np.median(np.abs(fused("mlp_decoder.int8", x) - expected)) < 1e-4


@pytest.mark.parametrize("name", ["normed", "mlp"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_row_does_not_depend_on_its_company(fused, name, storage):
    x = 3 * random(72, 500, N_STATE)
    together = fused(f"{name}_{storage}", x)
    for rows in (slice(0, 1), slice(7, 8), slice(47, 50), slice(100, 333), slice(499, 500)):
        np.testing.assert_array_equal(fused(f"{name}_{storage}", x[rows]), together[rows])


def state(n_windows, n_hyps, kv):
    """x, lengths, caches with NaN in what was never written, and audio."""
    n_rows = n_windows * n_hyps
    lengths = np.resize(np.array([0, 1, 7, CAPACITY - 2, CAPACITY - 1], np.int32), n_rows)
    caches = np.full((2, n_rows, N_HEAD, CAPACITY, HEAD_DIM), np.nan, kv)
    for row, length in enumerate(lengths):
        caches[:, row, :, :length] = random(80 + row, 2, N_HEAD, length, HEAD_DIM)
    audio = random(90, 2, n_windows, N_HEAD, N_AUDIO, HEAD_DIM).astype(kv)
    return 3 * random(73, n_rows, N_STATE), lengths, caches, audio


def run_block(fused, storage, x, lengths, caches, audio, name=None):
    """The output; the caches are written to."""
    if is_int8(storage):
        audio = [packed(side.astype(np.float32), keys=index == 0) for index, side in enumerate(audio)]
    name = name or f"block_{caches.dtype.name}"
    return fused(f"{name}_{storage}", x, lengths, *map(Buffer.from_numpy, caches), *audio)


def seen_audio(audio, storage):
    """Keys and values as the kernels see them."""
    if not is_int8(storage):
        return audio
    return [
        unpacked(packed(side.astype(np.float32), keys=index == 0), N_AUDIO, keys=index == 0)
        for index, side in enumerate(audio)
    ]


@pytest.mark.parametrize(("storage", "kv"), CASES)
@pytest.mark.parametrize(("n_windows", "n_hyps"), [(1, 1), (3, 1), (1, 5), (3, 5), (40, 1)])
def test_a_decoder_block(fused, storage, kv, n_windows, n_hyps):
    x, lengths, before, audio = state(n_windows, n_hyps, kv)
    caches = before.copy()
    ours = run_block(fused, storage, x, lengths, caches, audio)
    expected, new = expected_block(x.astype(np.float64), lengths, before, seen_audio(audio, storage), storage)
    # A key that is rounded to float16 may be a step of 2 ** -9 off, which moves little; int8 moves more.
    np.testing.assert_allclose(ours, expected, atol=max(TOLERANCE[storage], 0 if kv == "float32" else 2e-3))
    for cache, was, part in zip(caches, before, new, strict=True):
        for row, length in enumerate(lengths):
            close = TOLERANCE[storage] + (0 if kv == "float32" else 2e-3)
            np.testing.assert_allclose(cache[row, :, length].astype(np.float64), part[row], atol=close, rtol=2e-3)
            np.testing.assert_array_equal(cache[row, :, :length], was[row, :, :length])
            assert np.isnan(cache[row, :, length + 1 :]).all()


@pytest.mark.parametrize(("storage", "kv"), CASES)
def test_a_row_of_a_block_does_not_depend_on_its_company(fused, storage, kv):
    x, lengths, caches, audio = state(40, 2, kv)
    together = run_block(fused, storage, x, lengths, caches.copy(), audio)
    for window in (0, 3, 39):
        rows = slice(2 * window, 2 * window + 2)
        windows = slice(window, window + 1)
        alone = run_block(fused, storage, x[rows], lengths[rows], caches[:, rows].copy(), audio[:, windows])
        np.testing.assert_array_equal(alone, together[rows])


@pytest.mark.parametrize("storage", ["int8", "decoder.int8"])
@pytest.mark.parametrize("n_hyps", [1, 5])
def test_a_block_gives_the_same_by_every_instruction(fused, storage, n_hyps):
    x, lengths, caches, audio = state(3, n_hyps, "float16")
    ours = run_block(fused, storage, x, lengths, caches.copy(), audio)
    plain = run_block(fused, storage, x, lengths, caches.copy(), audio, name="plain_block")
    np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("side", [0, 1])
def test_audio_that_is_not_finite_is_not_hidden(fused, side):
    x, lengths, caches, audio = state(2, 1, "float16")
    audio[side, 1, 0, 40, 3] = np.nan
    with np.errstate(invalid="ignore"):
        ours = run_block(fused, "int8", x, lengths, caches.copy(), audio)
    assert np.isfinite(ours[0]).all()
    assert np.isnan(ours[1]).all()
