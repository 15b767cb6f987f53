"""Transcribing recordings window after window: one alone, or several side by side in one batch.

Every recording keeps its own seek, prompt and fallback, so side by side gives what one by one gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.decode.inference import AudioFeatures, Float32, Inference
from whisper_max.decode.language import DetectedLanguage, detect_language
from whisper_max.decode.result import DecodingResult
from whisper_max.decode.task import DecodeRequest, decode_windows
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.file_task import FileTask, Window
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, TranscriptionResult


class Mel(Protocol):
    """A recording's log-mel by windows (``whisper_max.audio.mel.MelWindows``)."""

    @property
    def n_frames(self) -> int:
        """Frames of the recording, 10 ms each."""
        ...

    def window(self, seek: int, segment_size: int = N_FRAMES) -> Float32:
        """(n_mels, 3000) float32: ``segment_size`` frames from ``seek`` on, zeros after them."""
        ...


Progress = Callable[[int, int], None]
"""Called with the frames done and the frames of the recording, after each window."""


class Transcription:
    """One recording being transcribed: its mel, its language, and the state of the work.

    Args:
        inference: the model; it is asked for the language where the options give none.
        vocabulary: of the same checkpoint.
        mel: the recording.
        options: of the transcription.

    Raises:
        OptionError: an option that is impossible for this model or this recording.
    """

    def __init__(
        self, inference: Inference, vocabulary: Vocabulary, mel: Mel, options: TranscribeOptions | None = None
    ) -> None:
        self.mel = mel
        self.options = options or TranscribeOptions()
        self.detected: DetectedLanguage | None = None
        language, task = self.options.language, self.options.task
        multilingual = inference.dims.is_multilingual
        tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=language, task=task)
        self._start: AudioFeatures | None = None
        if language is None and multilingual:
            features = inference.encode(mel.window(0)[None])
            self.detected = detect_language(inference, tokenizer, features)[0]
            tokenizer = build_tokenizer(vocabulary, multilingual=True, language=self.detected.code, task=task)
            if mel.n_frames >= N_FRAMES:  # a shorter recording's first window has other padding
                self._start = features
        self.task = FileTask(mel.n_frames, inference.dims.n_text_ctx, tokenizer, self.options)

    @property
    def language(self) -> str:
        """The code of the recording's language."""
        return self.task.tokenizer.language or "en"

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.mel.n_frames / FRAMES_PER_SECOND

    def features_of(self, window: Window) -> AudioFeatures | None:
        """The window's features where language detection has already encoded it; once."""
        start, self._start = self._start, None
        return start if (window.seek, window.size) == (0, N_FRAMES) else None

    def result(self, segments: Sequence[Segment]) -> TranscriptionResult:
        """The whole transcript, from all of its segments."""
        tokens = [token for segment in segments for token in segment.tokens]
        return TranscriptionResult(
            text=self.task.tokenizer.decode(tokens),
            segments=list(segments),
            language=self.language,
            language_probability=self.detected.probability if self.detected else 1.0,
            duration=self.duration,
            options=self.options.to_dict() | {"language": self.language},
        )


def transcribe_windows(
    inference: Inference,
    transcription: Transcription,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Segment]:
    """Transcribe one recording, giving out segments as they come.

    Args:
        on_progress: called after each window.
        should_stop: asked before each window; where it returns True, nothing more comes.
    """
    for _, segments in transcribe_side_by_side(
        inference,
        [transcription],
        max_windows=1,
        on_progress=lambda _, *done: on_progress and on_progress(*done),
        should_stop=should_stop,
    ):
        yield from segments


def transcribe_side_by_side(
    inference: Inference,
    transcriptions: Sequence[Transcription],
    *,
    max_windows: int,
    on_progress: Callable[[int, int, int], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, list[Segment]]]:
    """Transcribe recordings of the same options in one batch, at most ``max_windows`` of them at a time.

    Yields:
        the index of a recording, and the segments of its next window.
    """
    waiting = list(range(len(transcriptions)))[::-1]
    active: list[int] = []
    while not (should_stop and should_stop()):
        windows: dict[int, Window] = {}
        for index in active:
            if (window := transcriptions[index].task.next_window()) is not None:
                windows[index] = window
        while waiting and len(windows) < max_windows:
            index = waiting.pop()
            if (window := transcriptions[index].task.next_window()) is not None:
                windows[index] = window
        if not windows:
            return
        active = list(windows)
        results = _decode(inference, [transcriptions[index] for index in active], list(windows.values()))
        for index, window, result in zip(active, windows.values(), results, strict=True):
            task = transcriptions[index].task
            segments = task.commit(task.cut(window, result))
            if on_progress is not None:
                on_progress(index, task.seek, task.n_frames)
            yield index, segments


def _decode(
    inference: Inference, transcriptions: Sequence[Transcription], windows: Sequence[Window]
) -> list[DecodingResult]:
    """Encode and decode one window of each recording."""
    options = transcriptions[0].options
    features = transcriptions[0].features_of(windows[0]) if len(windows) == 1 else None
    if features is None:
        mels = [
            transcription.mel.window(window.seek, window.size)
            for transcription, window in zip(transcriptions, windows, strict=True)
        ]
        features = inference.encode(np.stack(mels))
    requests = [
        DecodeRequest(row, window.prompt, (window.seek,), transcription.task.tokenizer.language)
        for row, (transcription, window) in enumerate(zip(transcriptions, windows, strict=True))
    ]
    tokenizer = transcriptions[0].task.tokenizer
    return decode_windows(inference, tokenizer, features, requests, options.ladder(), options.thresholds)
