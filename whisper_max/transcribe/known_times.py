"""Times for the words of a known text: what was heard says where they are about, and attention where they are exactly.

The recording is transcribed with the times of its words. Known words are lined up with those heard (``matching``), the
recording is cut into windows between words on which both agree, and in each window the model is given the known text
(teacher forcing) and the attention of its alignment heads times it, as it times its own words. What was heard and is
not in the text stands in the window's text for the audio that it takes, and is dropped; what is in the text and was not
heard gets no time of its own and the probability 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.decode.contract import DecoderBatch, Inference
from whisper_max.decode.decoded import compression_ratio
from whisper_max.errors import AlignmentError
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.known_text import KnownWord, Passage
from whisper_max.transcribe.matching import TRUSTED, match, n_trusted, tokens_of
from whisper_max.transcribe.options import Punctuation
from whisper_max.transcribe.segment import Segment, Word
from whisper_max.transcribe.timing import add_words, alignment_tokens, find_words
from whisper_max.transcribe.window import Mel

_LEAST_HEARD = 0.1  # of a text's words, below which it is not the recording's
_LONGEST = 28.0  # seconds of a window, which may be 30
_MOST_TOKENS = 200  # of a window
_MOST_CHANGED = 60  # known words between two that were heard which are forced
_LONGEST_OTHER = 10.0  # seconds of something else, which are left out of a window
_FASTEST = 30.0  # characters a second that can be said
_MARGIN = 0.5  # seconds around what is said where a window ends in a pause
_NOT_HEARD = 0.5  # what the probability of a word is worth for which there is time but which was not heard


@dataclass
class _Item:
    """A word of a window's text. known: its number in the known text, None for one that was only heard.

    start, end: about when. weight: what the model's probability for it is worth. solid: heard as it is written.
    alone: what is before it is left out.
    """

    text: str
    known: int | None
    start: float
    end: float
    weight: float = 1.0
    solid: bool = False
    alone: bool = False


@dataclass(frozen=True)
class _Window:
    """Items, and the seconds that they are said in."""

    items: list[_Item]
    start: float
    end: float


class KnownTimes:
    """Times a known text.

    Args:
        inference: the model.
        mel: of the recording.
        tokenizer: of its language.
        punctuation: which marks belong to which word.
    """

    def __init__(self, inference: Inference, mel: Mel, tokenizer: Tokenizer, punctuation: Punctuation) -> None:
        self._inference, self._mel = inference, mel
        self._tokenizer, self._punctuation = tokenizer, punctuation

    def align(
        self, passages: Sequence[Passage], heard: Sequence[Word], on_seconds: Callable[[float], object]
    ) -> list[Segment]:
        """A segment for each passage, with its words as they are written, timed.

        Args:
            passages: of the known text.
            heard: the words of the recording, with their times.
            on_seconds: told up to which second it is done.

        Raises:
            AlignmentError: the text is not that of the recording.
            AudioError: a spooled recording can't be read back.
        """
        known = [word for passage in passages for word in passage.words]
        duration = self._mel.n_frames / FRAMES_PER_SECOND
        windows = list(_windows(_items(known, heard, duration), self._n_tokens, duration))
        words: list[Word | None] = [None] * len(known)
        for window, timed in self._timed(windows):
            for item, word in timed:
                if item.known is not None:
                    words[item.known] = word
            on_seconds(window.end)
        return self._segments(passages, _complete(known, words))

    def _n_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text))

    def _timed(self, windows: Sequence[_Window]) -> Iterator[tuple[_Window, list[tuple[_Item, Word]]]]:
        """Each window's items with their words, as many windows encoded together as is best."""
        size = self._inference.encode_size
        batch = self._inference.new_batch(size)
        last_speech = 0.0
        for first in range(0, len(windows), size):
            group = windows[first : first + size]
            frames = [_frames(window, self._mel.n_frames) for window in group]
            mels = np.stack([self._mel.window(start, n_frames) for start, n_frames in frames])
            batch.put(list(range(len(group))), self._inference.encode(mels))
            for slot, (window, (start, n_frames)) in enumerate(zip(group, frames, strict=True)):
                timed = self._time(batch, slot, window, start, n_frames, last_speech)
                last_speech = max([last_speech, *(word.end for _, word in timed)])
                yield window, timed

    def _time(
        self, batch: DecoderBatch, slot: int, window: _Window, start: int, n_frames: int, last_speech: float
    ) -> list[tuple[_Item, Word]]:
        """The items of a window with their words, timed by its attention."""
        tokenizer, items = self._tokenizer, window.items
        tokens = tokenizer.encode("".join(item.text for item in items))
        alignment = batch.align(slot, alignment_tokens(tokenizer, tokens), tokenizer.n_competing)
        timings = find_words(tokenizer, tokens, alignment, n_frames)
        spoken = _segment(start, items[0].start, items[-1].end, tokens)
        add_words([spoken], timings, self._punctuation, tokenizer, last_speech)
        return list(zip(items, _regrouped(items, spoken.words or []), strict=True))

    def _segments(self, passages: Sequence[Passage], words: Sequence[Word]) -> list[Segment]:
        segments = []
        taken = iter(words)
        for number, passage in enumerate(passages):
            timed = [next(taken) for _ in passage.words]
            text = "".join(word.word for word in timed)
            for word in timed:
                word.speaker = passage.speaker
            seek = int(timed[0].start * FRAMES_PER_SECOND)
            segment = _segment(seek, timed[0].start, max(word.end for word in timed), self._tokenizer.encode(text))
            likely = [max(word.probability, 1e-6) for word in timed]
            segments.append(
                replace(
                    segment,
                    id=number,
                    text=text,
                    words=timed,
                    avg_logprob=float(np.mean(np.log(likely))),
                    compression_ratio=compression_ratio(text),
                    speaker=passage.speaker,
                )
            )
        return segments


