"""Transcribing recordings to their end: one alone, or several side by side in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from whisper_max.decode.inference import Inference
from whisper_max.errors import WhisperMaxError
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.scheduler import Scheduler
from whisper_max.transcribe.transcription import Transcription

Progress = Callable[[int, int], object]
"""Called with the frames done and the frames of the recording, after each window."""


def transcribe_windows(
    inference: Inference,
    transcription: Transcription,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Segment]:
    """Transcribe one recording, giving out segments as they come; ``batch_size`` windows at a time.

    Args:
        on_progress: called after each window.
        should_stop: asked before each token; where it returns True, nothing more comes.
    """
    if transcription.done:
        return
    max_windows = min(transcription.options.batch_size, len(transcription.tasks))  # the batch takes memory for all
    side_by_side = transcribe_side_by_side(inference, [transcription], max_windows=max_windows, should_stop=should_stop)
    for _, segments in side_by_side:
        if on_progress is not None:
            on_progress(*transcription.progress)
        yield from segments


def transcribe_side_by_side(
    inference: Inference,
    transcriptions: Iterable[Transcription],
    *,
    max_windows: int,
    on_error: Callable[[int, WhisperMaxError], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[Segment]]]:
    """Transcribe recordings, their tasks side by side in one batch.

    Args:
        transcriptions: each is taken when there is room for it.
        max_windows: most windows in the batch.
        on_error: called with the index of a recording that can't be read, or whose journal can't be written, and the
            error; the others go on. None raises it.
        should_stop: asked before each token; where it returns True, nothing more comes.

    Yields:
        the index of a recording, and its next segments; once, without any, for a recording that has no windows.
    """
    scheduler = Scheduler(inference, max_windows=max_windows)
    waiting = iter(transcriptions)  # tickets count from 0 like indices
    while not (should_stop and should_stop()):
        while scheduler.has_room and (transcription := next(waiting, None)) is not None:
            scheduler.add(transcription)
        if scheduler.idle:
            return
        for advance in scheduler.advance():
            if advance.error is None:
                yield advance.ticket, advance.segments
            elif on_error is None:
                raise advance.error
            else:
                on_error(advance.ticket, advance.error)
