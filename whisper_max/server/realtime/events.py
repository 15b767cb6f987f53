"""What a live transcription says, as OpenAI's server events.

Beyond OpenAI's: ``whisper_max.tentative`` with the text that may still change, and ``language``, ``start``, ``end`` and
``words`` in ``completed``. ``segment``, which is OpenAI's, comes only where speakers are told apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.live.events import (
    Closed,
    Committed,
    CoreEvent,
    LiveWord,
    SpeechEnded,
    Tentative,
    UtteranceStarted,
    text_of,
)
from whisper_max.server.errors import APIError
from whisper_max.server.http.events import Deltas
from whisper_max.transcribe.turns import Turns

Message = dict[str, Any]

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


def new_id(kind: str) -> str:
    """``item_`` or the like, and 20 random characters."""
    return f"{kind}_{secrets.token_hex(10)}"


@dataclass
class _Item:
    """The utterance that goes on. told: False where its deltas wait until the client commits it."""

    id: str
    told: bool
    words: list[LiveWord] = field(default_factory=list)
    deltas: Deltas = field(default_factory=Deltas)
    waiting: str = ""


class Conversation:
    """Utterances as items of a conversation.

    Attributes:
        detects_turns: False where the client says where an utterance ends: it hears of none before.
        turns: who has spoken so far; None where speakers are not told apart.
    """

    def __init__(self, *, detects_turns: bool) -> None:
        self.detects_turns = detects_turns
        self.turns: Turns | None = None
        self._item: _Item | None = None
        self._previous: str | None = None

    def messages(self, event: CoreEvent) -> list[Message]:
        """What one event says to the client."""
        if isinstance(event, UtteranceStarted):
            self._item = _Item(new_id("item"), self.detects_turns)
            start = {"audio_start_ms": round(event.start * 1000), "item_id": self._item.id}
            return [{"type": "input_audio_buffer.speech_started", **start}] if self.detects_turns else []
        if isinstance(event, Closed) and event.utterance is None:
            return [error_message(_nothing_to_commit())]
        item = self._item
        if item is None:
            return []
        if isinstance(event, Committed):
            item.words += event.words
            item.waiting += text_of(event.words)
            return self._delta(item)
        if isinstance(event, Tentative):
            return [{"type": "whisper_max.tentative", "item_id": item.id, "text": item.waiting + text_of(event.words)}]
        if isinstance(event, SpeechEnded):
            end = {"audio_end_ms": round(event.end * 1000), "item_id": item.id}
            return [{"type": "input_audio_buffer.speech_stopped", **end}, self._committed(item)]
        if isinstance(event, Closed):
            item.told = True
            return [self._committed(item), *self._delta(item)]
        self._item = None
        speakers = self._speakers(item)
        return [
            *_segments(item, speakers),
            {
                "type": f"{_TRANSCRIPTION}.completed",
                "item_id": item.id,
                "content_index": 0,
                "transcript": text_of(item.words).strip(),
                "usage": {"type": "duration", "seconds": round(event.end - event.start, 3)},
                "language": event.language,
                "start": event.start,
                "end": event.end,
                "words": [_word(word, speaker) for word, speaker in zip(item.words, speakers, strict=True)],
            },
        ]

    def failed(self, error: APIError) -> list[Message]:
        """The utterance that goes on can't be transcribed, or was dropped; nothing where none goes on."""
        item, self._item = self._item, None
        if item is None:
            return []
        body = {"item_id": item.id, "content_index": 0, **error.body()}
        return [{"type": f"{_TRANSCRIPTION}.failed", **body}] if item.told else []

    def _speakers(self, item: _Item) -> list[str | None]:
        """Who says each word, as far as that is known now."""
        if self.turns is None:
            return [None] * len(item.words)
        return self.turns.names_of((word.start, word.end) for word in item.words)

    def _committed(self, item: _Item) -> Message:
        previous, self._previous = self._previous, item.id
        return {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item.id}

    def _delta(self, item: _Item) -> list[Message]:
        if not item.told:
            return []
        delta, item.waiting = item.deltas.next(item.waiting), ""
        body = {"item_id": item.id, "content_index": 0, "delta": delta}
        return [{"type": f"{_TRANSCRIPTION}.delta", **body}] if delta else []


def _segments(item: _Item, speakers: Sequence[str | None]) -> Iterator[Message]:
    """What each speaker says in turn, of those who are known."""
    for speaker, group in groupby(zip(speakers, item.words, strict=True), key=itemgetter(0)):
        words = [word for _, word in group]
        if speaker is not None:
            yield {
                "type": f"{_TRANSCRIPTION}.segment",
                "item_id": item.id,
                "content_index": 0,
                "id": new_id("seg"),
                "speaker": speaker,
                "text": text_of(words).strip(),
                "start": words[0].start,
                "end": words[-1].end,
            }


def error_message(error: APIError, event_id: str | None = None) -> Message:
    """An ``error`` event; event_id: of the client's event that caused it."""
    return {"type": "error", "error": {**error.body()["error"], "event_id": event_id}}


def lag_message(n_samples: int) -> Message:
    """``whisper_max.lag``: so much audio waits to be looked at; 0.0: no longer much."""
    return {"type": "whisper_max.lag", "seconds": round(n_samples / SAMPLE_RATE, 1)}


def _nothing_to_commit() -> APIError:
    return APIError(400, "no speech is in the buffer", code="input_audio_buffer_commit_empty")


def _word(word: LiveWord, speaker: str | None) -> Message:
    """A word with its times, who says it where that is known, and where the guard doubts that it was said, why."""
    told: Message = {"word": word.word, "start": word.start, "end": word.end}
    if speaker is not None:
        told["speaker"] = speaker
    if word.origin.doubt:
        told["doubt"] = [doubt.to_dict() for doubt in word.origin.doubt]
    return told
