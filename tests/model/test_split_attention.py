"""A GPU's attention of one new token, against NumPy in float64: its keys split among warps of one lane, and plain."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.device_graphs import add_graphs as add_graphs
from whisper_max.model.gpu.fast import CROSS_SPLITS, SELF_SPLITS

N_HEAD, HEAD_DIM = 3, 64
TOLERANCE = 1e-5


def random(seed, *shape):
    return 2 * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def attended(q, k, v):
    """q: (H, hd); k, v: (H, S, hd) -> (H * hd,) in float64."""
    scores = np.einsum("hd,hsd->hs", q.astype(np.float64), k) / np.sqrt(HEAD_DIM)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hs,hsd->hd", weights / weights.sum(-1, keepdims=True), v).reshape(-1)


@pytest.mark.parametrize("capacity", [5, 19, 448])
def test_self_attention_writes_one_slot_and_reads_up_to_it(device_graphs, capacity):
    lengths = np.unique([0, 1, capacity // 2, capacity - 2, capacity - 1]).astype(np.int32)
    rows = len(lengths)
    k, v = (random(seed, rows, N_HEAD, capacity, HEAD_DIM) for seed in (1, 2))
    for row, length in enumerate(lengths):
        k[row, :, length:] = v[row, :, length:] = np.nan  # what nobody wrote yet is never read
    before = k.copy(), v.copy()
    qkv = random(3, rows, 3 * N_HEAD * HEAD_DIM)
    (out,) = device_graphs["split_self"].execute(qkv, lengths, k, v)
    q, new_k, new_v = qkv.reshape(rows, 3, N_HEAD, HEAD_DIM).transpose(1, 0, 2, 3)
    for row, length in enumerate(lengths):
        for cache, old, new in ((k, before[0], new_k), (v, before[1], new_v)):
            np.testing.assert_array_equal(cache[row, :, length], new[row])
            np.testing.assert_array_equal(cache[row, :, :length], old[row, :, :length])
            assert np.isnan(cache[row, :, length + 1 :]).all()
        own = slice(0, length + 1)
        np.testing.assert_allclose(
            out.to_numpy()[row], attended(q[row], k[row, :, own], v[row, :, own]), atol=TOLERANCE
        )


@pytest.mark.parametrize("capacity", [5, 19, 448])
@pytest.mark.parametrize("rows", [1, 5])
def test_plain_self_attention_masks_each_row_by_its_own_length(device_graphs, capacity, rows):
    lengths = np.array([capacity // 2, 0, 1, capacity - 1, capacity - 2], np.int32)[:rows]
    k, v = (random(seed, rows, N_HEAD, capacity, HEAD_DIM) for seed in (1, 2))
    before = k.copy(), v.copy()
    qkv = random(3, rows, 3 * N_HEAD * HEAD_DIM)
    (out,) = device_graphs["plain_self"].execute(qkv, lengths, k, v)
    q, new_k, new_v = qkv.reshape(rows, 3, N_HEAD, HEAD_DIM).transpose(1, 0, 2, 3)
    for row, length in enumerate(lengths):
        for cache, old, new in ((k, before[0], new_k), (v, before[1], new_v)):
            old[row, :, length] = new[row]
            np.testing.assert_array_equal(cache[row], old[row])
        own = slice(0, length + 1)
        np.testing.assert_allclose(
            out.to_numpy()[row], attended(q[row], k[row, :, own], v[row, :, own]), atol=TOLERANCE
        )


@pytest.mark.parametrize("n_keys", [1, SELF_SPLITS - 1, CROSS_SPLITS, CROSS_SPLITS * 8 + 1, 1500])
@pytest.mark.parametrize(("n_windows", "n_hyps"), [(1, 1), (3, 1), (2, 5)])
def test_cross_attention_is_shared_by_a_windows_hypotheses(device_graphs, n_windows, n_hyps, n_keys):
    k, v = (random(seed, n_windows, N_HEAD, n_keys, HEAD_DIM) for seed in (4, 5))
    q = random(6, n_windows * n_hyps, N_HEAD * HEAD_DIM)
    (out,) = device_graphs["split_cross"].execute(q, k, v)
    for row, own in enumerate(q.reshape(-1, N_HEAD, HEAD_DIM)):
        expected = attended(own, k[row // n_hyps], v[row // n_hyps])
        np.testing.assert_allclose(out.to_numpy()[row], expected, atol=TOLERANCE)


def test_scores_far_apart_stay_finite(device_graphs):
    k, v = random(7, 1, N_HEAD, 100, HEAD_DIM), random(8, 1, N_HEAD, 100, HEAD_DIM)
    q = 30 * random(9, 1, N_HEAD * HEAD_DIM)
    (out,) = device_graphs["split_cross"].execute(q, k, v)
    expected = attended(q.reshape(N_HEAD, HEAD_DIM), k[0], v[0])
    np.testing.assert_allclose(out.to_numpy()[0], expected, atol=2e-4)
