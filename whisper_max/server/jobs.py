"""A recording on its way through the engine, as the event loop sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

from whisper_max.errors import AudioError
from whisper_max.transcribe.result import Segment, TranscriptionResult


class Cancelled(AudioError):
    """The recording is not wanted any more."""


@dataclass(frozen=True)
class Progress:
    """What has come: the next segments, and how far the recording is, in seconds done and in all."""

    segments: list[Segment]
    done: float
    total: float


@dataclass(frozen=True)
class Finished:
    """The whole transcript."""

    result: TranscriptionResult


Event = Progress | Finished


class Job:
    """One recording that was submitted to an ``EngineThread``; made on the event loop, by ``EngineThread.submit``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._cancelled = threading.Event()

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events as they come; the last is ``Finished``. To be iterated once.

        Raises:
            WhisperMaxError: the recording can't be transcribed; ``Cancelled`` after ``cancel``.
            APIError: the engine failed, or is stopping.
        """
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        while True:
            event = await self._queue.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Finished):
                return

    def cancel(self) -> None:
        """End the work; its places in the batch are free at the engine's next turn. From any thread, at any time."""
        self._cancelled.set()
        self.put(Cancelled("cancelled"))

    @property
    def cancelled(self) -> bool:
        """True after ``cancel``."""
        return self._cancelled.is_set()

    def put(self, event: Event | Exception) -> None:
        """Hand an event to whoever iterates; from any thread."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)
