"""What a live transcription says while it listens. Times are seconds from the start of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from whisper_max.transcribe.result import Doubt
from whisper_max.transcribe.turns import Turn


@dataclass(frozen=True)
class Origin:
    """The decoding that a word was heard in: what ``Segment`` says of it under the same names."""

    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    doubt: list[Doubt] | None = None


@dataclass(frozen=True)
class LiveWord:
    """A word with its spacing, its times and its probability (mean over its tokens).

    closes: True where a segment of its decoding ended with it and another one followed.
    """

    word: str
    start: float
    end: float
    probability: float
    origin: Origin
    closes: bool = False


@dataclass(frozen=True)
class UtteranceStarted:
    """Somebody began to speak at ``start``; utterances are counted from 0."""

    utterance: int
    start: float


@dataclass(frozen=True)
class Committed:
    """Words that will not change any more; they go on where the last ones ended. At least one."""

    utterance: int
    words: tuple[LiveWord, ...]


@dataclass(frozen=True)
class Tentative:
    """What seems to follow the committed words; it takes the place of what seemed so before. It may be nothing."""

    utterance: int
    words: tuple[LiveWord, ...]


@dataclass(frozen=True)
class SpeechEnded:
    """Nobody speaks since ``end``; the last words of the utterance are still to come."""

    utterance: int
    end: float


@dataclass(frozen=True)
class Closed:
    """The end that was asked for is reached: that of the utterance given, or of none where nobody spoke."""

    utterance: int | None


@dataclass(frozen=True)
class UtteranceEnded:
    """All words of the utterance are committed.

    start, end: of what was listened to. language: its code; empty where nothing was said to tell it from.
    language_probability: 1.0 where the language was given, 0.0 where it is empty.
    """

    utterance: int
    start: float
    end: float
    language: str
    language_probability: float


@dataclass(frozen=True)
class SpeakersHeard:
    """Who has spoken so far, and when; it takes the place of what was told before, as labels settle."""

    turns: tuple[Turn, ...]


CoreEvent: TypeAlias = UtteranceStarted | Committed | Tentative | SpeechEnded | Closed | UtteranceEnded
LiveEvent: TypeAlias = CoreEvent | SpeakersHeard


def text_of(words: Sequence[LiveWord]) -> str:
    """The words as text, with the spacing that the model gave them."""
    return "".join(word.word for word in words)
