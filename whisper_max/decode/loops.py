"""Loops: a transcript that says the same again and again, found while it is decoded and told from what is repeated.

A loop is seen in the tokens: the same few of them, several times in a row. Whether somebody says it so often is heard
in the attention: of what is said each time is heard later than the one before, and of a loop they are all heard in the
same place, or here and there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Alignment, Float32
from whisper_max.decode.loop import Loop
from whisper_max.decode.search import Candidate, Search
from whisper_max.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from whisper_max.decode.attempt import Attempt

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
        self._places: defaultdict[int, list[int]] = defaultdict(list)  # where each token stands
        self._runs: dict[int, int] = {}  # how many of the last tokens are those one period before, by period

    def take(self, token: int) -> Loop | None:
        """The next text token; the loop, where it completes one that is long enough."""
        at, places = len(self.text), self._places[token]
        periods = takewhile(lambda period: period <= _LONGEST, (at - place for place in reversed(places)))
        self._runs = {period: self._runs.get(period, 0) + 1 for period in periods}  # the shortest period first
        places.append(at)
        self.text.append(token)
        for period, run in self._runs.items():
            if run >= (_repeats(period) - 1) * period:
                n_tokens = run + period
                start = len(self.text) - n_tokens
                return Loop(tuple(self.text[start : start + period]), start, n_tokens // period)
        return None


def _repeats(period: int) -> int:
    """That make a loop of so many tokens."""
    return max(4 if period < 8 else 3, -(-_LEAST_TOKENS // period))


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


class ForbidLoops:
    """What was said over and over is not said again; timestamps between text tokens don't count."""

    def __init__(self, loops: Iterable[Loop], tokenizer: Tokenizer) -> None:
        self._sequences = sorted({sequence for loop in loops for sequence in loop.forbidden})
        self._is_text = tokenizer.is_text

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        for row, tokens in zip(logits, sampled, strict=True):
            text = tuple(token for token in tokens if self._is_text(token))
            for *before, last in self._sequences:
                if text[len(text) - len(before) :] == tuple(before):
                    row[last] = -np.inf


class LoopWatch:
    """Looks for loops in what a window says, at each temperature anew, and forbids those that nobody says.

    One hypothesis is stopped once it repeats itself; several are looked at in the end.

    Args:
        tokenizer: of the task.

    Attributes:
        stopped: True where the text seems to be a loop, which is for ``breaks`` to decide.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._finder: LoopFinder | None = None
        self._looks = True
        self.stopped = False

    def watched(self, search: Search, attempt: Attempt) -> Search:
        """A search that begins, and is done where its text seems to be a loop, begun tokens included."""
        self._finder = LoopFinder() if self._looks and attempt.options.n_hyps == 1 else None
        self.stopped = False
        for token in attempt.context.begun:
            self.take(token)
        return _Watched(search, self)

    def take(self, token: int) -> None:
        """The next token of the first hypothesis."""
        if self._finder is not None and self._tokenizer.is_text(token):
            self.stopped = self._finder.take(token) is not None or self.stopped

    def breaks(self, attempt: Attempt, tokens: Sequence[int]) -> bool:
        """Forbid an attempt the loop that its transcript ends in; False where there is none, or it is said so often.

        True: the window is to be decoded again, at the same temperature. False: no other loop is looked for.
        """
        tokenizer = self._tokenizer
        text = [token for token in tokens if tokenizer.is_text(token)]
        loop = first_loop(text) if self._looks else None
        if loop is None:
            return False
        if attempt.language is not None and tokenizer.language is not None:
            tokenizer = replace(tokenizer, language=attempt.language)
        start = tokenizer.sot_sequence_including_notimestamps
        heard = [*start, *text[: loop.start + loop.repeats * len(loop.tokens)], tokenizer.eot]
        if is_said(loop, attempt.align(heard, tokenizer.n_competing), len(start)):
            self._looks, self._finder, self.stopped = False, None, False
            return False
        attempt.loops.append(loop)
        attempt.rules.append(ForbidLoops([loop], tokenizer))
        self._looks = len(attempt.loops) < MOST_LOOPS
        return True

    def go_on(self, attempt: Attempt) -> None:
        """Look again at the next temperature."""
        self._looks = len(attempt.loops) < MOST_LOOPS


class _Watched:
    """A search whose first hypothesis is watched."""

    def __init__(self, search: Search, watch: LoopWatch) -> None:
        self._search = search
        self._watch = watch

    @property
    def sampled(self) -> list[list[int]]:
        return self._search.sampled

    def update(self, logits: Float32) -> NDArray[np.int32] | None:
        sources = self._search.update(logits)
        self._watch.take(self.sampled[0][-1])
        return sources

    @property
    def done(self) -> bool:
        return self._search.done or self._watch.stopped

    def candidates(self) -> list[Candidate]:
        return self._search.candidates()
