"""Recordings side by side in one batch: they join and leave at any time, and each gets its fair share.

Every recording, and every piece of one, keeps its own options, seek, prompt and fallback, so side by side gives what
one by one gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from whisper_max.decode.inference import AudioFeatures, Float32, Inference
from whisper_max.decode.job import Finished, Job
from whisper_max.decode.language import DetectedLanguage
from whisper_max.decode.pool import DecodingPool
from whisper_max.decode.task import DecodeRequest, DecodingTask
from whisper_max.errors import WhisperMaxError
from whisper_max.transcribe.cut import Cut, Window
from whisper_max.transcribe.file_task import FileTask
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.transcription import Transcription


@dataclass(frozen=True)
class Advance:
    """How far a recording has come.

    ticket: the recording's. segments: its next ones. done: True where nothing more comes. error: why it ended early.
    """

    ticket: int
    segments: list[Segment] = field(default_factory=list)
    done: bool = False
    error: WhisperMaxError | None = None


@dataclass(eq=False)
class _Recording:
    """A recording on its way. waiting: its tasks that have a window to decode and are not being decoded."""

    ticket: int
    transcription: Transcription
    decoding: DecodingTask
    waiting: deque[FileTask]


@dataclass(frozen=True)
class _Work:
    """A window on its way through the model."""

    recording: _Recording
    task: FileTask
    window: Window


class Scheduler:
    """Recordings on their way. Not thread-safe: one thread adds, removes and advances.

    Args:
        inference: the model.
        max_windows: most windows in the batch, of all recordings together.
    """

    def __init__(self, inference: Inference, *, max_windows: int) -> None:
        self._inference = inference
        self._pool = DecodingPool(inference, max_windows)
        self._max_windows = max_windows
        self._tickets = count()
        self._recordings: dict[int, _Recording] = {}  # the next to be given a place comes first
        self._work: dict[Job, _Work] = {}
        self._news: list[Advance] = []

    def add(self, transcription: Transcription) -> int:
        """Take on a recording; returns its ticket.

        Raises:
            OptionError: an option that is impossible for this model.
        """
        options = transcription.options
        dims = self._inference.dims
        decoding = DecodingTask(dims, transcription.tokenizer, options.ladder(), options.thresholds)
        ticket = next(self._tickets)
        waiting = deque(task for task in transcription.tasks if not task.done)
        if waiting:
            self._recordings[ticket] = _Recording(ticket, transcription, decoding, waiting)
        else:
            self._news.append(Advance(ticket, done=True))
        return ticket

    def remove(self, ticket: int) -> None:
        """Drop a recording; its places are free at once. Does nothing where it is done."""
        if self._recordings.pop(ticket, None) is None:
            return
        for job in [job for job, work in self._work.items() if work.recording.ticket == ticket]:
            del self._work[job]
            self._pool.remove(job)

    @property
    def idle(self) -> bool:
        """True where nothing is left to do."""
        return not (self._recordings or self._news)

    @property
    def has_room(self) -> bool:
        """True where another recording would be begun at once."""
        n_waiting = sum(len(recording.waiting) for recording in self._recordings.values())
        return len(self._work) + n_waiting < self._max_windows

    def advance(self) -> list[Advance]:
        """Do one piece of work: encode windows for the free places, or decode a token of each window.

        Returns:
            the recordings that have come further.
        """
        if not (self._pool.room and self._begin_windows()):
            for finished in self._pool.advance():
                if (work := self._work.pop(finished.job, None)) is not None:  # else its recording has just failed
                    self._finish(work, finished)
        news, self._news = self._news, []
        return news

    def _begin_windows(self) -> bool:
        """Encode the next windows and let them join the batch; False where none waits."""
        chosen = self._next_windows()
        mels: list[tuple[_Work, Float32]] = []
        for work in chosen:
            transcription = work.recording.transcription
            if (encoded := transcription.features_of(work.window)) is not None:
                self._join([work], encoded)
                continue
            try:
                mels.append((work, transcription.mel.window(work.window.seek, work.window.size)))
            except WhisperMaxError as error:
                self._fail(work.recording, error)
        if mels:
            self._join([work for work, _ in mels], self._inference.encode(np.stack([mel for _, mel in mels])))
        return bool(chosen)

    def _next_windows(self) -> list[_Work]:
        """As many as are encoded together; the recordings take turns."""
        chosen: list[_Work] = []
        size = min(self._pool.room, self._inference.encode_size)
        while len(chosen) < size:
            recording = next((each for each in self._recordings.values() if each.waiting), None)
            if recording is None:
                break
            self._recordings[recording.ticket] = self._recordings.pop(recording.ticket)  # the others come first now
            task = recording.waiting.popleft()
            if (window := task.next_window()) is not None:
                chosen.append(_Work(recording, task, window))
        return chosen

    def _join(self, works: Sequence[_Work], features: AudioFeatures) -> None:
        jobs = []
        for work in works:
            multilingual = work.recording.transcription.options.multilingual
            language = work.task.tokenizer.language
            request = DecodeRequest(work.window.prompt, (work.window.seek,), language, multilingual)
            job = Job(work.recording.decoding, request)
            self._work[job] = work
            jobs.append(job)
        self._pool.add(jobs, features)

    def _finish(self, work: _Work, finished: Finished) -> None:
        """Make segments of what was decoded, and let the task's next window wait for its turn."""
        recording = work.recording
        try:
            segments = recording.transcription.commit(work.task, _cut(work, finished))
        except WhisperMaxError as error:
            self._fail(recording, error)
            return
        if not work.task.done:
            recording.waiting.appendleft(work.task)
        if recording.transcription.done:
            del self._recordings[recording.ticket]
        self._news.append(Advance(recording.ticket, segments, recording.transcription.done))

    def _fail(self, recording: _Recording, error: WhisperMaxError) -> None:
        self.remove(recording.ticket)
        self._news.append(Advance(recording.ticket, done=True, error=error))


def _cut(work: _Work, finished: Finished) -> Cut:
    """A window's segments, with their words where they are asked for."""
    result, task = finished.result, work.task
    if result.language_probs is not None:
        task.speak(DetectedLanguage(result.language, result.language_probs))
    cut = task.cut(work.window, result)
    if work.recording.transcription.options.word_timestamps:
        tokens = task.alignment_tokens(cut)
        task.time_words(cut, finished.align(tokens, task.tokenizer.eot) if tokens else None)
    return cut
