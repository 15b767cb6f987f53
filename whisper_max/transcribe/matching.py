"""Which words of a known text are which words that were heard: runs that occur once in both, then what is between.

In memory and time that grow with the text alone: runs of words that both texts have once are lined up (patience
sorting), and only what is left between two such runs, which is short, is compared word by word.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_RUNS = (6, 4, 3)  # words of a run, tried in turn; two texts that have nothing to do with each other share shorter ones
_BETWEEN = (3, 2, 1)  # the same where fewer than _NEAR pairs of words are left
_NEAR = 1_000_000
_MOST_PAIRS = 40_000  # of words that are compared one by one
_NEIGHBOURS = 2  # words to either side, one of which is to be heard about as far away as it is written
TRUSTED = 3  # words in a row that are the same in both texts, by which they are of the same recording
_TOKEN = re.compile(r"\w+")
_APOSTROPHES = re.compile("['’`]")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True)
class Tokens:
    """Normalised parts of words, and the number of the word that each is of."""

    parts: list[str]
    words: list[int]


def tokens_of(words: Iterable[str]) -> Tokens:
    """Words without case, marks and accents of form; one with a hyphen is two, one without a letter or digit none."""
    parts: list[str] = []
    numbers: list[int] = []
    for number, word in enumerate(words):
        plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", word).casefold())
        for part in _TOKEN.findall(plain):
            pieces = list(part) if _UNSPACED.search(part) else [part]
            parts += pieces
            numbers += [number] * len(pieces)
    return Tokens(parts, numbers)


def match(known: Sequence[str], heard: Sequence[str]) -> list[int | None]:
    """For each known token the number of the token that was heard for it, ascending; None where there is none."""
    found: list[int | None] = [None] * len(known)
    regions = [(0, len(known), 0, len(heard))]
    while regions:
        region = first, last, begin, end = regions.pop()
        n_pairs = (last - first) * (end - begin)
        if n_pairs == 0:
            continue
        if n_pairs <= _MOST_PAIRS:
            _compare(found, known, heard, region)
            continue
        lengths = _RUNS if n_pairs > _NEAR else _BETWEEN
        tried = (_common_runs(known[first:last], heard[begin:end], length) for length in lengths)
        runs = next((runs for runs in tried if runs), [])
        border = first, begin
        for at, to, length in runs:
            for offset in range(length):
                found[first + at + offset] = begin + to + offset
            regions.append((border[0], first + at, border[1], begin + to))
            border = first + at + length, begin + to + length
        if runs:
            regions.append((border[0], last, border[1], end))
    return _without_chance(found)


def _without_chance(found: Sequence[int | None]) -> list[int | None]:
    """Matches but those that none near agrees with, as any two texts in a language have them."""
    if len(found) < TRUSTED:
        return list(found)
    kept: list[int | None] = []
    for i, place in enumerate(found):
        near = (j for j in range(max(i - _NEIGHBOURS, 0), min(i + _NEIGHBOURS + 1, len(found))) if j != i)
        agrees = place is not None and any(
            (other := found[j]) is not None and abs((other - place) - (j - i)) <= _NEIGHBOURS for j in near
        )
        kept.append(place if agrees else None)
    return kept


def _common_runs(known: Sequence[str], heard: Sequence[str], length: int) -> list[tuple[int, int, int]]:
    """Runs of so many tokens that both have once, as many as are in the same order: their places and lengths."""
    ours, theirs = _once(known, length), _once(heard, length)
    pairs = sorted((at, theirs[run]) for run, at in ours.items() if run in theirs)
    runs: list[tuple[int, int, int]] = []
    for at, to in _ascending(pairs):
        if runs:
            first, begin, n = runs[-1]
            if at - first == to - begin and at <= first + n:  # the same run, one token on
                runs[-1] = first, begin, at - first + length
                continue
            if at < first + n or to < begin + n:
                continue
        runs.append((at, to, length))
    return runs


def _once(tokens: Sequence[str], length: int) -> dict[tuple[str, ...], int]:
    """The place of each run that occurs once."""
    places: dict[tuple[str, ...], int] = {}
    for at in range(len(tokens) - length + 1):
        run = tuple(tokens[at : at + length])
        places[run] = -1 if run in places else at
    return {run: at for run, at in places.items() if at >= 0}


def _ascending(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most pairs, which are sorted by their first number, whose second numbers ascend (patience sorting)."""
    tops: list[int] = []  # the least last number of a sequence of each length
    ends: list[int] = []  # which pair that is
    before: list[int] = []
    for i, (_, to) in enumerate(pairs):
        pile = bisect_left(tops, to)
        before.append(ends[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [to]
        ends[pile : pile + 1] = [i]
    kept = []
    i = ends[-1] if ends else -1
    while i >= 0:
        kept.append(pairs[i])
        i = before[i]
    return kept[::-1]


def _compare(
    found: list[int | None], known: Sequence[str], heard: Sequence[str], region: tuple[int, int, int, int]
) -> None:
    """The longest common subsequence of a small region; what is too large stays as it is."""
    first, last, begin, end = region
    n_known, n_heard = last - first, end - begin
    if n_known * n_heard > _MOST_PAIRS:
        return
    longest = [[0] * (n_heard + 1) for _ in range(n_known + 1)]  # of what begins at each pair
    for i in range(n_known - 1, -1, -1):
        row, below = longest[i], longest[i + 1]
        for j in range(n_heard - 1, -1, -1):
            same = known[first + i] == heard[begin + j]
            row[j] = below[j + 1] + 1 if same else max(below[j], row[j + 1])
    i = j = 0
    while i < n_known and j < n_heard:
        if known[first + i] == heard[begin + j]:
            found[first + i] = begin + j
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1


def n_trusted(found: Sequence[int | None]) -> int:
    """How many known tokens are in runs of ``TRUSTED`` or more that were heard as they are written; all of a short
    text that was heard.
    """
    least = min(TRUSTED, len(found))
    count = run = 0
    for i, to in enumerate(found):
        goes_on = to is not None and i > 0 and found[i - 1] == to - 1
        run = 0 if to is None else run + 1 if goes_on else 1
        count += least if run == least else 1 if run > least else 0
    return count
