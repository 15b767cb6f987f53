"""One model, one thread, one batch: all recordings of all requests share it, and live transcribers get their turn.

The thread alternates: waiting calls for a moment, waiting recordings for a moment, then the scheduler's work for as
long as the calls took, one piece at least. So neither a long recording nor a stream of calls keeps the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import FileIO
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from whisper_max.api import Model, words_of
from whisper_max.audio.mel import FRAMES_PER_SECOND, MelWindows
from whisper_max.decode.contract import Alignment, AudioFeatures, DecoderBatch, Inference
from whisper_max.engine.renewal import Renewal, renewal_of
from whisper_max.errors import ArtifactError, OptionError, WhisperMaxError
from whisper_max.server.errors import fault, stopping
from whisper_max.server.jobs import Finished, Job, Progress
from whisper_max.server.recordings import Audio, Opened, Wanted, Workers, open_upload
from whisper_max.server.references import Reference
from whisper_max.server.spool import DiskSpace
from whisper_max.transcribe.growing import Encode
from whisper_max.transcribe.known_text import Passage
from whisper_max.transcribe.known_times import KnownTimes
from whisper_max.transcribe.options import MIXED, TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.scheduler import Scheduler, Update

log = logging.getLogger(__name__)

T = TypeVar("T")

_TURN = 0.25  # seconds that waiting calls, or recordings that begin, may take between two pieces of the batch's work
LIVE_PLACES = 2
"""Live decodings at a time, for each window that is encoded together: more would wait for each other's encodings, and
their words would be of sound that is older.
"""


@dataclass
class _Running:
    """A recording on the engine. known: the text that is to be timed, where it is known. segments: what was heard."""

    job: Job
    opened: Opened
    known: Sequence[Passage]
    segments: list[Segment] = field(default_factory=list)


class EngineThread:
    """A loaded model and the thread that runs it.

    Args:
        id: the model's name on this server.
        model: the model; nobody else may call it from now on.
        workers: threads that decode recordings.
        batch_size: most windows in the batch.

    Attributes:
        id, model: as given.
        live_places: of live sessions that decode; who waits for one takes its audio when it has it. For the event loop.
    """

    def __init__(self, id: str, model: Model, workers: Workers, batch_size: int) -> None:
        self.id = id
        self.model = model
        self._workers = workers
        self._batch_size = batch_size
        self.live_places = asyncio.Semaphore(LIVE_PLACES * model.inference.encode_size)
        self._can_renew = True
        self._renewing = threading.Lock()
        self._wake = threading.Condition()
        self._closing = False
        self._calls: deque[Callable[[], None]] = deque()
        self._waiting: deque[_Running] = deque()
        self._running: dict[int, _Running] = {}
        self._thread = threading.Thread(target=self._run, name=f"whisper_max-{id}", daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------- from any thread

    def submit(
        self,
        audio: Audio,
        options: TranscribeOptions,
        *,
        max_seconds: float,
        place: DiskSpace | None = None,
        references: Sequence[Reference] = (),
        known: Sequence[Passage] = (),
        encode: Encode | None = None,
    ) -> Job:
        """Transcribe a recording; to be called on the event loop, returns at once.

        Args:
            audio: an open file, which the caller may close at once, or samples.
            options: of the transcription.
            max_seconds: a longer recording is refused.
            place: of the file on disk, and of its samples.
            references: of who may speak in it, where speakers are told apart.
            known: a text that is to be timed, where its transcript is not wanted; the options give words their times.
            encode: encodes its first window, where an earlier recording was its beginning.
        """
        job = Job()
        wanted = Wanted(max_seconds, lambda: job.cancelled, place, references, encode)
        own = audio if isinstance(audio, np.ndarray) else FileIO(os.dup(audio.fileno()))

        def end(opening: Future[None]) -> None:
            if isinstance(own, FileIO):
                own.close()
            if place is not None:
                place.need(uploaded=0)
            if opening.cancelled():
                job.put(stopping())

        self._workers.submit(own, lambda: self._open(job, own, options, wanted, known)).add_done_callback(end)
        return job

    def run_on_engine(self, function: Callable[[Model], T]) -> Future[T]:
        """Call a function on the engine's thread, between two pieces of the batch's work; it should be short.

        ``await asyncio.wrap_future(engine.run_on_engine(f))`` waits for it on the event loop. A future that is
        cancelled before its turn is not run.
        """
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(self.model))
            except Exception as error:
                future.set_exception(error)

        with self._wake:
            if self._closing:
                raise stopping()
            self._calls.append(call)
            self._wake.notify()
        return future

    def renewal(self) -> Renewal | None:
        """What encodes windows of live sessions piece by piece; None where they are encoded as a whole.

        The first time it may take a minute. A graph that can't be had is told once, and not looked for again.
        """
        with self._renewing:
            if not self._can_renew:
                return None
            try:
                return renewal_of(self.model.inference, log.info)
            except ArtifactError as error:
                self._can_renew = False
                log.warning("%a: live sessions encode whole windows, which takes longer: %a", self.id, str(error))
                return None

    @property
    def n_running(self) -> int:
        """Recordings in the batch or waiting for it."""
        return len(self._running) + len(self._waiting)

    def close(self) -> None:
        """End the thread; what is not finished fails with ``stopping``. Blocks for one piece of work at most."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # ---------------------------------------------------------------- on a worker

    def _open(
        self, job: Job, audio: Audio, options: TranscribeOptions, wanted: Wanted, known: Sequence[Passage]
    ) -> None:
        try:
            opened = open_upload(audio, options, self.model, wanted, self._workers.decoders)
        except Exception as error:
            job.put(error)
            return
        with self._wake:
            if not self._closing:
                self._waiting.append(_Running(job, opened, known))
                self._wake.notify()
                return
        opened.close()
        job.put(stopping())

    def _time(self, running: _Running) -> None:
        """Time a known text by what was heard; the model is called on the engine's thread, a window at a time."""
        job, recording, waveform = running.job, running.opened.recording, running.opened.waveform
        try:
            if waveform is None or not isinstance(recording, Recording):
                raise OptionError("a known text is timed as it is said", where="channels", expected=MIXED)
            duration = waveform.duration
            mel = MelWindows(waveform, self.model.dims.n_mels)
            times = KnownTimes(
                cast(Inference, _OnEngine(self)), mel, recording.tokenizer, recording.options.punctuation
            )
            segments = times.align(
                running.known,
                words_of(running.segments),
                lambda seconds: job.put(Progress([], (duration + min(seconds, duration)) / 2, duration)),
            )
            job.put(Progress(segments, duration, duration))
            result = recording.result(segments)
            result.marked_up = any(passage.marked_up for passage in running.known)
            job.put(Finished(result))
        except Exception as error:
            job.put(error)
        finally:
            running.opened.close()

    # ---------------------------------------------------------------- on the engine's thread

    def _run(self) -> None:
        scheduler = self._new_scheduler()
        while self._wait_for_work(scheduler):
            try:
                self._turn(scheduler)
            except Exception as error:
                log.error("the engine failed on %d recordings", len(self._running), exc_info=error)
                self._fail_running(error if isinstance(error, WhisperMaxError) else fault())
                scheduler = self._new_scheduler()
        self._fail_running(stopping())
        self._drop_waiting()

    def _new_scheduler(self) -> Scheduler:
        return Scheduler(self.model.inference, max_windows=self._batch_size)

    def _wait_for_work(self, scheduler: Scheduler) -> bool:
        """False when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._calls or self._waiting or not scheduler.idle)
            return not self._closing

    def _turn(self, scheduler: Scheduler) -> None:
        for id in [id for id, running in self._running.items() if running.job.cancelled]:
            scheduler.remove(id)
            self._running.pop(id).opened.close()
        start = time.monotonic()
        self._for_a_turn(self._calls, lambda call: call())
        share = time.monotonic() - start  # what calls took the batch gets as well
        self._for_a_turn(self._waiting, lambda running: self._begin(scheduler, running))
        end = time.monotonic() + share
        while not scheduler.idle:
            for update in scheduler.advance():
                self._deliver(update)
            if time.monotonic() >= end:
                return

    def _for_a_turn(self, waiting: deque[T], work: Callable[[T], None]) -> None:
        """Work on what waits, one at least, for a moment; it stays in line while it is worked on."""
        end = time.monotonic() + _TURN
        while waiting:
            work(waiting[0])
            waiting.popleft()
            if time.monotonic() >= end:
                return

    def _begin(self, scheduler: Scheduler, running: _Running) -> None:
        """Put a recording into the batch; finding its language may take the encoder."""
        if running.job.cancelled:
            running.opened.close()
            return
        recording = running.opened.recording
        try:
            recording.begin(self.model.inference)
            if recording.done:
                self._finish(running)
            else:
                self._running[scheduler.add(recording)] = running
        except Exception as error:
            running.opened.close()
            running.job.put(error)

    def _deliver(self, update: Update) -> None:
        running = self._running[update.id]
        if update.error is not None:
            del self._running[update.id]
            running.opened.close()
            running.job.put(update.error)
            return
        running.segments += update.segments
        done, total = (frames / FRAMES_PER_SECOND for frames in running.opened.recording.progress)
        running.job.put(Progress([], done / 2, total) if running.known else Progress(update.segments, done, total))
        if update.done:
            self._finish(self._running.pop(update.id))

    def _finish(self, running: _Running) -> None:
        if running.known:
            self._time_later(running)
            return
        result = running.opened.recording.result(running.segments)
        running.opened.close()
        running.job.put(Finished(result))

    def _time_later(self, running: _Running) -> None:
        def end(timing: Future[None]) -> None:
            if timing.cancelled():
                running.opened.close()
                running.job.put(stopping())

        seconds = running.opened.recording.progress[1] / FRAMES_PER_SECOND
        self._workers.submit_again(seconds, lambda: self._time(running)).add_done_callback(end)

    def _fail_running(self, error: Exception) -> None:
        while self._running:
            _, running = self._running.popitem()
            running.opened.close()
            running.job.put(error)

    def _drop_waiting(self) -> None:
        while self._waiting:
            running = self._waiting.popleft()
            running.opened.close()
            running.job.put(stopping())
        while self._calls:
            self._calls.popleft()()


class _OnEngine:
    """What ``KnownTimes`` needs of a model, from any thread: each call is done on the engine's, between its work.

    Args:
        engine: whose model it is.
    """

    def __init__(self, engine: EngineThread) -> None:
        self._engine = engine
        self.encode_size = engine.model.inference.encode_size

    def encode(self, mel: NDArray[np.float32]) -> AudioFeatures:
        """As ``Inference.encode``."""
        return self._engine.run_on_engine(lambda model: model.inference.encode(mel)).result()

    def new_batch(self, max_windows: int) -> _BatchOnEngine:
        """As ``Inference.new_batch``."""
        return _BatchOnEngine(
            self._engine, self._engine.run_on_engine(lambda model: model.inference.new_batch(max_windows)).result()
        )


class _BatchOnEngine:
    """What ``KnownTimes`` needs of a batch; likewise."""

    def __init__(self, engine: EngineThread, batch: DecoderBatch) -> None:
        self._engine = engine
        self._batch = batch

    def put(self, windows: Sequence[int], features: AudioFeatures) -> None:
        """As ``DecoderBatch.put``."""
        self._engine.run_on_engine(lambda _: self._batch.put(windows, features)).result()

    def align(self, window: int, tokens: Sequence[int], n_competing: int) -> Alignment:
        """As ``DecoderBatch.align``."""
        return self._engine.run_on_engine(lambda _: self._batch.align(window, tokens, n_competing)).result()
