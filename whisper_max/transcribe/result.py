"""What a transcription returns: plain, typed values with openai-whisper's keys and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Word:
    """One word with its times in seconds and its probability (mean over its tokens)."""

    word: str
    start: float
    end: float
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """The word as openai-whisper's dict."""
        return {"word": self.word, "start": self.start, "end": self.end, "probability": self.probability}


@dataclass
class Segment:
    """One segment of the transcript.

    id: from 0. seek: first mel frame (10 ms) of the window it was decoded from. start, end: seconds.
    tokens: token ids, timestamps included. words: None unless word timestamps were asked for.
    language, language_probability: set when the language was detected for this segment's window alone.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] | None = None
    language: str | None = None
    language_probability: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The segment as openai-whisper's dict; ``words`` and the languages only when there are any."""
        result: dict[str, Any] = {
            "id": self.id,
            "seek": self.seek,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "tokens": list(self.tokens),
            "temperature": self.temperature,
            "avg_logprob": self.avg_logprob,
            "compression_ratio": self.compression_ratio,
            "no_speech_prob": self.no_speech_prob,
        }
        if self.words is not None:
            result["words"] = [word.to_dict() for word in self.words]
        if self.language is not None:
            result["language"] = self.language
            result["language_probability"] = self.language_probability
        return result


@dataclass
class TranscriptionResult:
    """A whole transcript.

    language: a code; empty where voice activity detection found nothing said and no language was given.
    language_probability: 1.0 where the language was given, 0.0 where it is empty. duration: seconds of audio.
    duration_after_vad: seconds of it that were transcribed, None without voice activity detection. options: the
    effective options, by name, JSON-serialisable.
    """

    text: str
    segments: list[Segment]
    language: str
    language_probability: float = 1.0
    duration: float = 0.0
    duration_after_vad: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's result dict: ``text``, ``segments``, ``language``."""
        return {
            "text": self.text,
            "segments": [segment.to_dict() for segment in self.segments],
            "language": self.language,
        }
