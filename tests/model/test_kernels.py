"""The CPU's kernels against NumPy in float64, over ragged shapes."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, TensorType, ops

from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import in_int8_panels, in_panels, quantized
from whisper_max.hardware.processors import vnni as vnni_of_this_processor
from whisper_max.model.layers import Ops, Weights
from whisper_max.model.panels import GROUP, PANEL, n_panels

HEAD_DIM = 64
N_HEAD = 2
N_STATE = HEAD_DIM * N_HEAD
DEVICE = DeviceRef.CPU()
FLOAT, INT = DType.float32, DType.int32
cpu = Ops()
_erf = np.vectorize(math.erf)


def alignment(heads, *sides):
    """What heads of two layers attend to, whose queries and then keys are given."""
    sizes = dict.fromkeys((field.name for field in fields(ModelDimensions)), 1)
    dims = ModelDimensions(**sizes | {"n_text_head": N_HEAD, "n_audio_ctx": 33})
    attention = cpu.alignment(heads.tensor, sides[0].tensor.shape[1], dims)
    for layer in range(2):
        attention.add(layer, sides[layer].tensor, sides[2 + layer].tensor)
    return attention.result()


def add_graphs(module, library):
    """Every kernel as a graph of its own."""

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=DEVICE)

    def add(name, input_types, forward):
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            graph.output(forward(*graph.inputs))

    x, vector, wanted = tensor(FLOAT, "rows", "depth"), tensor(FLOAT, "columns"), tensor(FLOAT, "n_out")
    result = tensor(FLOAT, "rows", "n_out")
    for storage in (DType.float32, DType.float16, DType.int8):
        of_int8 = storage == DType.int8
        prefix = "whisper_max.int8_" if of_int8 else "whisper_max."
        panels = [
            tensor(storage, "panels", "groups", PANEL, GROUP) if of_int8 else tensor(storage, "panels", "depth", PANEL)
        ]
        extra = [vector, tensor(INT, "columns"), tensor(INT, 1)] if of_int8 else []
        operands = [*panels, vector, *extra]
        for gelu in (False, True):
            add(
                f"linear_{storage.name}_{gelu}",
                [wanted, x, *operands],
                lambda like, *values, gelu=gelu, prefix=prefix: ops.custom(
                    f"{prefix}linear", DEVICE, values,
                    out_types=[tensor(FLOAT, "rows", like.shape[0])], parameters={"gelu": gelu},
                )[0],
            )  # fmt: skip
        add(
            f"residual_{storage.name}",
            [x, result, *operands],
            lambda x, added, *values, prefix=prefix: ops.custom(
                f"{prefix}linear_residual", DEVICE, [x, added, *values], out_types=[added.type]
            )[0],
        )
        for kv in () if of_int8 else (FLOAT, DType.float16):
            buffer = BufferType(kv, ["windows", N_HEAD, "length", HEAD_DIM], device=DEVICE)
            types = [buffer, x, *operands]
            name = f"heads_{storage.name}_{kv.name}"
            with Graph(name, input_types=types, module=module, kernel_library=library) as graph:
                ops.inplace_custom(f"{prefix}linear_heads", DEVICE, graph.inputs, parameters={"head_dim": HEAD_DIM})
                graph.output()
        add(
            f"embed_{storage.name}",
            [
                tensor(INT, "n"), tensor(INT, "length"), tensor(FLOAT, "n_positions", "depth"),
                *panels, *([vector] if of_int8 else []),
            ],
            lambda ids, positions, table, *values, prefix=prefix: ops.custom(
                f"{prefix}embed", DEVICE, [ids, positions, table, *values],
                out_types=[tensor(FLOAT, ids.shape[0], table.shape[1])],
            )[0],
        )  # fmt: skip
        second = [
            tensor(storage, "panels", "groups_2", PANEL, GROUP)
            if of_int8
            else tensor(storage, "panels", "depth_2", PANEL)
        ]
        add(
            f"stem_{storage.name}",
            [
                tensor(FLOAT, "windows", "n_mels", "n_frames"), tensor(FLOAT, "n_rows", "n_out"), tensor(INT, 1),
                *panels, vector, *extra[:2], *second, vector, *extra,
            ],
            lambda mel, positions, *values, prefix=prefix: ops.custom(
                f"{prefix}conv_stem", DEVICE, [mel, positions, *values],
                out_types=[tensor(FLOAT, mel.shape[0], *positions.shape)],
            )[0],
        )  # fmt: skip
    add(
        "layer_norm",
        [x, tensor(FLOAT, "depth"), tensor(FLOAT, "depth")],
        lambda x, *norm: ops.custom("whisper_max.layer_norm", DEVICE, [x, *norm], out_types=[x.type])[0],
    )
    add("take_rows", [x, tensor(INT, "n")], lambda x, rows: cpu.take_rows(x.tensor, rows.tensor))
    qkv = tensor(FLOAT, "windows", "length", 3 * N_STATE)
    of_float32 = Weights(FLOAT, FLOAT, DEVICE, cpu)
    add("full", [qkv], lambda qkv: cpu.encoder_attention(qkv.tensor, N_HEAD, of_float32))
    add(
        "causal",
        [qkv],
        lambda qkv: cpu.self_attention(qkv.tensor, N_HEAD, ops.constant([0.0], FLOAT, device=DEVICE)),
    )
    for kv in (FLOAT, DType.float16):
        cache = BufferType(kv, ["rows", N_HEAD, "capacity", HEAD_DIM], device=DEVICE)
        types = [cache, cache, qkv, tensor(INT, "rows")]
        with Graph(f"store_prompt_{kv.name}", input_types=types, module=module, kernel_library=library) as graph:
            keys, values, new, window_of_row = graph.inputs
            cpu.store_prompt((keys.buffer, values.buffer), new.tensor, window_of_row.tensor)
            graph.output()
        sources = [tensor(kv, "source_rows", N_HEAD, "source_capacity", HEAD_DIM)] * 2
        types = [tensor(INT, "rows"), tensor(DType.int64, 1), cache, cache, *sources]
        with Graph(f"copy_slots_{kv.name}", input_types=types, module=module, kernel_library=library) as graph:
            row_of, n_slots, *caches = graph.inputs
            targets, copied = [value.buffer for value in caches[:2]], [value.tensor for value in caches[2:]]
            cpu.copy_slots(targets, copied, row_of.tensor, n_slots.tensor)
            graph.output()
        audio = tensor(kv, "windows", N_HEAD, "n_audio", HEAD_DIM)
        add(
            f"cross_{kv.name}",
            [tensor(FLOAT, "windows", "length", N_STATE), audio, audio],
            lambda q, k, v: cpu.cross_attention(q.tensor, k.tensor, v.tensor),
        )
        add(
            f"alignment_{kv.name}",
            [
                tensor(INT, "n_heads"),
                *[tensor(FLOAT, 1, "length", N_STATE)] * 2,
                *[tensor(kv, 1, N_HEAD, 33, HEAD_DIM)] * 2,
            ],
            alignment,
        )
    add(
        "target_probs",
        [tensor(FLOAT, "length", 211), tensor(INT, "length"), tensor(INT, 1)],
        lambda *inputs: cpu.target_probs(*(value.tensor for value in inputs)),
    )
    return {}


@pytest.fixture(scope="module")
def kernels(kernel_graphs):
    def run(name, *inputs):
        outputs = kernel_graphs[name].execute(*inputs)
        return outputs[0].to_numpy() if outputs else None

    return run


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def operands_of(matrix, bias, storage, vnni=None):
    """A layer as the kernels take it; for int8, vnni as the processor has it unless given."""
    bias = np.pad(bias, (0, n_panels(len(bias)) * PANEL - len(bias)))
    if storage != "int8":
        return [in_panels(matrix, DType[storage]), bias]
    panels, scale, offset = in_int8_panels(matrix)
    return [panels, bias, scale, offset, np.array([vnni_of_this_processor() if vnni is None else vnni], np.int32)]


def product(x, matrix, storage):
    """`x @ matrix.T` in float64, of the values that the kernels see."""
    if storage != "int8":
        return x.astype(np.float64) @ matrix.astype(storage).astype(np.float64).T
    narrow, scale = quantized(matrix)
    peaks = np.abs(x).max(axis=1, keepdims=True)
    steps = np.rint(x.astype(np.float64) * (np.float32(127) / peaks))
    return steps @ narrow.T.astype(np.float64) * (peaks / 127).astype(np.float64) * scale


STORAGES = ["float32", "float16", "int8"]
SHAPES = [(1, 64, 32), (1, 384, 211), (2, 128, 33), (5, 96, 31), (6, 128, 1), (7, 64, 65), (31, 80, 100), (32, 80, 100),
          (33, 240, 97), (200, 512, 64), (50, 2048, 160), (3, 37, 40), (9, 66, 33), (97, 131, 70)]  # fmt: skip


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("n_rows", "depth", "n_out"), SHAPES)
@pytest.mark.parametrize("gelu", [False, True])
def test_linear(kernels, storage, n_rows, depth, n_out, gelu):
    x, bias, matrix = random(1, n_rows, depth), random(2, n_out), random(3, n_out, depth) / np.float32(math.sqrt(depth))
    like = np.zeros(n_out, np.float32)
    ours = kernels(f"linear_{storage}_{gelu}", like, x, *operands_of(matrix, bias, storage))
    expected = product(x, matrix, storage) + bias
    if gelu:
        expected = 0.5 * expected * (1 + _erf(expected / math.sqrt(2)))
    np.testing.assert_allclose(ours, expected, atol=5e-6, rtol=2e-6)


@pytest.mark.parametrize("storage", STORAGES)
def test_gelu_near_and_far_from_zero(kernels, storage):
    far = [-1e30, -1e3, -40, 40, 1e3, 1e30, math.nan]
    values = np.concatenate([np.linspace(-8, 8, 2001), far]).astype(np.float32)
    x, matrix = np.zeros((1, 8), np.float32), random(3, len(values), 8)
    ours = kernels(f"linear_{storage}_True", values, x, *operands_of(matrix, values, storage))[0]
    expected = values * (0.5 + 0.5 * _erf(values.astype(np.float64) / math.sqrt(2)))
    np.testing.assert_allclose(ours, expected, atol=8e-7, rtol=1e-7)
    assert not ours[values < -6].any()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("n_rows", "depth", "n_out"), SHAPES)
def test_linear_with_a_residual(kernels, storage, n_rows, depth, n_out):
    x, bias, added = random(1, n_rows, depth), random(2, n_out), random(4, n_rows, n_out)
    matrix = random(3, n_out, depth) / np.float32(math.sqrt(depth))
    ours = kernels(f"residual_{storage}", x, added, *operands_of(matrix, bias, storage))
    np.testing.assert_allclose(ours, added + product(x, matrix, storage) + bias, atol=5e-6, rtol=2e-6)


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize(("kv", "rounding"), [("float32", 0.0), ("float16", 2**-11)])
@pytest.mark.parametrize(("n_windows", "length"), [(1, 1), (3, 7), (2, 50)])
def test_linear_by_heads(kernels, storage, kv, rounding, n_windows, length):
    x, bias, matrix = random(1, n_windows * length, 96), random(2, N_STATE), random(3, N_STATE, 96) / np.float32(10)
    target = np.full((n_windows, N_HEAD, length, HEAD_DIM), np.nan, kv)
    kernels(f"heads_{storage}_{kv}", Buffer.from_numpy(target), x, *operands_of(matrix, bias, storage))
    expected = (product(x, matrix, storage) + bias).reshape(n_windows, length, N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(target, expected, atol=5e-6, rtol=2e-6 + rounding)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("depth", [48, 50])
@pytest.mark.parametrize("positions", [[2, 0, 3, 4, 4, 1], [3, 1], [0]])
def test_embed(kernels, storage, depth, positions):
    matrix, table = random(5, 70, depth), random(6, 5, depth)
    panels, _, *rest = operands_of(matrix, np.zeros(70, np.float32), storage)
    ids = np.array([0, 69, 31, 32, 5, 5], np.int32)
    ours = kernels(f"embed_{storage}", ids, np.array(positions, np.int32), table, panels, *rest[:1])
    tokens = product(np.eye(depth, dtype=np.float32), matrix, storage).T[ids]
    np.testing.assert_allclose(ours, tokens + table[np.resize(positions, 6)], rtol=1e-6, atol=1e-6)


def unfolded(x, stride):
    """(B, T, n) -> (B, ceil(T / stride), 3 * n), the taps of each output beside each other."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    return np.concatenate([padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)], axis=-1)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_mels", [80, 128, 37])
