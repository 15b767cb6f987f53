"""The whole transcript of a live stream, from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from whisper_max.live.events import Committed, LiveEvent, LiveWord, SpeakersHeard, UtteranceEnded, text_of
from whisper_max.live.words import ends_sentence
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word
from whisper_max.transcribe.turns import Turns

_LONGEST_PAUSE = 1.0  # seconds within a segment
_LONGEST_SEGMENT = 15.0  # seconds, where no sentence ends


class LiveTranscript:
    """Collects committed words as segments: one for each sentence, or part of one where it is long or interrupted.

    A segment's words may come from several decodings, so it has no tokens; its temperature, avg_logprob,
    compression_ratio, no_speech_prob and doubt are those of the decoding that its last word was committed from.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self._said: list[list[LiveWord]] = []  # the words of each
        self._open: list[LiveWord] = []
        self._language = ("", 0.0)
        self._end = 0.0
        self._turns: Turns | None = None

    def add(self, events: Iterable[LiveEvent]) -> list[Segment]:
        """Take events in their order; returns the segments that are now complete, without speakers, who settle."""
        n_before = len(self.segments)
        for event in events:
            if isinstance(event, Committed):
                for word in event.words:
                    self._add_word(word)
            elif isinstance(event, UtteranceEnded):
                if not self._language[0]:
                    self._language = (event.language, event.language_probability)
                self._end = event.end
                self._close()
            elif isinstance(event, SpeakersHeard):
                self._turns = Turns(event.turns)
        return self.segments[n_before:]

    def result(self, duration: float | None = None, options: Mapping[str, Any] | None = None) -> TranscriptionResult:
        """The transcript so far, words of a sentence that goes on included; its language is that of the first words.

        Where speakers are told apart, segments have them as far as they are known, and are split where they change.

        Args:
            duration: seconds of the stream; the end of the last utterance where None.
            options: to be given along.
        """
        said = [*self._said, *([self._open] if self._open else [])]
        parts = [part for words in said for part in self._by_speaker(words)]
        segments = [_segment(number, words, speaker) for number, (speaker, words) in enumerate(parts)]
        return TranscriptionResult(
            text="".join(segment.text for segment in segments),
            segments=segments,
            language=self._language[0],
            language_probability=self._language[1],
            duration=self._end if duration is None else duration,
            options=dict(options or {}),
        )

    def _add_word(self, word: LiveWord) -> None:
        if self._open and (
            word.start - self._open[-1].end > _LONGEST_PAUSE or word.end - self._open[0].start > _LONGEST_SEGMENT
        ):
            self._close()
        self._open.append(word)
        if ends_sentence(word):
            self._close()

    def _close(self) -> None:
        if self._open:
            self.segments.append(_segment(len(self.segments), self._open, None))
            self._said.append(self._open)
            self._open = []

    def _by_speaker(self, words: Sequence[LiveWord]) -> Iterator[tuple[str | None, list[LiveWord]]]:
        """Words in parts, each of one speaker; all of nobody where nobody tells speakers apart."""
        names = (
            [None] * len(words)
            if self._turns is None
            else self._turns.names_of((word.start, word.end) for word in words)
        )
        for name, part in groupby(zip(names, words, strict=True), key=lambda named: named[0]):
            yield name, [word for _, word in part]


def _segment(number: int, words: Sequence[LiveWord], speaker: str | None) -> Segment:
    first, last = words[0], words[-1]
    return Segment(
        id=number,
        seek=round(first.start * 100),
        start=first.start,
        end=last.end,
        text=text_of(words),
        tokens=[],
        words=[Word(word.word, word.start, word.end, word.probability, speaker=speaker) for word in words],
        speaker=speaker,
        **vars(last.origin),
    )
