"""Where each token is spoken: dynamic time warping over the attention of the alignment heads.

openai/whisper ``timing.py``, vectorised in NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32

MEDIAN_WIDTH = 7  # frames of 20 ms
_VALUES_TOGETHER = 12_000  # that the median filter works on at a time, so that all its copies stay in a core's cache

_DIAGONAL, _DOWN, _RIGHT = 0, 1, 2


def token_times(weights: Float32, n_frames: int, first: int) -> NDArray[np.intp]:
    """The encoder position, 20 ms each, at which each token begins.

    Args:
        weights: (n_heads, n_tokens, n_audio_ctx), each row summing to 1.
        n_frames: mel frames of the window, 10 ms each; attention to what comes after them is left out.
        first: tokens before it are of the prompt and the last one is the end: neither is spoken.

    Returns:
        (n_tokens - first - 1,) positions, ascending.
    """
    cost = -attention_matrix(weights[:, :, : n_frames // 2])[first:-1]
    tokens, positions = dtw(cost)
    begins = np.diff(tokens, prepend=-1) > 0
    times: NDArray[np.intp] = np.maximum(positions[begins], 0)  # a window too short for a position has path -1
    return times


def attention_matrix(weights: Float32) -> Float32:
    """The heads' attention made comparable and averaged.

    Each row is rescaled to sum to 1 and each column of a head to mean 0 and deviation 1 over the tokens; rows and
    columns that say nothing become 0. A median filter along time takes single spikes out.

    Args:
        weights: (n_heads, n_tokens, n_positions) float32.

    Returns:
        (n_tokens, n_positions) float32.
    """
    total = np.zeros(weights.shape[1:], np.float32)
    for head in weights:
        probabilities = _ratio(head, head.sum(axis=1, keepdims=True))
        centred = probabilities - probabilities.mean(axis=0, keepdims=True)
        deviation = probabilities.std(axis=0, keepdims=True)
        total += median_filter(_ratio(centred, deviation), MEDIAN_WIDTH)
    return total / np.float32(len(weights))


def _ratio(x: Float32, by: Float32) -> Float32:
    """x / by, and 0 where ``by`` is 0."""
    quotient: Float32 = np.divide(x, by, out=np.zeros_like(x), where=by > 0)
    return quotient


def median_filter(x: Float32, width: int) -> Float32:
    """Replace each value by the median of the ``width`` values around it, along the last axis.

    The ends are mirrored without repeating the end value; a row no longer than half the width stays as it is.

    Args:
        x: (..., n) float32.
        width: odd.

    Returns:
        the shape of ``x``.
    """
    n = x.shape[-1]
    if n <= width // 2:
        return x
    rows = x.reshape(-1, n)
    filtered = np.empty_like(rows)
    n_together = max(1, _VALUES_TOGETHER // n)
    for start in range(0, len(rows), n_together):
        filtered[start : start + n_together] = _median_of_rows(rows[start : start + n_together], width // 2)
    return filtered.reshape(x.shape)


def _median_of_rows(x: Float32, half: int) -> Float32:
    """The median of each value and of ``half`` values to either side of it."""
    n = x.shape[-1]
    padded = np.concatenate([x[..., half:0:-1], x, x[..., -2 : -2 - half : -1]], axis=-1)
    shifted = [padded[..., i : i + n].copy() for i in range(2 * half + 1)]
    kept = shifted[: half + 1]
    for newcomer in shifted[half + 1 :]:  # of half + 2 values neither the least nor the largest is the median
        kept = _without_extremes([*kept, newcomer])
    return kept[0]


def _without_extremes(values: list[Float32]) -> list[Float32]:
    """Values without their elementwise least and largest, in any order; overwritten."""
    for i in range(len(values) - 1):
        _exchange(values, i, i + 1)  # the largest moves to the end
    for i in range(len(values) - 2, 0, -1):
        _exchange(values, i - 1, i)  # the least moves to the front
    return values[1:-1]


def _exchange(values: list[Float32], low: int, high: int) -> None:
    least = np.minimum(values[low], values[high])
    np.maximum(values[low], values[high], out=values[high])
    values[low] = least


def dtw(cost: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The cheapest monotonic path through a matrix, from its first cell to its last.

    Args:
        cost: (n_rows, n_columns).

    Returns:
        the rows and the columns of the path's cells, from first to last.
    """
    n_rows, n_columns = cost.shape
    steps = _cheapest_steps(cost)
    row, column = n_rows, n_columns
    path = []
    while row > 0 or column > 0:
        path.append((row - 1, column - 1))
        step = _RIGHT if row == 0 else _DOWN if column == 0 else steps[row + column, row]
        row -= step != _RIGHT
        column -= step != _DOWN
    rows, columns = np.array(path[::-1], np.intp).T
    return rows, columns


def _cheapest_steps(cost: NDArray[np.floating]) -> NDArray[np.int8]:
    """The last step of the cheapest path to each cell, one anti-diagonal of the matrix after the other.

    Returns:
        (n_rows + n_columns + 1, n_rows + 1): the step into the cell (row - 1, column - 1) at [row + column, row].
    """
    n_rows, n_columns = cost.shape
    diagonals = _by_diagonal(cost)
    steps = np.full((n_rows + n_columns + 1, n_rows + 1), _RIGHT, np.int8)
    before = np.full(n_rows + 1, np.inf)  # totals two diagonals ago, by row
    last = before.copy()
    before[0] = 0.0
    for index in range(2, n_rows + n_columns + 1):
        diagonal, down, right = before[:-1], last[:-1], last[1:]
        is_diagonal = (diagonal < down) & (diagonal < right)
        is_down = (down < diagonal) & (down < right)
        cheapest = np.where(is_diagonal, diagonal, np.where(is_down, down, right))
        steps[index, 1:] = np.where(is_diagonal, _DIAGONAL, np.where(is_down, _DOWN, _RIGHT))
        totals = np.full(n_rows + 1, np.inf)
        totals[1:] = diagonals[index - 2] + cheapest
        before, last = last, totals
    return steps


def _by_diagonal(cost: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n_rows + n_columns - 1, n_rows) float64: cell (row, column) at [row + column, row], infinity elsewhere."""
    n_rows, n_columns = cost.shape
    skewed = np.full((n_rows, n_rows + n_columns), np.inf)
    skewed[:, :n_columns] = cost
    flat = skewed.ravel()[: n_rows * (n_rows + n_columns - 1)]
    return np.ascontiguousarray(flat.reshape(n_rows, n_rows + n_columns - 1).T)