@pytest.mark.parametrize(("n_windows", "n_rows"), [(1, 1), (2, 2), (3, 23), (1, 52), (2, 97), (1, 250), (5, 131)])
def test_the_stem_gives_what_two_layers_over_unfolded_rows_do(kernels, storage, n_mels, n_windows, n_rows):
    n_state = 96
    mel, positions = random(40, n_windows, n_mels, 2 * n_rows), random(41, n_rows, n_state)
    mel[0, :, -1] = 30  # a frame whose scale is all its row's, in int8
    x, layers = mel.transpose(0, 2, 1), []
    for number, (n_in, stride) in enumerate([(n_mels, 1), (n_state, 2)]):
        matrix, bias = random(42 + number, n_state, 3 * n_in) / np.float32(math.sqrt(3 * n_in)), random(44, n_state)
        rows = np.ascontiguousarray(unfolded(x, stride))
        layers.append(operands_of(matrix, bias, storage))
        x = kernels(f"linear_{storage}_True", bias, rows.reshape(-1, 3 * n_in), *layers[-1])
        x = x.reshape(n_windows, -1, n_state)
    operands = [*layers[0][: 4 if storage == "int8" else 2], *layers[1]]
    for adds, expected in ((0, x), (1, x + positions)):
        ours = kernels(f"stem_{storage}", mel, positions, np.array([adds], np.int32), *operands)
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(("n_rows", "depth"), [(1, 64), (7, 128), (250, 384)])
def test_layer_norm(kernels, n_rows, depth):
    x, weight, bias = 5 + 3 * random(46, n_rows, depth), random(47, depth), random(48, depth)
    centred = x.astype(np.float64) - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    expected = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(kernels("layer_norm", x, weight, bias), expected, atol=5e-6)


