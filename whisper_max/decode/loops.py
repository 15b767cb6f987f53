"""Loops: a transcript that says the same again and again, found while it is decoded and told from what is repeated.

A loop is seen in the tokens: the same few of them, several times in a row. Whether somebody says it so often is heard
in the attention: of what is said each time is heard later than the one before, and of a loop they are all heard in the
same place, or here and there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Alignment, Float32
from whisper_max.decode.decoded import Loop

MOST_LOOPS = 4  # that are forbidden in a window; one that repeats itself in more ways is left to the temperatures
_LONGEST = 75  # tokens of what is repeated; three times that fill a window
_LEAST_TOKENS = 12  # that a loop has, all repeats together
_STEP = 4  # positions of 20 ms: what is said again begins later by as much for each of its tokens, up to 0.3 s
_LONGEST_STEP = 15
_SAID = 0.75  # of the repeats, when that many come later than the one before


class LoopFinder:
    """Looks for loops in text tokens as they come."""

    def __init__(self) -> None:
        self.text: list[int] = []
        self._newest_first = np.full(_LONGEST, -1, np.int64)
        self._runs = np.zeros(_LONGEST, np.int64)  # how many of the last tokens are those one period before
        periods = np.arange(1, _LONGEST + 1)
        repeats = np.maximum(np.where(periods < 8, 4, 3), -(-_LEAST_TOKENS // periods))
        self._enough = (repeats - 1) * periods  # (75,)

    def take(self, token: int) -> Loop | None:
        """The next text token; the loop, where it completes one that is long enough."""
        self._runs = np.where(self._newest_first == token, self._runs + 1, 0)
        self._newest_first = np.roll(self._newest_first, 1)
        self._newest_first[0] = token
        self.text.append(token)
        long = self._runs >= self._enough
        if not long.any():
            return None
        period = int(long.argmax()) + 1
        n_tokens = int(self._runs[period - 1]) + period
        start = len(self.text) - n_tokens
        return Loop(tuple(self.text[start : start + period]), start, n_tokens // period)


def first_loop(text: Sequence[int]) -> Loop | None:
    """The first loop of a transcript's text tokens, as far as it has come when it is found."""
    finder = LoopFinder()
    return next((loop for token in text if (loop := finder.take(token)) is not None), None)


def places(weights: Float32) -> NDArray[np.float64]:
    """Where each token is heard: the middle of the attention of the alignment heads.

    Args:
        weights: (n_heads, n_tokens, n_positions), as in ``Alignment``.

    Returns:
        (n_tokens,) positions of 20 ms: the medians of the heads' average.
    """
    mean = weights.mean(axis=0, dtype=np.float64)  # (n_tokens, n_positions)
    cumulative = np.cumsum(mean, axis=1)
    half = cumulative[:, -1:] / 2
    middles: NDArray[np.float64] = (cumulative < half).sum(axis=1).astype(np.float64)
    return middles


def is_said(loop: Loop, alignment: Alignment, first: int) -> bool:
    """True where each repeat of a loop is heard after the one before it.

    Args:
        alignment: of the text tokens up to the loop's end.
        first: tokens of it that come before the text.
    """
    period = len(loop.tokens)
    begin = first + loop.start
    heard = places(alignment.weights[:, begin : begin + loop.repeats * period])
    middles = np.median(heard.reshape(loop.repeats, period), axis=1)  # (repeats,)
    least = min(_STEP * period, _LONGEST_STEP)
    later = [after - before >= least for before, after in pairwise(middles.tolist())]
    return bool(sum(later) >= _SAID * len(later))