def _segment(seek: int, start: float, end: float, tokens: list[int]) -> Segment:
    """Some text; that nobody speaks was not looked at."""
    return Segment(0, seek, start, end, "", tokens, 0.0, 0.0, 0.0, math.nan)


def _frames(window: _Window, n_frames: int) -> tuple[int, int]:
    """The first mel frame of a window, and how many it has."""
    start = min(max(int(window.start * FRAMES_PER_SECOND), 0), max(n_frames - 2, 0)) // 2 * 2  # whole positions
    stop = min(math.ceil(window.end * FRAMES_PER_SECOND), n_frames)
    return start, min(max(stop - start, 2), N_FRAMES)


# ---------------------------------------------------------------- what is said where


def _items(known: Sequence[KnownWord], heard: Sequence[Word], duration: float) -> list[_Item]:
    """The text that is said, in order: known words and, where they are silent about it, those heard."""
    ours, theirs = tokens_of(word.spoken for word in known), tokens_of(word.word for word in heard)
    found = match(ours.parts, theirs.parts)
    trusted = n_trusted(found)
    if trusted < max(min(TRUSTED, len(found)), _LEAST_HEARD * len(found)):
        raise AlignmentError(
            "the recording does not say it",
            where="text",
            expected="the words of this recording, in its language",
            found=f"{trusted} of {len(found)} words that were heard in their place",
        )
    places: list[list[int | None]] = [[] for _ in known]
    for number, place in zip(ours.words, found, strict=True):
        places[number].append(None if place is None else theirs.words[place])
    solid = [(i, [each for each in at if each is not None]) for i, at in enumerate(places) if at and None not in at]
    items: list[_Item] = []
    before, heard_before = -1, -1
    for i, at in solid:
        items += _between(known, heard, (before + 1, i), (heard_before + 1, at[0]), duration)
        items.append(_Item(_text(known[i]), i, heard[at[0]].start, heard[at[-1]].end, solid=True))
        before, heard_before = i, max(at[-1], heard_before)
    items += _between(known, heard, (before + 1, len(known)), (heard_before + 1, len(heard)), duration)
    return _marked(items)


def _marked(items: list[_Item]) -> list[_Item]:
    """Items with those marked before which something longer is left out."""
    for before, after in pairwise(items):
        after.alone = after.start - before.end > _LONGEST_OTHER
    return items


def _text(word: KnownWord) -> str:
    """What the model is given for a word."""
    return f" {word.spoken}" if word.text[:1].isspace() else word.spoken


def _between(
    known: Sequence[KnownWord],
    heard: Sequence[Word],
    ours: tuple[int, int],
    theirs: tuple[int, int],
    duration: float,
) -> list[_Item]:
    """What is said between two words on which both agree, or before the first or after the last of them."""
    numbers, others = range(*ours), list(heard[theirs[0] : theirs[1]]) if theirs[0] < theirs[1] else []
    start = heard[theirs[0] - 1].end if theirs[0] > 0 else 0.0
    end = heard[theirs[1]].start if theirs[1] < len(heard) else duration
    if others:
        start, end = others[0].start, others[-1].end
    spoken = [known[i].spoken for i in numbers]
    said = "".join(character for text in spoken for character in text if character.isalnum())
    fits = len(numbers) <= _MOST_CHANGED and 0 < end - start <= _LONGEST_OTHER * 2
    if not said:  # marks alone, which would take time from the words beside them
        return _only_heard(others)
    if not fits or len(said) > _FASTEST * (end - start) or (not others and end - start > _LONGEST_OTHER):
        return _only_heard(others)
    weight = _alike(spoken, [word.word for word in others]) if others else _NOT_HEARD
    borders = np.cumsum([0, *(len(text) + 1 for text in spoken)])
    times = start + (end - start) * borders / borders[-1]
    return [
        _Item(_text(known[i]), i, float(begin), float(stop), weight)
        for i, (begin, stop) in zip(numbers, pairwise(times), strict=True)
    ]


