"""Many recordings side by side: opened when there is room, given out when they are known, closed at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import cast

from whisper_max.audio.io import AudioSource
from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.decode.contract import Inference
from whisper_max.errors import WhisperMaxError
from whisper_max.transcribe.channels import AnyRecording
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.transcribe.scheduler import transcribe_side_by_side

OpenRecording = Callable[[AudioSource], AbstractContextManager[tuple[AnyRecording, list[Segment]]]]
"""Opens a recording, for as long as its context, and begins it; and what a journal knows of it."""
OnSegment = Callable[[int, Segment], object]
"""Called with a recording's place and each of its segments."""
OnProgress = Callable[[int, float, float], object]
"""Called with a recording's place, the seconds of it that are done, and all of them."""


@dataclass(frozen=True)
class Outcome:
    """What became of one of many recordings: a result or an error.

    index: its place among the recordings. audio: as it was given.
    """

    index: int
    audio: AudioSource
    result: TranscriptionResult | None = None
    error: WhisperMaxError | None = None

    def value(self) -> TranscriptionResult:
        """The result; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return cast("TranscriptionResult", self.result)


@dataclass
class _Open:
    """A recording that is open."""

    index: int
    audio: AudioSource
    recording: AnyRecording
    context: ExitStack
    segments: list[Segment] = field(default_factory=list)


class ManyRecordings:
    """Recordings to transcribe side by side.

    Args:
        inference: the model.
        audios: the recordings.
        open_recording: what opens one of them.
        on_segment: called with each segment, those of a journal first.
        on_progress: called when a recording is opened, and after each of its windows.
    """

    def __init__(
        self,
        inference: Inference,
        audios: Iterable[AudioSource],
        open_recording: OpenRecording,
        on_segment: OnSegment | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._inference = inference
        self._audios = audios
        self._open_recording = open_recording
        self._on_segment = on_segment
        self._on_progress = on_progress
        self._open: dict[int, _Open] = {}  # by the order of their opening, which skips those that can't be opened
        self._known: deque[Outcome] = deque()

    def transcribe(self, batch_size: int, should_stop: Callable[[], bool] | None = None) -> Iterator[Outcome]:
        """Give out the outcome of each as soon as it is known; see ``Model.transcribe_many``."""
        side_by_side = transcribe_side_by_side(
            self._inference,
            self._recordings(),
            max_windows=batch_size,
            on_error=self._fail,
            should_stop=should_stop,
        )
        try:
            for number, segments in side_by_side:
                one = self._open[number]
                self._update(one, segments)
                if one.recording.done:
                    self._close(number, Outcome(one.index, one.audio, one.recording.result(one.segments)))
                yield from self._take_known()
            yield from self._take_known()
        finally:
            for one in self._open.values():
                one.context.close()

    def _recordings(self) -> Iterator[AnyRecording]:
        """Open one after the other; what can't be opened is known to have failed."""
        n_opened = 0
        for index, audio in enumerate(self._audios):
            context = ExitStack()
            try:
                recording, done = context.enter_context(self._open_recording(audio))
            except WhisperMaxError as error:
                self._known.append(Outcome(index, audio, error=error))
                continue
            one = self._open[n_opened] = _Open(index, audio, recording, context)
            n_opened += 1
            self._update(one, done)
            yield recording

    def _update(self, one: _Open, segments: list[Segment]) -> None:
        """Keep the next segments of a recording, and hand them on."""
        one.segments += segments
        if self._on_progress is not None:
            done, total = one.recording.progress
            self._on_progress(one.index, done / FRAMES_PER_SECOND, total / FRAMES_PER_SECOND)
        if self._on_segment is not None:
            for segment in segments:
                self._on_segment(one.index, segment)

    def _fail(self, number: int, error: WhisperMaxError) -> None:
        one = self._open[number]
        self._close(number, Outcome(one.index, one.audio, error=error))

    def _close(self, number: int, outcome: Outcome) -> None:
        self._open.pop(number).context.close()
        self._known.append(outcome)

    def _take_known(self) -> Iterator[Outcome]:
        while self._known:
            yield self._known.popleft()
