"""Recordings side by side in one batch: they join and leave at any time, and each gets its fair share.

Every recording, and every piece of one, keeps its own options, seek, prompt and fallback, so side by side gives what
one by one gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from whisper_max.decode.attempt import Attempt
from whisper_max.decode.contract import AudioFeatures, Float32, Inference
from whisper_max.decode.pool import DecodingPool
from whisper_max.errors import WhisperMaxError
from whisper_max.transcribe.channels import AnyRecording
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.window import Piece, Window


@dataclass(frozen=True)
class Update:
    """How far a recording has come.

    id: the recording's. segments: its next ones. done: True where nothing more comes. error: why it ended early.
    """

    id: int
    segments: list[Segment] = field(default_factory=list)
    done: bool = False
    error: WhisperMaxError | None = None


@dataclass(frozen=True)
class _Work:
    """A window on its way through the model, of a piece of a recording."""

    id: int
    recording: Recording
    piece: Piece
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
        self._ids = count()
        self._recordings: dict[int, AnyRecording] = {}  # the next to be given a slot comes first
        self._work: dict[Attempt, _Work] = {}
        self._updates: list[Update] = []

    def add(self, recording: AnyRecording) -> int:
        """Take on a recording that has begun; returns its id."""
        id = next(self._ids)
        if recording.done:
            self._updates.append(Update(id, done=True))
        else:
            recording.wait()
            self._recordings[id] = recording
        return id

    def remove(self, id: int) -> None:
        """Drop a recording; its slots are free at once. Does nothing where it is done."""
        if self._recordings.pop(id, None) is None:
            return
        for attempt in [attempt for attempt, work in self._work.items() if work.id == id]:
            del self._work[attempt]
            self._pool.remove(attempt)

    @property
    def idle(self) -> bool:
        """True where nothing is left to do."""
        return not (self._recordings or self._updates)

    @property
    def has_room(self) -> bool:
        """True where another recording would be begun at once."""
        n_waiting = sum(len(recording.waiting) for recording in self._recordings.values())
        return len(self._work) + n_waiting < self._max_windows

    def advance(self) -> list[Update]:
        """Do one piece of work: encode windows for the free slots, or decode a token of each window.

        Returns:
            the recordings that have come further.
        """
        if not (self._pool.room and self._begin_windows()):
            for attempt in self._pool.advance():
                if (work := self._work.pop(attempt, None)) is not None:  # else its recording has just failed
                    self._finish(work, attempt)
        updates, self._updates = self._updates, []
        return updates

    def _begin_windows(self) -> bool:
        """Encode the next windows and let them join the batch; False where none waits."""
        chosen = self._next_windows()
        mels: list[tuple[_Work, Float32]] = []
        for work in chosen:
            recording, window = work.recording, work.window
            if (encoded := recording.encoded(window)) is not None:
                self._join([work], encoded)
                continue
            try:
                mels.append((work, recording.mel.window(window.seek, window.size)))
            except WhisperMaxError as error:
                self._fail(work.id, error)
        if mels:
            self._join([work for work, _ in mels], self._inference.encode(np.stack([mel for _, mel in mels])))
        return bool(chosen)

    def _next_windows(self) -> list[_Work]:
        """As many as are encoded together; the recordings take turns."""
        chosen: list[_Work] = []
        size = min(self._pool.room, self._inference.encode_size)
        while len(chosen) < size:
            id, recording = next(((id, each) for id, each in self._recordings.items() if each.waiting), (0, None))
            if recording is None:
                break
            self._recordings[id] = self._recordings.pop(id)  # the others come first now
            piece = recording.waiting.popleft()
            if (window := piece.next_window()) is not None:
                chosen.append(_Work(id, recording.channels[piece.channel], piece, window))
        return chosen

    def _join(self, works: Sequence[_Work], features: AudioFeatures) -> None:
        attempts = []
        for work in works:
            attempt = Attempt(work.recording.decoding, work.piece.context(work.window))
            self._work[attempt] = work
            attempts.append(attempt)
        self._pool.add(attempts, features)

    def _finish(self, work: _Work, attempt: Attempt) -> None:
        """Make segments of what was decoded, and let the piece's next window wait for its turn."""
        recording, piece = self._recordings[work.id], work.piece
        try:
            cut = piece.cut(work.window, attempt.result)
            work.recording.refine(piece, cut, attempt.align)
            segments = recording.commit(piece, cut)
        except WhisperMaxError as error:
            self._fail(work.id, error)
            return
        if not piece.done:
            recording.waiting.appendleft(piece)
        if recording.done:
            del self._recordings[work.id]
        self._updates.append(Update(work.id, segments, recording.done))

    def _fail(self, id: int, error: WhisperMaxError) -> None:
        self.remove(id)
        self._updates.append(Update(id, done=True, error=error))


def transcribe_windows(
    inference: Inference,
    recording: AnyRecording,
    *,
    max_windows: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Segment]:
    """Transcribe one recording, giving out segments as they come; ``batch_size`` windows of each channel at a time.

    Args:
        max_windows: most windows in the batch; None: the batch size.
        on_progress: called with the frames done and the frames of the recording, after each window.
        should_stop: asked before each token; where it returns True, nothing more comes.
    """
    if recording.done:
        return
    most = recording.n_side_by_side  # the batch takes memory for all
    max_windows = most if max_windows is None else min(max_windows, most)
    for _, segments in transcribe_side_by_side(
        inference, [recording], max_windows=max_windows, should_stop=should_stop
    ):
        if on_progress is not None:
            on_progress(*recording.progress)
        yield from segments


def transcribe_side_by_side(
    inference: Inference,
    recordings: Iterable[AnyRecording],
    *,
    max_windows: int,
    on_error: Callable[[int, WhisperMaxError], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[Segment]]]:
    """Transcribe recordings, their pieces side by side in one batch.

    Args:
        recordings: each has begun, and is taken when there is room for it.
        max_windows: most windows in the batch.
        on_error: called with the index of a recording that can't be read, or whose journal can't be written, and the
            error; the others go on. None raises it.
        should_stop: asked before each token; where it returns True, nothing more comes.

    Yields:
        the index of a recording, and its next segments; once, without any, for a recording that has no windows.
    """
    scheduler = Scheduler(inference, max_windows=max_windows)
    waiting = iter(recordings)  # ids count from 0 like indices
    while not (should_stop and should_stop()):
        while scheduler.has_room and (recording := next(waiting, None)) is not None:
            scheduler.add(recording)
        if scheduler.idle:
            return
        for update in scheduler.advance():
            if update.error is None:
                yield update.id, update.segments
            elif on_error is None:
                raise update.error
            else:
                on_error(update.id, update.error)