def _only_heard(words: Sequence[Word]) -> list[_Item]:
    """What the text is silent about; a long part is left out."""
    if not words or words[-1].end - words[0].start > _LONGEST_OTHER:
        return []
    return [_Item(word.word, None, word.start, word.end) for word in words]


def _alike(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """How much two short texts are the same, 0 to 1; a number in digits may be any words."""
    one, other = ("".join(filter(str.isalnum, "".join(text).casefold())) for text in (ours, theirs))
    if any(map(str.isdigit, one)) != any(map(str.isdigit, other)):
        return 1.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


# ---------------------------------------------------------------- windows


def _windows(items: Sequence[_Item], n_tokens: Callable[[str], int], duration: float) -> Iterator[_Window]:
    """Items in windows, cut where there is most of a pause between two that were heard as they are written."""
    first, start = 0, max(items[0].start - _MARGIN, 0.0)
    tokens = 0
    i = 0
    while i < len(items):
        tokens += n_tokens(items[i].text)
        too_long = items[i].end + _MARGIN - start > _LONGEST or tokens > _MOST_TOKENS
        if i > first and (items[i].alone or too_long):
            cut = i if items[i].alone else _best_cut(items, first, i)
            end, following = _border(items[cut - 1], items[cut])
            yield _Window(list(items[first:cut]), start, end)
            first, start, tokens, i = cut, following, 0, cut
            continue
        i += 1
    yield _Window(list(items[first:]), start, min(items[-1].end + _MARGIN, duration))


def _best_cut(items: Sequence[_Item], first: int, last: int) -> int:
    """Before which of the items after the middle of those from ``first`` on to cut; ``last`` is too far."""
    half = (items[first].start + items[last].start) / 2
    choices = [i for i in range(first + 1, last + 1) if items[i].start >= half] or [last]
    return max(choices, key=lambda i: (items[i - 1].solid and items[i].solid, items[i].start - items[i - 1].end, i))


def _border(before: _Item, after: _Item) -> tuple[float, float]:
    """Where one window ends and where the next begins: in the middle of a pause, not far from what is said."""
    middle = (before.end + max(after.start, before.end)) / 2
    return min(middle, before.end + _MARGIN), max(middle, after.start - _MARGIN)


# ---------------------------------------------------------------- words as they are written


def _regrouped(items: Sequence[_Item], words: Sequence[Word]) -> list[Word]:
    """A word for each item, of the model's words that its text overlaps."""
    ends = np.cumsum([len(word.word) for word in words])
    grouped = []
    done = 0
    for item in items:
        start, done = done, done + len(item.text)
        at = start + len(item.text) - len(item.text.lstrip())  # a space belongs to no word
        first = int(np.searchsorted(ends, at, side="right"))
        last = int(np.searchsorted(ends, max(done - 1, at), side="right"))
        parts = words[first : last + 1] or words[-1:]
        if not parts:
            grouped.append(Word(item.text, item.start, item.end, 0.0))
            continue
        likely = float(np.mean([part.probability for part in parts])) * item.weight
        grouped.append(Word(item.text, parts[0].start, parts[-1].end, likely))
    return grouped


def _complete(known: Sequence[KnownWord], timed: Sequence[Word | None]) -> list[Word]:
    """All known words as they are written, none before the one before it; those that were not said last no time.

    Marks alone are as likely as the word before them.
    """
    now = next((word.start for word in timed if word is not None), 0.0)
    words: list[Word] = []
    for written, word in zip(known, timed, strict=True):
        likely = word.probability if word else 0.0
        if word is None and words and not any(map(str.isalnum, written.spoken)):
            likely = words[-1].probability
        start, end = (now, now) if word is None else (word.start, word.end)
        start = max(start, now if word is None else words[-1].start if words else 0.0)
        end = max(end, start)
        words.append(Word(written.text, round(start, 2), round(end, 2), likely))
        now = max(now, end)
    return words
