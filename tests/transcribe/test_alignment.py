import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from whisper_max.transcribe.alignment import attention_matrix, dtw, median_filter, token_times

matrices = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 20)),
    elements=st.integers(-4, 4).map(lambda value: value / 2),
)


def naive_dtw(cost):
    """The recursion as it is written in the books, with openai-whisper's choice among equals."""
    n_rows, n_columns = cost.shape
    total = np.full((n_rows + 1, n_columns + 1), np.inf)
    step = np.zeros((n_rows + 1, n_columns + 1), int)
    total[0, 0] = 0
    for j in range(1, n_columns + 1):
        for i in range(1, n_rows + 1):
            diagonal, down, right = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
            if diagonal < down and diagonal < right:
                least, step[i, j] = diagonal, 0
            elif down < diagonal and down < right:
                least, step[i, j] = down, 1
            else:
                least, step[i, j] = right, 2
            total[i, j] = float(cost[i - 1, j - 1]) + least
    i, j, path = n_rows, n_columns, []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        move = 2 if i == 0 else 1 if j == 0 else step[i, j]
        i, j = i - (move != 2), j - (move != 1)
    return path[::-1]


@settings(max_examples=200, deadline=None)
@given(matrices)
def test_dtw_takes_the_path_of_the_plain_recursion(cost):
    rows, columns = dtw(cost)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == naive_dtw(cost)


@settings(max_examples=50, deadline=None)
@given(matrices)
def test_dtw_walks_from_corner_to_corner_one_step_at_a_time(cost):
    rows, columns = dtw(cost)
    assert (rows[0], columns[0]) == (0, 0)
    assert (rows[-1] + 1, columns[-1] + 1) == cost.shape
    assert set(zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True)) <= {(0, 1), (1, 0), (1, 1)}


@settings(max_examples=100, deadline=None)
@given(
    npst.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=st.floats(-9, 9, width=16)),
    st.sampled_from([1, 3, 5, 7, 9]),
)
def test_median_filter(x, width):
    filtered = median_filter(x, width)
    if x.shape[1] <= width // 2:
        assert (filtered == x).all()
        return
    padded = np.pad(x, ((0, 0), (width // 2, width // 2)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
    assert (filtered == np.median(windows, axis=-1)).all()


def test_median_filter_of_more_than_it_takes_at_a_time():
    x = np.random.default_rng(0).normal(0, 1, (2, 21, 1500)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (3, 3)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 7, axis=2)
    assert (median_filter(x, 7) == np.median(windows, axis=-1)).all()


def test_attention_is_rescaled_over_the_tokens():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.1, 1, (1, 6, 2)).astype(np.float32)  # two positions: too few for the median filter
    matrix = attention_matrix(weights)
    assert matrix.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert matrix.std(axis=0) == pytest.approx([1, 1], abs=1e-5)
    assert (attention_matrix(np.ones((2, 4, 9), np.float32)) == 0).all()


def test_tokens_begin_where_attention_moves_to_them():
    weights = np.full((2, 7, 1500), 1e-4, np.float32)
    for token, (first, last) in enumerate([(0, 20), (20, 60), (60, 90), (90, 200)]):
        weights[:, 2 + token, first:last] = 1.0  # two tokens of the prompt before, the end after
    assert token_times(weights, n_frames=400, first=2).tolist() == [0, 20, 60, 90]


def test_a_window_shorter_than_a_position():
    assert token_times(np.ones((1, 5, 1500), np.float32), n_frames=1, first=1).tolist() == [0, 0, 0]


def test_small_differences_count_beside_a_large_total():
    rows, columns = dtw(np.array([[3e7, -0.25], [0.1, 1.0]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]