@pytest.mark.parametrize("chosen", [[], [4], [0, 4, 4, 1, 3, 2]])
def test_take_rows(kernels, chosen):
    x, chosen = random(49, 5, 128), np.array(chosen, np.int32)
    np.testing.assert_array_equal(kernels("take_rows", x, chosen), x[chosen])


def int8_linear(kernels, x, matrix, vnni=None):
    bias = np.zeros(len(matrix), np.float32)
    return kernels("linear_int8_False", bias, x, *operands_of(matrix, bias, "int8", vnni))


@pytest.mark.parametrize("vnni", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("n_rows", "depth", "n_out"), [(1, 4, 1), (5, 37, 40), (8, 64, 32), (17, 512, 70), (203, 131, 33), (40, 1100, 70)]
)
def test_int8_sums_are_exact_by_every_instruction(kernels, vnni, n_rows, depth, n_out):
    rng = np.random.default_rng(14)
    x, matrix = rng.integers(-127, 128, (n_rows, depth)), rng.integers(-127, 128, (n_out, depth))
    x[:, -1] = matrix[:, 0] = 127  # all scales are 1
    x[n_rows // 2], matrix[n_out // 2] = 127, -127  # the largest sums there are
    ours = int8_linear(kernels, x.astype(np.float32), matrix.astype(np.float32), vnni & vnni_of_this_processor())
    np.testing.assert_array_equal(ours, x @ matrix.T)


def test_int8_rows_of_any_magnitude(kernels):
    rows = random(15, 8, 130)
    factors = np.array([1, 0, 1e-42, 1e-31, 1e-29, 1e30, 1e36, 1e-3], np.float32)[:, None]
    x, matrix = rows / np.abs(rows).max(axis=1, keepdims=True) * factors, random(16, 40, 130)
    ours = int8_linear(kernels, x, matrix)
    np.testing.assert_array_equal(ours[1:4], 0)  # below 1e-30 a row counts as zeros
    seen = [0, 4, 5, 6, 7]
    expected = product(x[seen], matrix, "int8")
    assert np.linalg.norm((ours[seen] - expected) / factors[seen]) < 1e-4
    assert np.isfinite(ours).all()


def test_int8_does_not_hide_what_is_not_finite(kernels):
    x = random(17, 6, 70)
    x[1, 69], x[3, 0], x[4, 33] = np.nan, np.inf, -np.inf
    ours = int8_linear(kernels, x, random(18, 40, 70))
    assert np.isnan(ours[[1, 3, 4]]).all()
    assert np.isfinite(ours[[0, 2, 5]]).all()


def test_an_int8_row_does_not_depend_on_its_company(kernels):
    x, matrix = random(19, 120, 96), random(20, 70, 96)
    together = int8_linear(kernels, x, matrix)
    for row in (0, 7, 8, 95, 96, 119):
        np.testing.assert_array_equal(int8_linear(kernels, x[row : row + 1], matrix)[0], together[row])


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
    q, k, v = (heads(part) for part in np.split(qkv, 3, axis=-1))
    expected = attended(q, k, v, mask)
    np.testing.assert_allclose(kernels("causal" if causal else "full", qkv), expected, atol=ATTENTION_TOLERANCE)


CACHES = ["float32", "float16"]


@pytest.mark.parametrize("kv", CACHES)
@pytest.mark.parametrize(("length", "n_audio"), [(1, 1), (4, 52), (6, 400), (13, 1500)])
def test_cross_attention(kernels, kv, length, n_audio):
    q = random(7, 2, length, N_STATE)
    k, v = random(8, 2, 2, N_HEAD, n_audio, HEAD_DIM).astype(kv)
    expected = attended(heads(q), k.astype(np.float64), v.astype(np.float64))
    np.testing.assert_allclose(kernels(f"cross_{kv}", q, k, v), expected, atol=ATTENTION_TOLERANCE)


@pytest.mark.parametrize("kv", CACHES)
@pytest.mark.parametrize("window_of_row", [[0], [2, 0, 1], [1, 1, 1, 2, 0, 2, 2]])
@pytest.mark.parametrize("length", [1, 5, 9])
def test_store_prompt(kernels, kv, window_of_row, length):
    qkv = random(50, 3, length, 3 * N_STATE)
    caches = np.full((2, len(window_of_row), N_HEAD, 9, HEAD_DIM), np.nan, kv)
    kernels(f"store_prompt_{kv}", *map(Buffer.from_numpy, caches), qkv, np.array(window_of_row, np.int32))
    for cache, part in zip(caches, np.split(qkv, 3, axis=-1)[1:], strict=True):
        new = part.reshape(3, length, N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3).astype(kv)
        np.testing.assert_array_equal(cache[:, :, :length], new[window_of_row])
        assert np.isnan(cache[:, :, length:]).all()


@pytest.mark.parametrize("kv", CACHES)
@pytest.mark.parametrize("row_of", [[0], [3, 0, 3], [2, 1, 0, 3, 3, 3, 0]])
@pytest.mark.parametrize(("n_slots", "capacity"), [(0, 3), (1, 9), (5, 5), (9, 11)])
def test_copy_slots(kernels, kv, row_of, n_slots, capacity):
    sources = random(51, 2, 4, N_HEAD, 9, HEAD_DIM).astype(kv)
    targets = np.full((2, len(row_of), N_HEAD, capacity, HEAD_DIM), np.nan, kv)
    inputs = np.array(row_of, np.int32), np.array([n_slots], np.int64)
    kernels(f"copy_slots_{kv}", *inputs, *map(Buffer.from_numpy, targets), *sources)
    np.testing.assert_array_equal(targets[:, :, :, :n_slots], sources[:, row_of, :, :n_slots])
    assert np.isnan(targets[:, :, :, n_slots:]).all()


@pytest.mark.parametrize("kv", CACHES)
@pytest.mark.parametrize("chosen", [[0], [3, 0], [2, 1, 2]])
@pytest.mark.parametrize("length", [1, 5])
def test_alignment_attention(kernels, kv, chosen, length):
    queries, keys = 3 * random(9, 2, 1, length, N_STATE), random(10, 2, 1, N_HEAD, 33, HEAD_DIM).astype(kv)
    q = np.concatenate([heads(layer) for layer in queries], axis=1)[0, chosen]
    k = np.concatenate(keys, axis=1)[0, chosen].astype(np.float64)
    scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(HEAD_DIM))
    weights = kernels(f"alignment_{kv}", np.array(chosen, np.int32), *queries, *keys)
    assert weights.shape == (len(chosen), length, 33)
    np.testing.assert_allclose(weights, scores / scores.sum(-1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("n_competing", [1, 15, 16, 200, 211, 500])
def test_target_probs(kernels, n_competing):
    logits = 30 * random(11, 6, 211)
    targets = np.array([0, 14, 15, 199, 210, 7], np.int32)
    competing = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True)) * (np.arange(211) < n_competing)
    expected = (competing / competing.sum(-1, keepdims=True))[np.arange(6), targets]
    found = kernels("target_probs", logits, targets, np.array([n_competing], np.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
