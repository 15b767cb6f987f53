"""The CPU's kernels against NumPy in float64, over ragged shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType, ops

from whisper_max.engine.weights import in_panels, quantized
from whisper_max.graph.decode_attention import decode_cross_attention, decode_self_attention
from whisper_max.graph.layers import cross_attention, self_attention
from whisper_max.graph.module import KERNELS
from whisper_max.graph.panels import PANEL, n_panels

HEAD_DIM = 64
N_HEAD = 2
N_STATE = HEAD_DIM * N_HEAD
DEVICE = DeviceRef.CPU()
FLOAT, INT = DType.float32, DType.int32
_erf = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def kernels():
    """Every kernel as a graph of its own, compiled in one module for this machine."""
    module, library = Module(), KernelLibrary()
    library.load_paths([KERNELS])

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=DEVICE)

    def add(name, input_types, forward):
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            graph.output(forward(*graph.inputs))

    x, bias = tensor(FLOAT, "rows", "depth"), tensor(FLOAT, "columns")
    result = tensor(FLOAT, "rows", "n_out")
    for storage in (DType.float32, DType.float16, DType.int8):
        weight = tensor(storage, "panels", "depth", PANEL)
        for gelu in (False, True):
            add(
                f"linear_{storage.name}_{gelu}",
                [x, weight, bias, bias, tensor(FLOAT, "n_out")],
                lambda x, w, s, b, shape, gelu=gelu: ops.custom(
                    "whisper_max.linear", DEVICE, [x, w, s, b],
                    out_types=[tensor(FLOAT, "rows", shape.shape[0])], parameters={"gelu": gelu},
                )[0],
            )  # fmt: skip
        add(
            f"residual_{storage.name}",
            [x, weight, bias, bias, result],
            lambda x, w, s, b, added: ops.custom(
                "whisper_max.linear_residual", DEVICE, [x, w, s, b, added], out_types=[added.type]
            )[0],
        )
        add(
            f"columns_{storage.name}",
            [tensor(INT, "n"), weight, bias],
            lambda ids, w, s: ops.custom(
                "whisper_max.panel_columns", DEVICE, [ids, w, s], out_types=[tensor(FLOAT, ids.shape[0], w.shape[1])]
            )[0],
        )
    qkv = tensor(FLOAT, "windows", "length", 3 * N_STATE)
    add("full", [qkv], lambda qkv: self_attention(qkv.tensor, N_HEAD))
    add(
        "causal",
        [qkv],
        lambda qkv: self_attention(qkv.tensor, N_HEAD, ops.constant([0.0], FLOAT, device=DEVICE)),
    )
    audio = tensor(FLOAT, "windows", N_HEAD, "n_audio", HEAD_DIM)
    add(
        "cross",
        [tensor(FLOAT, "windows", "length", N_STATE), audio, audio],
        lambda q, k, v: cross_attention(q.tensor, k.tensor, v.tensor),
    )
    add(
        "decode_cross",
        [tensor(FLOAT, "rows", N_STATE), audio, audio],
        lambda q, k, v: decode_cross_attention(q.tensor, k.tensor, v.tensor, []),
    )
    cache = BufferType(FLOAT, ["rows", N_HEAD, "capacity", HEAD_DIM], device=DEVICE)
    add(
        "decode_self",
        [tensor(FLOAT, "rows", 3 * N_STATE), tensor(INT, "rows"), cache, cache],
        lambda qkv, lengths, k, v: decode_self_attention(qkv.tensor, lengths.tensor, k.buffer, v.buffer),
    )
    session = InferenceSession(devices=[CPU()])
    models = session.init_all(session.compile(module, custom_extensions=[KERNELS]))

    def run(name, *inputs):
        (output,) = models[name].execute(*inputs)
        return output.to_numpy()

    return run


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def stored(matrix, storage):
    """A matrix as the kernels take it, its scales, and the values it then has."""
    scale = np.ones(n_panels(len(matrix)) * PANEL, np.float32)
    if storage == "int8":
        narrow, rows = quantized(matrix)
        scale[: len(rows)] = rows
        return in_panels(narrow), scale, narrow * rows[:, None].astype(np.float64)
    narrow = matrix.astype(storage)
    return in_panels(narrow), scale, narrow.astype(np.float64)


def padded(vector):
    return np.pad(vector, (0, n_panels(len(vector)) * PANEL - len(vector)))


STORAGES = ["float32", "float16", "int8"]
SHAPES = [(1, 64, 32), (1, 384, 211), (2, 128, 33), (5, 96, 31), (6, 128, 1), (7, 64, 65), (31, 80, 100), (32, 80, 100),
          (33, 240, 97), (200, 512, 64), (50, 2048, 160)]  # fmt: skip


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("n_rows", "depth", "n_out"), SHAPES)
@pytest.mark.parametrize("gelu", [False, True])
def test_linear(kernels, storage, n_rows, depth, n_out, gelu):
    x, bias = random(1, n_rows, depth), random(2, n_out)
    panels, scale, matrix = stored(random(3, n_out, depth) / np.float32(math.sqrt(depth)), storage)
    ours = kernels(f"linear_{storage}_{gelu}", x, panels, scale, padded(bias), np.zeros(n_out, np.float32))
    expected = x.astype(np.float64) @ matrix.T + bias
    if gelu:
        expected = 0.5 * expected * (1 + _erf(expected / math.sqrt(2)))
    np.testing.assert_allclose(ours, expected, atol=5e-6, rtol=2e-6)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("n_rows", "depth", "n_out"), SHAPES)
def test_linear_with_a_residual(kernels, storage, n_rows, depth, n_out):
    x, bias, added = random(1, n_rows, depth), random(2, n_out), random(4, n_rows, n_out)
    panels, scale, matrix = stored(random(3, n_out, depth) / np.float32(math.sqrt(depth)), storage)
    ours = kernels(f"residual_{storage}", x, panels, scale, padded(bias), added)
    np.testing.assert_allclose(ours, added + x.astype(np.float64) @ matrix.T + bias, atol=5e-6, rtol=2e-6)


@pytest.mark.parametrize("storage", STORAGES)
def test_panel_columns(kernels, storage):
    panels, scale, matrix = stored(random(5, 70, 48), storage)
    ids = np.array([0, 69, 31, 32, 5, 5], np.int32)
    np.testing.assert_allclose(kernels(f"columns_{storage}", ids, panels, scale), matrix[ids], rtol=1e-6)


# Scores reach 40, where float32 values are 4e-6 apart, and a weight is off by as much in relation.
ATTENTION_TOLERANCE = 2e-5


def heads(x):
    """(B, T, H * hd) -> (B, H, T, hd) in float64."""
    return x.reshape(*x.shape[:2], -1, HEAD_DIM).transpose(0, 2, 1, 3).astype(np.float64)


def attended(q, k, v, mask=0.0):
    """q: (B, H, T, hd); k, v: (B, H, S, hd) -> (B, T, H * hd)."""
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(HEAD_DIM) + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = weights / weights.sum(-1, keepdims=True) @ v
    return y.transpose(0, 2, 1, 3).reshape(len(q), q.shape[2], -1)


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 31, 33, 383, 384, 385, 777])
@pytest.mark.parametrize("n_windows", [1, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(kernels, length, n_windows, causal):
    qkv = 2 * random(6, n_windows, length, 3 * N_STATE)
    mask = np.triu(np.full((length, length), -np.inf), 1) if causal else 0.0
    expected = attended(*(heads(part) for part in np.split(qkv, 3, axis=-1)), mask)
    np.testing.assert_allclose(kernels("causal" if causal else "full", qkv), expected, atol=ATTENTION_TOLERANCE)


@pytest.mark.parametrize(("length", "n_audio"), [(1, 1), (4, 52), (6, 400), (13, 1500)])
def test_cross_attention(kernels, length, n_audio):
    q, k, v = random(7, 2, length, N_STATE), *random(8, 2, 2, N_HEAD, n_audio, HEAD_DIM)
    expected = attended(heads(q), k.astype(np.float64), v.astype(np.float64))
    np.testing.assert_allclose(kernels("cross", q, k, v), expected, atol=ATTENTION_TOLERANCE)


@pytest.mark.parametrize("n_hyps", [1, 2, 5])
@pytest.mark.parametrize("n_audio", [1, 52, 1500])
def test_decode_cross_attention(kernels, n_hyps, n_audio):
    q, k, v = random(9, 3 * n_hyps, N_STATE), *random(10, 2, 3, N_HEAD, n_audio, HEAD_DIM)
    expected = attended(heads(q.reshape(3, n_hyps, -1)), k.astype(np.float64), v.astype(np.float64))
    np.testing.assert_allclose(kernels("decode_cross", q, k, v), expected.reshape(q.shape), atol=ATTENTION_TOLERANCE)


def test_decode_self_attention_reads_its_own_length_and_writes_one_slot(kernels):
    lengths = np.array([0, 1, 7, 15, 16], np.int32)
    capacity, n_rows = 17, len(lengths)
    qkv = random(11, n_rows, 3 * N_STATE)
    # What was never written must not be read.
    caches = np.full((2, n_rows, N_HEAD, capacity, HEAD_DIM), np.nan, np.float32)
    for row, length in enumerate(lengths):
        caches[:, row, :, :length] = random(12 + row, 2, N_HEAD, length, HEAD_DIM)
    k, v = caches.copy()
    ours = kernels("decode_self", qkv, lengths, Buffer.from_numpy(k), Buffer.from_numpy(v))
    for row, length in enumerate(lengths):
        q, new_k, new_v = (part.reshape(N_HEAD, 1, HEAD_DIM) for part in np.split(qkv[row], 3))
        for cache, before, new in ((k, caches[0], new_k), (v, caches[1], new_v)):
            np.testing.assert_array_equal(cache[row, :, length], new[:, 0])
            np.testing.assert_array_equal(cache[row, :, :length], before[row, :, :length])
            assert np.isnan(cache[row, :, length + 1 :]).all()
        own = slice(0, length + 1)
        expected = attended(*(part[None].astype(np.float64) for part in (q, k[row, :, own], v[row, :, own])))
        np.testing.assert_allclose(ours[row], expected.reshape(-1), atol=ATTENTION_TOLERANCE)
