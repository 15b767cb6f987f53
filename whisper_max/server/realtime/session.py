"""One realtime session: the client's audio on its way through the live transcriber, decoded in the engine's batch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.audio.vad import Detector
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.errors import WhisperMaxError
from whisper_max.live.core import Heard, Listening, LiveCore
from whisper_max.live.events import UtteranceEnded
from whisper_max.live.intake import Intake
from whisper_max.live.options import AUTO, live_policy
from whisper_max.live.speakers import StreamSpeakers
from whisper_max.server.engine_thread import EngineThread
from whisper_max.server.engines import Engines
from whisper_max.server.errors import APIError, as_api_error
from whisper_max.server.jobs import Cancelled, Finished, Job
from whisper_max.server.realtime.events import Conversation, Message, lag_message
from whisper_max.server.realtime.settings import SessionSettings
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.growing import GrowingWindow
from whisper_max.transcribe.speakers import SpeakerCount
from whisper_max.transcribe.turns import Turns

log = logging.getLogger(__name__)

MOST_WAITING = 30 * SAMPLE_RATE  # samples that may wait; then the client's next ones stay in the connection
_LAGGING = 5 * SAMPLE_RATE  # samples: so much waiting is told
LATE = SAMPLE_RATE // 10
"""Samples: where more of a session wait for its turn, the others wait for this one, and it is to be quick."""

NewDetector = Callable[[], Detector]
NewSpeakers = Callable[[SpeakerCount, int], StreamSpeakers]
"""Makes what tells speakers apart, from a sample of the stream on."""


class RealtimeSession:
    """Everything but the socket; used on the event loop. ``work`` runs beside whoever calls the other methods.

    Args:
        engines: the models.
        send: sends one message to the client.
        add_seconds: told the model and the seconds of each utterance.
        new_detector: makes what tells speech.
        new_speakers: makes what tells speakers apart.
    """

    def __init__(
        self,
        engines: Engines,
        send: Callable[[Message], Awaitable[None]],
        add_seconds: Callable[[str, float], None],
        new_detector: NewDetector,
        new_speakers: NewSpeakers,
    ) -> None:
        self.settings = SessionSettings()
        self._engines = engines
        self._send = send
        self._add_seconds = add_seconds
        self._new_detector = new_detector
        self._new_speakers = new_speakers
        self._model = AsyncExitStack()  # keeps it loaded
        self._engine: EngineThread | None = None
        self._core: LiveCore | None = None
        self._window: GrowingWindow | None = None
        self._speakers: StreamSpeakers | None = None
        self._intake = Intake(self.settings.heard.format.rate)
        self._conversation = Conversation(detects_turns=True)
        self._todo: deque[NDArray[np.float32] | str] = deque()  # samples, or "close", "clear"
        self._waiting = 0  # samples in there
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._job: Job | None = None
        self._unsent: list[Message] = []
        self._behind = 0  # samples that waited for the last decoding's turn, or for its end
        self._lags = False

    @property
    def whole_windows(self) -> bool | None:
        """Whether each decoding encodes all of its audio; None before a model is chosen."""
        return None if self._core is None else self._window is None

    # ---------------------------------------------------------------- what the client asks

    async def configure(self, settings: SessionSettings) -> None:
        """Take settings, for what comes next; an utterance that goes on ends here.

        Raises:
            APIError, WhisperMaxError: they are impossible, or the model can't be loaded; nothing changes then.
        """
        options, count = settings.live_options(), settings.speaker_count
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(self._engines.use(settings.heard.transcription.model))
            check_options(engine.model.dims, engine.model.vocabulary, options.decoding)
            renewal = await asyncio.to_thread(engine.renewal)
            policy, step = live_policy(AUTO, None, engine.model.dims, whole_windows=renewal is None)
            options = replace(options, policy=policy, step=step)
            detector = None if options.vad is None else await asyncio.to_thread(self._new_detector)
            await self._end_utterance()
            position, utterance = (0, 0) if self._core is None else (self._core.position, self._core.next_utterance)
            if count is None:
                self._speakers = self._conversation.turns = None
            elif self._speakers is None or count != self.settings.speaker_count:
                self._speakers = await asyncio.to_thread(self._new_speakers, count, position)
            self._core = LiveCore(options, detector, position=position, utterance=utterance)
            self._window = None if renewal is None else renewal.new_window()
            self._intake = Intake(settings.heard.format.rate)
            self._conversation.detects_turns = options.vad is not None
            self._engine, self.settings = engine, settings
            await self._model.aclose()
            self._model = stack.pop_all()

    async def append(self, samples: NDArray[np.int16]) -> None:
        """Take audio, (n_samples,) at the session's rate; waits while too much of it waits already."""
        if self._core is None:
            await self.configure(self.settings)
        while self._waiting >= MOST_WAITING:
            self._idle.clear()
            await self._idle.wait()
        self._add(self._intake.convert(samples))

    async def commit(self) -> None:
        """End the utterance after the audio so far."""
        if self._core is None:
            await self.configure(self.settings)
        self._add("close")

    async def clear(self) -> None:
        """Drop the utterance and the audio so far."""
        if self._core is None:  # none has come
            await self._send({"type": "input_audio_buffer.cleared"})
            return
        self._add("clear")
        if self._job is not None:
            self._job.cancel()

    async def close(self) -> None:
        """Free everything."""
        if self._job is not None:
            self._job.cancel()
        await self._model.aclose()

    def _add(self, work: NDArray[np.float32] | str) -> None:
        self._todo.append(work)
        self._waiting += 0 if isinstance(work, str) else len(work)
        self._wake.set()

    async def _end_utterance(self) -> None:
        """Before other settings: what was said so far belongs to the old ones."""
        if self._core is not None and (self._core.utterance is not None or self._todo):
            self._add("close")
            while self._todo or self._wake.is_set() or self._job is not None:
                self._idle.clear()
                await self._idle.wait()

    # ---------------------------------------------------------------- what is done

    async def work(self) -> None:
        """Look at what comes, for ever."""
        while True:
            await self._wake.wait()
            core = self._core
            if core is not None and self._todo:
                await self._look(core)
            self._wake.clear()
            self._idle.set()

    async def _look(self, core: LiveCore) -> None:
        while True:
            await self._hand_over(core)
            listening = await asyncio.to_thread(core.next_listening)
            await self._tell(core)
            await self._send_unsent()
            if listening is None:
                if not self._todo:
                    self._behind = 0
                    await self._tell_lag()
                    return
                continue
            await self._take_turn(core, listening)
            await self._tell_lag()
            await self._tell(core)
            await self._send_unsent()

    async def _hand_over(self, core: LiveCore) -> None:
        while self._todo:
            work = self._todo.popleft()
            if not isinstance(work, str):
                self._waiting -= len(work)
                core.push(work)
                if self._speakers is not None:
                    await asyncio.to_thread(self._speakers.push, work)
            elif work == "close":
                core.close()
            else:
                core.clear()
                error = APIError(400, "the buffer was cleared", code="input_audio_buffer_cleared")
                self._unsent += [*self._conversation.failed(error), {"type": "input_audio_buffer.cleared"}]
        self._idle.set()

    async def _take_turn(self, core: LiveCore, listening: Listening) -> None:
        """Decode once it is this session's turn, with the audio that has come by then.

        Nothing is sent meanwhile: a client that takes no messages would keep the place from the others.
        """
        engine = self._engine
        if engine is None:  # a core comes with its engine
            return
        async with engine.live_places:
            brief = max(self._behind, self._waiting) > LATE
            self._behind = self._waiting
            newest: Listening | None = listening
            if self._todo and not (listening.final or listening.forced):
                await self._hand_over(core)
                newest = await asyncio.to_thread(core.next_listening)
                await self._tell(core)
            if newest is not None:  # else a pause began, which is decoded when it is one
                await self._decode(engine, core, newest, brief=brief)
        self._behind = max(self._behind, self._waiting)

    async def _decode(self, engine: EngineThread, core: LiveCore, listening: Listening, *, brief: bool) -> None:
        """Decode in the batch of all requests; what fails fails its utterance only."""
        try:
            encode = listening.encoding(self._window, brief=brief)
            self._job = engine.submit(
                listening.samples, listening.options, max_seconds=CHUNK_LENGTH + 1.0, encode=encode
            )
            async for event in self._job:
                if isinstance(event, Finished):
                    result = event.result
                    core.accept(listening, Heard(result.segments, result.language, result.language_probability))
        except Cancelled:
            core.drop_utterance()
        except (APIError, WhisperMaxError) as error:
            core.drop_utterance()
            self._unsent += self._conversation.failed(as_api_error(error))
        finally:
            self._job = None

    async def _tell(self, core: LiveCore) -> None:
        for event in core.take_events():
            if isinstance(event, UtteranceEnded) and self._engine is not None:
                self._add_seconds(self._engine.id, event.end - event.start)
            if isinstance(event, UtteranceEnded) and self._speakers is not None:
                self._conversation.turns = Turns(await asyncio.to_thread(self._speakers.turns))
            self._unsent += self._conversation.messages(event)

    async def _tell_lag(self) -> None:
        lags = self._behind > _LAGGING
        if lags or self._lags:
            self._lags = lags
            await self._send(lag_message(self._behind if lags else 0))

    async def _send_unsent(self) -> None:
        messages, self._unsent = self._unsent, []
        for message in messages:
            await self._send(message)
