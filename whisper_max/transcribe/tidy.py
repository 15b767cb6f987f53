"""What is made of segments beyond openai-whisper's rules: within the recording, not over pauses, of whole words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.decode.contract import Align
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.segment import Segment, Word
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.split import split_segment
from whisper_max.transcribe.turns import Turns
from whisper_max.transcribe.window import Cut, Piece
from whisper_max.transcribe.words import attach_words

if TYPE_CHECKING:
    from whisper_max.transcribe.recording import Recording

PAUSE = 1.5  # seconds between two words over which no segment reaches
_ELIDING = ("fr", "it", "ca", "oc", "lb", "br")  # languages in which an article is joined to its noun
_APOSTROPHES = "'’"


class Tidy:
    """Gives the segments of a recording their final form.

    Args:
        sound: of the recording.
        turns: who speaks when, where that is known.
    """

    def __init__(self, sound: Sound, turns: Turns | None = None) -> None:
        self.sound = sound
        self._turns = turns

    def attach_words(self, recording: Recording, piece: Piece, cut: Cut, align: Align) -> None:
        """Give a cut its words where its segments can't be ended and broken as they are to be without."""
        if cut.skipped:
            return
        needed = recording.options.align_segments or recording.channel is not None or self._differ(recording, cut)
        if needed or (recording.speech is not None and recording.speech.is_parted(cut.segments)):
            attach_words(piece, cut, align)

    def _differ(self, recording: Recording, cut: Cut) -> bool:
        """True where more than one speaker may be heard in a window, so that its segments may have to be split."""
        if self._turns is None:
            return False
        frames = cut.window.seek, cut.window.seek + cut.window.size
        start, end = (recording.recorded_frame(frame) / FRAMES_PER_SECOND for frame in frames)
        return self._turns.differ(start, end)

    def tidied(self, recording: Recording, segments: Sequence[Segment]) -> list[Segment]:
        """Segments in their final form, from those with times in the recording, and words where they are needed."""
        options, tokenizer = recording.options, recording.tokenizer
        breaks = options.align_segments or recording.speech is not None  # of the speech a segment may reach over it
        tidy: list[Segment] = []
        for segment in segments:
            if not segment.words:
                tidy.append(segment)
                continue
            if options.align_segments:
                self.sound.settle(segment.words)
                segment.start, segment.end = segment.words[0].start, segment.words[-1].end
            tidy += break_at_pauses(segment, tokenizer) if breaks else [segment]
        keep_within(tidy, recording.duration)
        if self._turns is not None:
            tidy = self._turns.label(tidy, tokenizer)
        if not (options.word_timestamps or recording.channel is not None):  # channels are put together by words
            for segment in tidy:
                segment.words = None
        join_elisions(tidy, tokenizer.language or "")
        return tidy


def keep_within(segments: Sequence[Segment], duration: float) -> None:
    """Let nothing start or end after the recording, of so many seconds."""
    for segment in segments:
        for each in (segment, *(segment.words or ())):
            each.start, each.end = min(each.start, duration), min(each.end, duration)


def break_at_pauses(segment: Segment, tokenizer: Tokenizer) -> list[Segment]:
    """A segment with words, in parts between pauses; the first starts and the last ends where it did."""
    words = segment.words or []
    pauses = [i for i, (before, after) in enumerate(pairwise(words), 1) if after.start - before.end >= PAUSE]
    return split_segment(segment, pauses, tokenizer)


def join_elisions(segments: Sequence[Segment], language: str) -> None:
    """Make one word of each that is elided and the one that it is joined to, as in ``l'avion`` and ``dell'acqua``."""
    if language not in _ELIDING:
        return
    for segment in segments:
        if segment.words:
            segment.words = _joined(segment.words)


def _joined(words: Sequence[Word]) -> list[Word]:
    joined: list[Word] = []
    for word in words:
        if joined and _is_elision(joined[-1].word, word.word):
            before = joined.pop()
            likely = (before.probability + word.probability) / 2
            word = replace(before, word=before.word + word.word, end=word.end, probability=likely)
        joined.append(word)
    return joined


def _is_elision(before: str, after: str) -> bool:
    if not before.strip() or not after.strip() or after[:1].isspace():
        return False
    if after[0] in _APOSTROPHES:
        return len(after) > 1 and before[-1].isalpha() and after[1].isalpha()
    return before[-1] in _APOSTROPHES and before[-2:-1].isalpha() and after[0].isalpha()
