"""One recording being transcribed: its mel, its language, its pieces, and what is done of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from whisper_max.audio.mel import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES
from whisper_max.decode.inference import AudioFeatures, Float32, Inference
from whisper_max.decode.language import DetectedLanguage, check_translation, detect_language, most_likely_language
from whisper_max.decode.task import DecodingTask
from whisper_max.errors import JournalError, OptionError
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer
from whisper_max.transcribe.clips import seek_clips
from whisper_max.transcribe.cut import Cut, Window
from whisper_max.transcribe.file_task import FileTask
from whisper_max.transcribe.journal import Journal
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.transcribe.speech import Speech


class Mel(Protocol):
    """A recording's log-mel by windows (``whisper_max.audio.mel.MelWindows``)."""

    @property
    def n_frames(self) -> int:
        """Frames of the recording, 10 ms each."""
        ...

    def window(self, seek: int, segment_size: int = N_FRAMES) -> Float32:
        """(n_mels, 3000) float32: ``segment_size`` frames from ``seek`` on, zeros after them."""
        ...


class Transcription:
    """One recording being transcribed.

    Args:
        inference: the model; it is asked for the language where the options give none.
        vocabulary: of the same checkpoint.
        mel: of the recording, or of its speech.
        options: of the transcription.
        speech: what ``listen`` found, for options that ask for it.

    Attributes:
        tokenizer: of the recording's language.
        detected: that language; None where it was given, or where nothing is said.
        tasks: the recording as a whole, or its pieces where the batch size is above 1.

    Raises:
        OptionError: an option that is impossible for this model or this recording.
    """

    def __init__(
        self,
        inference: Inference,
        vocabulary: Vocabulary,
        mel: Mel,
        options: TranscribeOptions | None = None,
        speech: Speech | None = None,
    ) -> None:
        self.mel = mel
        self.options = options or TranscribeOptions()
        self.detected: DetectedLanguage | None = None
        self._speech = speech
        self._start: AudioFeatures | None = None
        self._journal: Journal | None = None
        check_model(inference, vocabulary, self.options)
        self.tokenizer = self._build_tokenizer(inference, vocabulary)
        self._language = "" if self._is_undetectable(inference) else self.tokenizer.language or "en"
        self.tasks = self._split(inference.dims.n_text_ctx)
        self._waiting: list[list[Segment]] = [[] for _ in self.tasks]
        self._first = 0  # the first task that is not done: its segments need not wait
        self._n_segments = 0

    def _is_undetectable(self, inference: Inference) -> bool:
        """True where there is nothing to tell the language from: no sample, or no speech."""
        return self.mel.n_frames == 0 and self.options.language is None and inference.dims.is_multilingual

    def _build_tokenizer(self, inference: Inference, vocabulary: Vocabulary) -> Tokenizer:
        language, task = self.options.language, self.options.task
        multilingual = inference.dims.is_multilingual
        tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=language, task=task)
        if language is not None or not multilingual or self._is_undetectable(inference):
            return tokenizer
        windows = self._detect(inference, tokenizer)
        self.detected = most_likely_language(windows, self.options.language_detection_threshold)
        return build_tokenizer(vocabulary, multilingual=True, language=self.detected.code, task=task)

    def _detect(self, inference: Inference, tokenizer: Tokenizer) -> Iterator[DetectedLanguage]:
        """The language of each of the first windows, when asked for."""
        n_windows = min(self.options.language_detection_segments, max(1, -(-self.mel.n_frames // N_FRAMES)))
        for seek in range(0, n_windows * N_FRAMES, N_FRAMES):
            features = inference.encode(self.mel.window(seek)[None])
            if seek == 0 and self.mel.n_frames >= N_FRAMES:  # a shorter recording's first window has other padding
                self._start = features
            yield detect_language(inference, tokenizer, features)[0]

    def _split(self, n_text_ctx: int) -> list[FileTask]:
        """The tasks of the recording."""
        n_frames, speech, options = self.mel.n_frames, self._speech, self.options
        if speech is None:
            return [FileTask(n_frames, n_text_ctx, self.tokenizer, options)]
        clips = speech.clips(seek_clips(options.clip_seconds(), self._n_recorded_frames))
        parts = [clips] if options.batch_size == 1 else [[piece] for piece in speech.pieces(clips)]
        return [FileTask(n_frames, n_text_ctx, self.tokenizer, options, part) for part in parts]

    @property
    def _n_recorded_frames(self) -> int:
        if self._speech is None or self._speech.timeline is None:
            return self.mel.n_frames
        return self._speech.timeline.n_recorded // HOP_LENGTH

    @property
    def language(self) -> str:
        """The code of the recording's language; empty where nothing is said and no language was given."""
        return self._language

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self._n_recorded_frames / FRAMES_PER_SECOND

    @property
    def duration_after_vad(self) -> float | None:
        """Seconds of speech; None where silence is transcribed too."""
        if self._speech is None or self._speech.timeline is None:
            return None
        return self.mel.n_frames / FRAMES_PER_SECOND

    @property
    def done(self) -> bool:
        """True where no window is left."""
        return all(task.done for task in self.tasks[self._first :])

    @property
    def progress(self) -> tuple[int, int]:
        """Mel frames of the recording that are done, as they would come one after the other, and all of them."""
        total = self._n_recorded_frames
        if self.done:
            return total, total
        return min(self._recorded_frame(self.tasks[self._first].seek), total), total

    def _recorded_frame(self, frame: int) -> int:
        return frame if self._speech is None else self._speech.recorded_frame(frame)

    def features_of(self, window: Window) -> AudioFeatures | None:
        """The window's features where language detection has already encoded it; once."""
        start, self._start = self._start, None
        return start if (window.seek, window.size) == (0, N_FRAMES) else None

    def replay(self, journal: Journal) -> list[Segment]:
        """Do again what a journal holds, and write what comes after it there.

        Raises:
            JournalError: the journal's windows are not those of this transcription.
        """
        segments = []
        for number, cut in enumerate(journal.cuts, start=1):
            task = next((task for task in self.tasks if task.next_window() == cut.window), None)
            if task is None:
                raise JournalError(f"window {number} does not follow from those before", where=journal.path)
            segments += self.commit(task, cut)
        self._journal = journal
        return segments

    def commit(self, task: FileTask, cut: Cut) -> list[Segment]:
        """Accept the cut of a task's window, once the journal has it.

        Returns:
            the segments that are next in the recording, with their ids and with times in the recording. Those of a
            piece wait until the pieces before it are done.
        """
        if self._journal is not None:
            self._journal.append(cut)
        self._waiting[self.tasks.index(task)] += task.commit(cut)
        segments = self._waiting[self._first]
        self._waiting[self._first] = []
        while self.tasks[self._first].done and self._first + 1 < len(self.tasks):
            self._first += 1
            segments += self._waiting[self._first]
            self._waiting[self._first] = []
        for segment in segments:
            segment.id = self._n_segments
            self._n_segments += 1
        if self._speech is not None:
            self._speech.restore(segments)
        return segments

    def result(self, segments: Sequence[Segment]) -> TranscriptionResult:
        """The whole transcript, from all of its segments."""
        tokens = [token for segment in segments for token in segment.tokens]
        return TranscriptionResult(
            text=self.tokenizer.decode(tokens),
            segments=list(segments),
            language=self.language,
            language_probability=self.language_probability,
            duration=self.duration,
            duration_after_vad=self.duration_after_vad,
            options=self.options.to_dict() | {"language": self.language},
        )

    @property
    def language_probability(self) -> float:
        """1.0 where the language was given; 0.0 where nothing is said to tell it from."""
        if self.detected is not None:
            return self.detected.probability
        return 1.0 if self.language else 0.0


def check_model(inference: Inference, vocabulary: Vocabulary, options: TranscribeOptions) -> None:
    """Refuse options that are impossible for a model, whatever the recording.

    Raises:
        OptionError: such an option.
    """
    multilingual = inference.dims.is_multilingual
    if options.multilingual and not multilingual:
        raise OptionError(
            "an English-only model can't detect languages", where="multilingual", hint="take a model without .en"
        )
    tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=options.task)
    check_translation(inference.dims, options.task)
    DecodingTask(inference.dims, tokenizer, options.ladder())  # hotwords and prefix fit, suppressed tokens exist
