"""A small random model of an unequal shape, as turbo and distil have, against NumPy in float64.

Compiled once for all of these tests, through the engine's own cache.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.numpy_whisper import NumpyWhisper, random_tensors
from whisper_max.checkpoint import Checkpoint, Vocabulary
from whisper_max.checkpoint.layout import LOGITS
from whisper_max.checkpoint.vocabulary import Tokens
from whisper_max.dims import ModelDimensions
from whisper_max.engine import WhisperEngine, select_target
from whisper_max.engine.stages import cross_kv_stages, encode_stages

DIMS = ModelDimensions(
    n_mels=128, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=3,
    n_vocab=211, n_text_ctx=40, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip
HEADS = ((0, 1), (1, 0), (1, 1))
N_WINDOWS = 4
TOLERANCE = 2e-5  # relative, float32 against float64
INT8_TOLERANCE = 0.04  # relative, int8 weights, layer inputs, cross keys and values, against float64


def load(dims, tensors, heads=HEADS, compute_type="float32", dropped=0):
    checkpoint = Checkpoint(
        dims, tensors, Vocabulary(Tokens.of([]), {}), heads, "safetensors", Path("random"), None, None, dropped
    )
    return WhisperEngine(checkpoint, select_target("cpu", compute_type), print)


def relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.fixture(scope="module")
def tensors():
    return random_tensors(DIMS, seed=0)


@pytest.fixture(scope="module")
def expected(tensors):
    return NumpyWhisper(DIMS, tensors)


@pytest.fixture(scope="module")
def engine(tensors):
    return load(DIMS, tensors)


@pytest.fixture(scope="module")
def mel():
    return np.random.default_rng(1).standard_normal((N_WINDOWS, DIMS.n_mels, DIMS.n_frames), dtype=np.float32)


@pytest.fixture(scope="module")
def xa(expected, mel):
    return [expected.stages(window)["ln_post"] for window in mel]


@pytest.fixture
def features(engine, mel):
    return engine.encode(mel)


def new_batch(engine, features, n_hyps=1):
    batch = engine.new_batch(features.n_windows, n_hyps)
    batch.put(range(features.n_windows), features)
    return batch


def sequences(seed, *lengths):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, DIMS.n_vocab, length).tolist() for length in lengths]


def test_every_stage_of_the_encoder(engine, expected, mel):
    ours = encode_stages(engine, mel)
    for window in range(N_WINDOWS):
        theirs = expected.stages(mel[window])
        assert list(ours) == list(theirs)
        for stage in theirs:
            assert relative(ours[stage][window], theirs[stage]) < TOLERANCE, stage


@pytest.mark.parametrize("n_windows", [1, 3])
def test_encode_at_any_batch(engine, mel, xa, n_windows):
    ours = engine.encode(mel[:n_windows]).xa.to_numpy()
    for window in range(n_windows):
        assert relative(ours[window], xa[window]) < TOLERANCE


def test_prefill_of_prompts_of_different_lengths(engine, expected, features, xa):
    prompts = sequences(2, 1, 7, 3, 12)
    logits = new_batch(engine, features).prefill(range(N_WINDOWS), prompts, [[0, -1]] * N_WINDOWS)
    for window, prompt in enumerate(prompts):
        theirs, _ = expected.decode(prompt, xa[window])
        assert relative(logits[window], theirs[[0, -1]]) < TOLERANCE


def test_prefill_of_some_windows_leaves_the_others(engine, expected, features, xa):
    prompts = sequences(3, 4, 5, 6, 2)
    batch = new_batch(engine, features)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    renewed = sequences(4, 9, 3)
    batch.prefill([3, 1], renewed, [[-1]] * 2)
    prompts[3], prompts[1] = renewed
    logits = batch.step(np.array([5, 6, 7, 8], np.int32))
    for window, token in enumerate([5, 6, 7, 8]):
        assert relative(logits[window], expected.decode([*prompts[window], token], xa[window])[0][-1]) < TOLERANCE


@pytest.mark.parametrize("n_hyps", [1, 3])
def test_steps_with_rows_of_different_lengths(engine, expected, features, xa, n_hyps):
    prompts = sequences(5, 2, 6, 1, 4)
    rows = [list(prompt) for prompt in prompts for _ in range(n_hyps)]
    batch = new_batch(engine, features, n_hyps)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    for tokens in np.random.default_rng(6).integers(0, DIMS.n_vocab, (5, len(rows))).astype(np.int32):
        logits = batch.step(tokens)
        for row, token in zip(rows, tokens, strict=True):
            row.append(int(token))
        for place, history in enumerate(rows):
            theirs = expected.decode(history, xa[place // n_hyps])[0][-1]
            assert relative(logits[place], theirs) < TOLERANCE


def test_reorder_moves_histories_within_their_windows(engine, expected, features, xa):
    batch = new_batch(engine, features, 2)
    prompts = sequences(7, 3, 3, 3, 3)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    first = np.arange(10, 18, dtype=np.int32)
    batch.step(first)
    order = np.array([1, 0, 2, 2, 5, 5, 6, 7], np.int32)
    batch.reorder(order)
    logits = batch.step(np.full(8, 3, np.int32))
    for row, source in enumerate(order):
        history = [*prompts[row // 2], int(first[source]), 3]
        assert relative(logits[row], expected.decode(history, xa[row // 2])[0][-1]) < TOLERANCE
    batch.reorder(np.array([1, 1, 2, 3, 4, 5, 6, 7], np.int32))  # once more, into the buffers of the first
    logits = batch.step(np.full(8, 4, np.int32))
    history = [*prompts[0], int(first[order[1]]), 3, 4]
    assert relative(logits[0], expected.decode(history, xa[0])[0][-1]) < TOLERANCE


def test_windows_leave_and_join(engine, expected, features, xa):
    batch = new_batch(engine, features, 2)
    prompts = sequences(8, 2, 5, 3, 4)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    batch.keep([3, 1])  # the last window takes the first place
    assert (batch.n_windows, batch.n_hyps) == (2, 2)
    logits = batch.step(np.array([1, 2, 3, 4], np.int32))
    histories = [[*prompts[3], 1], [*prompts[3], 2], [*prompts[1], 3], [*prompts[1], 4]]
    for row, window in enumerate([3, 3, 1, 1]):
        assert relative(logits[row], expected.decode(histories[row], xa[window])[0][-1]) < TOLERANCE
    batch.put([1, 2], features.select([2, 0]))  # a taken place, and a new one
    joined = sequences(9, 6, 3)
    batch.prefill([1, 2], joined, [[-1]] * 2)
    logits = batch.step(np.array([7, 7, 8, 9, 5, 6], np.int32))
    histories = [[*histories[0], 7], [*histories[1], 7], [*joined[0], 8], [*joined[0], 9]]
    histories += [[*joined[1], 5], [*joined[1], 6]]
    for row, window in enumerate([3, 3, 2, 2, 0, 0]):
        assert relative(logits[row], expected.decode(histories[row], xa[window])[0][-1]) < TOLERANCE
    batch.keep([])
    assert batch.n_windows == 0


def test_joining_does_not_touch_the_features(engine, features):
    before = features.xa.to_numpy().copy()
    batch = new_batch(engine, features)
    batch.put([0], features.select([1]))
    batch.keep([3])
    np.testing.assert_array_equal(features.xa.to_numpy(), before)


def test_a_row_does_not_depend_on_its_company(engine, features):
    prompts = sequences(10, 3, 8, 2, 5)
    together = new_batch(engine, features)
    together.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    crowd = together.step(np.array([1, 2, 3, 4], np.int32)).copy()
    for window in range(N_WINDOWS):
        alone = new_batch(engine, features.select([window]))
        alone.prefill([0], [prompts[window]], [[-1]])
        np.testing.assert_array_equal(alone.step(np.array([window + 1], np.int32))[0], crowd[window])


def test_a_full_context(engine, expected, features, xa):
    (prompt,) = sequences(11, DIMS.n_text_ctx - 1)
    batch = new_batch(engine, features.select([2]))
    batch.prefill([0], [prompt], [[-1]])
    logits = batch.step(np.array([5], np.int32))
    assert relative(logits[0], expected.decode([*prompt, 5], xa[2])[0][-1]) < TOLERANCE
    assert np.isfinite(batch.step(np.array([5], np.int32))).all()  # a finished row steps on and stays finite


def test_align(engine, expected, features, xa):
    texts, eot = sequences(12, 5, 9, 1, 3), 150
    batch = new_batch(engine, features)
    for window, tokens in enumerate(texts):
        ours = batch.align(window, tokens, eot)
        logits, weights = expected.decode(tokens, xa[window])
        theirs = np.stack([weights[layer][head] for layer, head in HEADS])
        assert ours.weights.shape == theirs.shape
        np.testing.assert_allclose(ours.weights, theirs, atol=1e-5)
        probs = np.exp(logits[:, :eot] - logits[:, :eot].max(-1, keepdims=True))
        probs /= probs.sum(-1, keepdims=True)
        wanted = [0.0, *(probs[i, t] if t < eot else 0.0 for i, t in enumerate(tokens[1:]))]
        np.testing.assert_allclose(ours.token_probs, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("heads", "dropped", "used", "remark"),
    [
        (
            None,
            0,
            ((1, 0), (1, 1)),
            "words of this model are timed by the upper half of its decoder, less exactly: its",
        ),
        (
            None,
            3,
            ((1, 0), (1, 1)),
            "words of this model are timed by the upper half of its decoder, less exactly: it has none of its 3",
        ),
        (((0, 1),), 2, ((0, 1),), "left out 2 of 3 alignment heads, which this model has not"),
        (HEADS, 0, HEADS, None),
    ],
)
def test_heads_that_the_model_has_not_are_left_out_and_said_once(
    engine, features, tensors, mel, heads, dropped, used, remark, capsys
):
    other = load(DIMS, tensors, heads, dropped=dropped)
    batch = new_batch(other, other.encode(mel[:1]))
    capsys.readouterr()
    weights = [batch.align(0, [1, 2, 7], 150).weights for _ in range(2)]
    said = capsys.readouterr().out.splitlines()
    assert [line[: len(remark or "")] for line in said] == ([remark] if remark else [])
    theirs = new_batch(engine, features).align(0, [1, 2, 7], 150).weights
    for ours in weights:
        np.testing.assert_array_equal(ours, theirs[[HEADS.index(head) for head in used]])


@pytest.fixture(scope="module")
def int8_engine(tensors):
    return load(DIMS, tensors, compute_type="int8")


def test_int8_every_stage_of_the_encoder(int8_engine, expected, mel):
    ours = encode_stages(int8_engine, mel[:1])
    for stage, theirs in expected.stages(mel[0]).items():
        assert TOLERANCE < relative(ours[stage][0], theirs) < INT8_TOLERANCE, stage


def test_int8_cross_keys_and_values_have_127_steps_in_each_head_of_a_position(int8_engine, engine, mel):
    ours, theirs = (cross_kv_stages(each, each.encode(mel[:1])) for each in (int8_engine, engine))
    for name, values in ours.items():
        assert values.dtype == np.float32
        heads = values.reshape(1, DIMS.n_audio_ctx, DIMS.n_text_head, -1)
        steps = heads / (np.abs(heads).max(-1, keepdims=True) / 127)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
        assert TOLERANCE < relative(values, theirs[name]) < INT8_TOLERANCE, name


def test_int8_cross_keys_and_values_take_little_more_than_a_quarter_of_float32s(int8_engine, engine):
    ours, theirs = (
        sum(side.num_elements * side.dtype.size_in_bytes for side in each.decoder.cross_kv(3))
        for each in (int8_engine, engine)
    )
    # A head of 64 has a scale of 4 bytes, and 52 positions are filled up to 64.
    assert ours == theirs * (64 + 4) / (4 * 64) * 64 / DIMS.n_audio_ctx


@pytest.mark.parametrize("n_hyps", [1, 3])
def test_int8_prefill_and_steps(int8_engine, expected, mel, xa, n_hyps):
    prompts = sequences(5, 2, 6, 1, 4)
    rows = [list(prompt) for prompt in prompts for _ in range(n_hyps)]
    batch = new_batch(int8_engine, int8_engine.encode(mel), n_hyps)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    for tokens in np.random.default_rng(6).integers(0, DIMS.n_vocab, (4, len(rows))).astype(np.int32):
        logits = batch.step(tokens)
        assert logits.shape == (len(rows), DIMS.n_vocab)  # without what fills up the last panel
        for row, token in zip(rows, tokens, strict=True):
            row.append(int(token))
    for place, history in enumerate(rows):
        theirs = expected.decode(history, xa[place // n_hyps])[0][-1]
        assert TOLERANCE < relative(logits[place], theirs) < INT8_TOLERANCE


def test_int8_reorder_moves_histories(int8_engine, mel):
    features = int8_engine.encode(mel[:2])
    batch = new_batch(int8_engine, features, 2)
    batch.prefill(range(2), sequences(7, 3, 3), [[-1]] * 2)
    first = batch.step(np.array([10, 11, 12, 13], np.int32)).copy()
    batch.reorder(np.array([1, 0, 3, 3], np.int32))
    swapped = batch.step(np.array([3, 3, 3, 3], np.int32)).copy()
    again = new_batch(int8_engine, features, 2)
    again.prefill(range(2), sequences(7, 3, 3), [[-1]] * 2)
    np.testing.assert_array_equal(again.step(np.array([11, 10, 13, 13], np.int32)), first[[1, 0, 3, 3]])
    np.testing.assert_array_equal(again.step(np.array([3, 3, 3, 3], np.int32)), swapped)


@pytest.mark.parametrize(("compute_type", "tolerance"), [("float32", TOLERANCE), ("int8", INT8_TOLERANCE)])
def test_logits_by_a_matrix_of_their_own(compute_type, tolerance, tensors, mel, xa):
    matrix = np.random.default_rng(13).standard_normal((DIMS.n_vocab, DIMS.n_text_state)).astype(np.float32)
    untied = tensors | {LOGITS: matrix}
    engine, numpy = load(DIMS, untied, compute_type=compute_type), NumpyWhisper(DIMS, untied)
    batch = new_batch(engine, engine.encode(mel[:1]))
    logits = batch.prefill([0], [[3, 1, 4]], [[-1]])[0, 0]
    assert relative(logits, numpy.decode([3, 1, 4], xa[0])[0][-1]) < tolerance
    logits = batch.step(np.array([15], np.int32))[0]
    assert relative(logits, numpy.decode([3, 1, 4, 15], xa[0])[0][-1]) < tolerance


@pytest.fixture(params=["engine", "int8_engine"])
def either_engine(request):
    return request.getfixturevalue(request.param)


def test_encode_is_the_same_in_any_batch(either_engine, mel):
    together = either_engine.encode(mel).xa.to_numpy()
    for window in range(N_WINDOWS):
        np.testing.assert_array_equal(either_engine.encode(mel[window : window + 1]).xa.to_numpy()[0], together[window])


@pytest.mark.parametrize("n_hyps", [1, 2, 5])
def test_rows_do_not_depend_on_their_place(either_engine, mel, n_hyps):
    """What tiles of rows compute must not move by where a row stands in its tile: not by the last bit."""
    features = either_engine.encode(mel)
    prompts = sequences(7, 3, 8, 5, 4)
    batch = new_batch(either_engine, features, n_hyps)
    batch.prefill(range(N_WINDOWS), prompts, [[-1]] * N_WINDOWS)
    alone = [new_batch(either_engine, features.select([window])) for window in range(N_WINDOWS)]
    for one, prompt in zip(alone, prompts, strict=True):
        one.prefill([0], [prompt], [[-1]])
    for token in (10, 11, 12, 5, 9, 77):
        rows = batch.step(np.full(N_WINDOWS * n_hyps, token, np.int32)).copy()
        for window, one in enumerate(alone):
            expected = one.step(np.array([token], np.int32))[0]
            for row in rows[window * n_hyps : (window + 1) * n_hyps]:
                np.testing.assert_array_equal(row, expected)


def test_int8_align(int8_engine, engine, mel):
    (text,) = sequences(12, 9)
    results = []
    for each in (int8_engine, engine):
        batch = new_batch(each, each.encode(mel[:1]))
        results.append(batch.align(0, text, 150))
    ours, theirs = results
    assert TOLERANCE < relative(ours.weights, theirs.weights) < INT8_TOLERANCE
    np.testing.assert_allclose(ours.token_probs, theirs.token_probs, atol=INT8_TOLERANCE)
