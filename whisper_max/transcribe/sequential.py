"""Transcribing window after window: one recording, its pieces, or several recordings, side by side in one batch.

Every recording, and every piece, keeps its own seek, prompt and fallback, so side by side gives what one by one gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whisper_max.decode.inference import Alignment, AudioFeatures, Float32, Inference
from whisper_max.decode.language import detect_language
from whisper_max.decode.task import DecodeRequest, decode_windows
from whisper_max.errors import AudioError, OutputError, WhisperMaxError
from whisper_max.transcribe.cut import Cut, Window
from whisper_max.transcribe.file_task import FileTask
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.transcription import Transcription

Progress = Callable[[int, int], object]
"""Called with the frames done and the frames of the recording, after each window."""

_WAITING_WINDOWS = 2  # windows encoded together for each place in the batch, so that free places are taken again


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
        should_stop: asked before each window; where it returns True, nothing more comes.
    """
    if transcription.done:
        return
    side_by_side = transcribe_side_by_side(
        inference, [transcription], max_windows=transcription.options.batch_size, should_stop=should_stop
    )
    for _, segments in side_by_side:
        if on_progress is not None:
            on_progress(*transcription.progress)
        yield from segments


@dataclass(eq=False)
class _Lane:
    """A recording's task on its way: the recording's index, itself, and the task."""

    index: int
    transcription: Transcription
    task: FileTask


def transcribe_side_by_side(
    inference: Inference,
    transcriptions: Iterable[Transcription],
    *,
    max_windows: int,
    on_error: Callable[[int, WhisperMaxError], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[Segment]]]:
    """Transcribe recordings of the same options, their tasks side by side in one batch.

    Args:
        transcriptions: each is taken when there is room for it.
        max_windows: most windows in the batch; twice as many are encoded, to take the places that become free.
        on_error: called with the index of a recording that can't be read, or whose journal can't be written, and the
            error; the others go on. None raises it.
        should_stop: asked before each batch; where it returns True, nothing more comes.

    Yields:
        the index of a recording, and its next segments; once, without any, for a recording that has no windows.
    """
    waiting = _lanes(transcriptions)
    lanes: list[_Lane] = []
    room = max_windows if max_windows == 1 else max_windows * _WAITING_WINDOWS
    while not (should_stop and should_stop()):
        lanes = [lane for lane in lanes if not lane.task.done]
        while len(lanes) < room and (index_and_lane := next(waiting, None)) is not None:
            index, lane = index_and_lane
            if lane is None:
                yield index, []
            elif not lane.task.done:
                lanes.append(lane)
        if not lanes:
            return
        failed: dict[int, WhisperMaxError] = {}
        for lane, cut in _cut_windows(inference, lanes, max_windows, failed):
            if lane.index not in failed:
                segments = _commit(lane, cut, failed)
                if lane.index not in failed:
                    yield lane.index, segments
        for index, error in failed.items():
            if on_error is None:
                raise error
            on_error(index, error)
        lanes = [lane for lane in lanes if lane.index not in failed]


def _lanes(transcriptions: Iterable[Transcription]) -> Iterator[tuple[int, _Lane | None]]:
    """The tasks of all recordings in turn; None for a recording that has none."""
    for index, transcription in enumerate(transcriptions):
        if transcription.done:
            yield index, None
        for task in transcription.tasks:
            yield index, _Lane(index, transcription, task)


def _commit(lane: _Lane, cut: Cut, failed: dict[int, WhisperMaxError]) -> list[Segment]:
    try:
        return lane.transcription.commit(lane.task, cut)
    except OutputError as error:
        failed[lane.index] = error
        return []


def _cut_windows(
    inference: Inference, lanes: Sequence[_Lane], max_windows: int, failed: dict[int, WhisperMaxError]
) -> list[tuple[_Lane, Cut]]:
    """Encode and decode the next window of each lane, and time its words where they are asked for."""
    options = lanes[0].transcription.options
    work, features = _encode(inference, lanes, failed)
    if features is None:
        return []
    tokenizer = lanes[0].task.tokenizer
    spoken = detect_language(inference, tokenizer, features) if options.multilingual else None
    for row, (lane, _) in enumerate(work):
        if spoken is not None:
            lane.task.speak(spoken[row])
    requests = [
        DecodeRequest(row, window.prompt, (window.seek,), lane.task.tokenizer.language)
        for row, (lane, window) in enumerate(work)
    ]
    ladder, thresholds = options.ladder(), options.thresholds
    results = decode_windows(inference, tokenizer, features, requests, ladder, thresholds, max_windows=max_windows)
    cuts = [(lane, lane.task.cut(window, result)) for (lane, window), result in zip(work, results, strict=True)]
    if options.word_timestamps:
        _time_words(inference, features, cuts)
    return cuts


def _encode(
    inference: Inference, lanes: Sequence[_Lane], failed: dict[int, WhisperMaxError]
) -> tuple[list[tuple[_Lane, Window]], AudioFeatures | None]:
    """The windows that can be read, and their features: one row each."""
    work: list[tuple[_Lane, Window]] = []
    mels: list[Float32] = []
    for lane in lanes:
        window = lane.task.next_window()
        if window is None:
            continue
        if len(lanes) == 1 and (encoded := lane.transcription.features_of(window)) is not None:
            return [(lane, window)], encoded
        try:
            mels.append(lane.transcription.mel.window(window.seek, window.size))
            work.append((lane, window))
        except AudioError as error:
            failed[lane.index] = error
    return work, inference.encode(np.stack(mels)) if mels else None


def _time_words(inference: Inference, features: AudioFeatures, cuts: Sequence[tuple[_Lane, Cut]]) -> None:
    """Align the windows that have words, all in one call."""
    tokens = [lane.task.alignment_tokens(cut) for lane, cut in cuts]
    spoken = [row for row, each in enumerate(tokens) if each]
    found: Sequence[Alignment] = []
    if spoken:
        eot = cuts[0][0].task.tokenizer.eot
        found = inference.align(features.select(spoken), [tokens[row] for row in spoken], eot)
    alignments: dict[int, Alignment] = dict(zip(spoken, found, strict=True))
    for row, (lane, cut) in enumerate(cuts):
        lane.task.time_words(cut, alignments.get(row))
