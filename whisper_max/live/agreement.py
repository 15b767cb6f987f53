"""Which words are certain: those that two decodings one after the other agree on.

LocalAgreement-2 (Liu et al. 2020, arXiv:2005.11185; for Whisper: Macháček et al. 2023, arXiv:2307.14743). Each
decoding hears more of the same utterance. What is committed never changes; where a later decoding words it otherwise,
the nearest match tells which of its words are new.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from whisper_max.live.events import LiveWord

_UNSURE = 1.0  # seconds of audio more that a word needs behind it which is not likely


class Agreement:
    """The words of an utterance, as far as its audio is still kept.

    Args:
        after: seconds; no word is earlier.

    Attributes:
        committed: words that don't change any more.
        tail: what the last decoding had after them.
        end: of the last word committed, also when it is forgotten.
    """

    def __init__(self, after: float = 0.0) -> None:
        self.committed: list[LiveWord] = []
        self.tail: list[LiveWord] = []
        self.end = after

    def update(self, heard: Sequence[LiveWord]) -> list[LiveWord]:
        """Take the words of the next decoding; returns those that are now committed."""
        new = self._after_committed(heard)
        agreed = sum(1 for _ in takewhile(lambda pair: _same(*pair), zip(self.tail, new, strict=False)))
        return self._commit(new, agreed)

    def commit_until(self, heard: Sequence[LiveWord], end: float, sure: float) -> list[LiveWord]:
        """Take the words of the next decoding, and commit those that end by a time, up to the first other one.

        Of a word less likely than ``sure`` the model often thinks otherwise once it has heard more: it must end sooner.
        """
        new = self._after_committed(heard)
        certain = takewhile(lambda word: word.end <= (end if word.probability >= sure else end - _UNSURE), new)
        return self._commit(new, sum(1 for _ in certain))

    def doubt(self, heard: Sequence[LiveWord]) -> None:
        """Take the words of a decoding that can't be trusted: nothing is committed by them."""
        self.tail = self._after_committed(heard)

    def commit_early(self, begun: float, ended: float) -> list[LiveWord]:
        """Commit the words of the tail that begin before ``begun`` and end by ``ended``, up to the first other one."""
        early = takewhile(lambda word: word.start < begun and word.end <= ended, self.tail)
        return self._commit(self.tail, sum(1 for _ in early))

    def commit_all(self) -> list[LiveWord]:
        """Commit the tail."""
        return self._commit(self.tail, len(self.tail))

    def forget(self, n_words: int) -> list[LiveWord]:
        """Forget the first committed words, whose audio is gone; returns them."""
        forgotten, self.committed = self.committed[:n_words], self.committed[n_words:]
        return forgotten

    def _commit(self, words: list[LiveWord], n_words: int) -> list[LiveWord]:
        agreed, self.tail = words[:n_words], words[n_words:]
        self.committed += agreed
        if agreed:
            self.end = agreed[-1].end
        return agreed

    def _after_committed(self, heard: Sequence[LiveWord]) -> list[LiveWord]:
        """The words after those that are committed, with times that follow theirs."""
        new = []
        end = self.end
        for word in heard[_matched(self.committed, heard) :]:
            start = max(word.start, end)
            end = max(word.end, start)
            new.append(replace(word, start=start, end=end))
        return new


def _matched(committed: Sequence[LiveWord], heard: Sequence[LiveWord]) -> int:
    """How many of the words heard are the committed ones: the fewest edits, and among those the nearest time."""
    if not committed:
        return 0
    keys = [_key(word) for word in heard]
    edits = list(range(len(keys) + 1))  # from no committed word to the first i words heard
    for word in committed:
        key = _key(word)
        diagonal, edits[0] = edits[0], edits[0] + 1
        for i, other in enumerate(keys, start=1):
            diagonal, edits[i] = edits[i], min(diagonal + (key != other), edits[i] + 1, edits[i - 1] + 1)
    ends = [heard[0].start if heard else 0.0, *(word.end for word in heard)]
    return min(range(len(edits)), key=lambda i: (edits[i], abs(ends[i] - committed[-1].end)))


def _same(word: LiveWord, other: LiveWord) -> bool:
    return _key(word) == _key(other)


def _key(word: LiveWord) -> str:
    """The word without case, spacing and marks; a word of marks alone as it is."""
    letters = (each for each in word.word if unicodedata.category(each)[0] not in "PSZC")
    return "".join(letters).casefold() or word.word.strip()
