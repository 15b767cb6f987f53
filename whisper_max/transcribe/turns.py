"""Who speaks when, and what of a transcript is whose: words by the turns that they lie in, segments split between."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from types import MappingProxyType

from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.split import split_segment

_FARTHEST = 1.0  # seconds between a word and the turn that it may still be of: words are timed less exactly than turns
_SHORTEST = 0.01  # seconds that a word is taken to last at least
_ALIKE = 1e-6  # seconds by which two overlaps may differ that count as the same


@dataclass(frozen=True)
class Turn:
    """Somebody speaks: start and end in seconds of the recording, and who, from 0 in order of appearance.

    Turns of different speakers may overlap.
    """

    start: float
    end: float
    speaker: int


def speaker_name(speaker: int) -> str:
    """What a speaker is called, by the number from 0: ``Speaker 1`` and so on."""
    return f"Speaker {speaker + 1}"


class Turns:
    """The turns of a recording, by which its segments are labelled.

    Args:
        turns: in any order; speakers are numbered anew in the order in which their first turns start. None where they
            are found later, so that there may be any.
        names: of speakers as ``turns`` number them; those that have none are called by their new number.
    """

    def __init__(self, turns: Iterable[Turn] | None, names: Mapping[int, str] = MappingProxyType({})) -> None:
        self._found = turns is not None
        ordered = sorted(turns or (), key=lambda turn: (turn.start, turn.end))
        numbers: dict[int, int] = {}
        self._turns = [replace(turn, speaker=numbers.setdefault(turn.speaker, len(numbers))) for turn in ordered]
        self._names = [names.get(speaker, speaker_name(number)) for speaker, number in numbers.items()]
        self._starts = [turn.start for turn in self._turns]
        self._reached = list(accumulate((turn.end for turn in self._turns), max))  # the latest end so far

    def label(self, segments: Iterable[Segment], tokenizer: Tokenizer) -> list[Segment]:
        """Segments that have their speakers, each of one speaker alone; new ones, but for their words.

        A word is whose turns it overlaps most; where two speak over each other all the time, whose the word before
        is. One in no turn is of the nearest, within a second, or goes with its neighbours in the segment. A segment
        without words can't be split, and is whose turns it overlaps most. Where nobody is near, and of a segment
        without text, there is no speaker.

        Args:
            segments: with times in the recording, and words where they are to be split.
            tokenizer: of their tokens.
        """
        return [part for segment in segments for part in self._label(segment, tokenizer)]

    def differ(self, start: float, end: float) -> bool:
        """True where words in a span of time may be those of more than one speaker."""
        return not self._found or len({turn.speaker for turn in self._near(start, end)}) > 1

    def names_of(self, words: Iterable[tuple[float, float]]) -> list[str | None]:
        """Who says each word of some that follow each other, by their starts and ends; None where nobody is near."""
        speakers: list[int | None] = []
        for start, end in words:
            speakers.append(self._speaker_between(start, end, speakers[-1] if speakers else None))
        return [None if each is None else self._names[each] for each in _filled(speakers)]

    def _label(self, segment: Segment, tokenizer: Tokenizer) -> list[Segment]:
        if not segment.text.strip():
            return [segment]
        if not segment.words:
            speaker = self._speaker_between(segment.start, segment.end, None)
            return [replace(segment, speaker=None if speaker is None else self._names[speaker])]
        names = self.names_of([(word.start, word.end) for word in segment.words])
        for word, name in zip(segment.words, names, strict=True):
            word.speaker = name
        changes = [i for i, (before, after) in enumerate(pairwise(names), 1) if before != after]
        parts = split_segment(segment, changes, tokenizer)
        return [replace(part, speaker=names[first]) for part, first in zip(parts, [0, *changes], strict=True)]

    def _speaker_between(self, start: float, end: float, before: int | None) -> int | None:
        """Who speaks most in a span of time, or nearest to it; ``before``: whom of several alike it is."""
        end = max(end, start + _SHORTEST)
        overlaps: dict[int, float] = {}
        for turn in self._near(start, end):
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                overlaps[turn.speaker] = overlaps.get(turn.speaker, 0.0) + shared
        if overlaps:
            most = max(overlaps.values()) - _ALIKE
            likely = [speaker for speaker, shared in overlaps.items() if shared >= most]
            return before if before in likely else likely[0]
        near = ((max(turn.start - end, start - turn.end), turn.speaker) for turn in self._near(start, end))
        return min(near, default=(0.0, None))[1]

    def _near(self, start: float, end: float) -> Iterator[Turn]:
        """The turns no farther from a span than a word may be; the latest comes first."""
        for i in range(bisect_left(self._starts, end + _FARTHEST) - 1, -1, -1):
            if self._reached[i] < start - _FARTHEST:
                return
            if self._turns[i].end >= start - _FARTHEST:
                yield self._turns[i]


def _filled(speakers: Sequence[int | None]) -> list[int | None]:
    """Speakers of words in a row; who is not known is the one before or, at the start, the first one."""
    known: int | None = next((speaker for speaker in speakers if speaker is not None), None)
    filled: list[int | None] = []
    for speaker in speakers:
        known = known if speaker is None else speaker
        filled.append(known)
    return filled
