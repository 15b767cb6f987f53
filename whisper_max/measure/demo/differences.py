"""Where two transcripts differ, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np

_AROUND = 3  # words shown on either side of a difference
_WINDOW = 3000  # words of either text that are aligned at once: a matrix of 18 MB

_Step: TypeAlias = "tuple[str | None, str | None]"
"""A word of what is expected and one of what was found, in each other's place; None for none."""


@dataclass(frozen=True)
class Part:
    """Words that both have (``same``), or that one of them has in the other's place."""

    expected: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def same(self) -> bool:
        """True where both have them."""
        return self.expected == self.found

    @property
    def n_words(self) -> int:
        """Words that differ: each that is missing, one too many, or another one."""
        return 0 if self.same else max(len(self.expected), len(self.found))


def parts(expected: Sequence[str], found: Sequence[str]) -> list[Part]:
    """Two transcripts, aligned with the fewest words that differ; case and punctuation count.

    Long ones are aligned some thousand words at a time, of which the first half is kept: time and memory stay bounded,
    whatever was said, also where a model says one word a thousand times.
    """
    steps: list[_Step] = []
    at, to = 0, 0
    while at < len(expected) or to < len(found):
        window = _aligned(expected[at : at + _WINDOW], found[to : to + _WINDOW])
        if max(len(expected) - at, len(found) - to) > _WINDOW:
            window = window[: len(window) // 2]
        steps += window
        at += sum(word is not None for word, _ in window)
        to += sum(word is not None for _, word in window)
    return [
        Part(tuple(word for word, _ in run if word is not None), tuple(word for _, word in run if word is not None))
        for run in (list(each) for _, each in groupby(steps, key=lambda step: step[0] == step[1]))
    ]


def _aligned(expected: Sequence[str], found: Sequence[str]) -> list[_Step]:
    """Levenshtein's alignment: pairs of words, None where one side has none."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*expected, *found]))}
    ours, theirs = (np.array([numbers[word] for word in words], np.int32) for words in (found, expected))
    costs = np.empty((len(theirs) + 1, len(ours) + 1), np.int16)
    columns = np.arange(len(ours) + 1, dtype=np.int16)
    costs[0] = columns
    for row, word in enumerate(theirs, start=1):
        above, costs[row, 0] = costs[row - 1], row
        costs[row, 1:] = np.minimum(above[:-1] + (ours != word), above[1:] + 1)
        costs[row] = np.minimum.accumulate(costs[row] - columns) + columns  # words that only the found text has
    steps: list[_Step] = []
    row, column = len(theirs), len(ours)
    while row or column:
        here = costs[row, column]
        if row and column and here == costs[row - 1, column - 1] + (theirs[row - 1] != ours[column - 1]):
            row, column = row - 1, column - 1
            steps.append((expected[row], found[column]))
        elif row and here == costs[row - 1, column] + 1:
            row -= 1
            steps.append((expected[row], None))
        else:
            column -= 1
            steps.append((None, found[column]))
    return steps[::-1]


def n_different(aligned: Sequence[Part]) -> int:
    """How many words differ."""
    return sum(part.n_words for part in aligned)


def excerpts(aligned: Sequence[Part]) -> Iterator[list[Part]]:
    """Each difference with a few words around it; those that are close together make one."""
    excerpt: list[Part] = []
    for number, part in enumerate(aligned):
        if not part.same:
            if not excerpt and number:
                excerpt.append(_same(aligned[number - 1].found[-_AROUND:]))
            excerpt.append(part)
        elif excerpt and (len(part.found) > 2 * _AROUND or number == len(aligned) - 1):
            yield [*excerpt, _same(part.found[:_AROUND])]
            excerpt = []
        elif excerpt:
            excerpt.append(part)
    if excerpt:
        yield excerpt


def _same(words: tuple[str, ...]) -> Part:
    return Part(words, words)
