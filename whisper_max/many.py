"""Many recordings side by side: opened when there is room, given out when they are known, closed at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from whisper_max.audio.io import AudioSource
from whisper_max.decode.inference import Inference
from whisper_max.errors import WhisperMaxError
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.transcribe.sequential import transcribe_side_by_side
from whisper_max.transcribe.transcription import Transcription

OpenRecording = Callable[[AudioSource], AbstractContextManager[Transcription]]
"""Makes a transcription of a recording, which stays open as long as its context."""


@dataclass(frozen=True)
class Outcome:
    """What became of one of many recordings: a result or an error.

    index: its place among the recordings. audio: as it was given.
    """

    index: int
    audio: AudioSource
    result: TranscriptionResult | None = None
    error: WhisperMaxError | None = None


@dataclass
class _Open:
    """A recording that is open."""

    index: int
    audio: AudioSource
    transcription: Transcription
    context: ExitStack
    segments: list[Segment] = field(default_factory=list)


class ManyRecordings:
    """Recordings to transcribe side by side.

    Args:
        inference: the model.
        audios: the recordings.
        open_recording: what opens one of them.
    """

    def __init__(self, inference: Inference, audios: Iterable[AudioSource], open_recording: OpenRecording) -> None:
        self._inference = inference
        self._audios = audios
        self._open_recording = open_recording
        self._open: dict[int, _Open] = {}  # by the order of their opening, which skips those that can't be opened
        self._known: deque[Outcome] = deque()

    def transcribe(
        self,
        batch_size: int,
        on_segment: Callable[[int, Segment], object] | None,
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[Outcome]:
        """Give out the outcome of each as soon as it is known; see ``Model.transcribe_many``."""
        side_by_side = transcribe_side_by_side(
            self._inference,
            self._transcriptions(),
            max_windows=batch_size,
            on_error=self._fail,
            should_stop=should_stop,
        )
        try:
            for number, segments in side_by_side:
                one = self._open[number]
                one.segments += segments
                if on_segment is not None:
                    for segment in segments:
                        on_segment(one.index, segment)
                if one.transcription.done:
                    self._close(number, Outcome(one.index, one.audio, one.transcription.result(one.segments)))
                yield from self._take_known()
            yield from self._take_known()
        finally:
            for one in self._open.values():
                one.context.close()

    def _transcriptions(self) -> Iterator[Transcription]:
        """Open one after the other; what can't be opened is known to have failed."""
        n_opened = 0
        for index, audio in enumerate(self._audios):
            context = ExitStack()
            try:
                transcription = context.enter_context(self._open_recording(audio))
            except WhisperMaxError as error:
                self._known.append(Outcome(index, audio, error=error))
                continue
            self._open[n_opened] = _Open(index, audio, transcription, context)
            n_opened += 1
            yield transcription

    def _fail(self, number: int, error: WhisperMaxError) -> None:
        one = self._open[number]
        self._close(number, Outcome(one.index, one.audio, error=error))

    def _close(self, number: int, outcome: Outcome) -> None:
        self._open.pop(number).context.close()
        self._known.append(outcome)

    def _take_known(self) -> Iterator[Outcome]:
        while self._known:
            yield self._known.popleft()
