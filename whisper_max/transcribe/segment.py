"""A segment of a transcript and its words: plain, typed values with openai-whisper's keys and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whisper_max.transcribe.details import Doubt as Doubt
from whisper_max.transcribe.details import Word as Word


@dataclass
class Segment:
    """One segment of the transcript.

    id: from 0. seek: first mel frame (10 ms) of the window it was decoded from. start, end: seconds.
    tokens: token ids, timestamps included. words: None unless word timestamps were asked for.
    language, language_probability: set when the language was detected for this segment's window alone.
    token_logprobs: of each token, where they were asked for. speaker: who says it, where speakers are told apart.
    channel: the number from 1 of the channel that it is from, where channels are transcribed one by one.
    doubt: why it was probably never said; None where nothing speaks against it.
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
    token_logprobs: list[float] | None = None
    speaker: str | None = None
    channel: int | None = None
    doubt: list[Doubt] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The segment as openai-whisper's dict; what it has not is left out."""
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
        if self.token_logprobs is not None:
            result["token_logprobs"] = list(self.token_logprobs)
        if self.speaker is not None:
            result["speaker"] = self.speaker
        if self.channel is not None:
            result["channel"] = self.channel
        if self.doubt is not None:
            result["doubt"] = [doubt.to_dict() for doubt in self.doubt]
        return result
