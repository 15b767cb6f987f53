"""One recording being transcribed: its mel, its language, its pieces, and what is done of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import Waveform
from whisper_max.decode.attempt import DecodingTask
from whisper_max.decode.contract import Align, AudioFeatures, Inference
from whisper_max.decode.language import DetectedLanguage
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer
from whisper_max.transcribe.clips import clip_warnings, seek_clips
from whisper_max.transcribe.closing import whole_result
from whisper_max.transcribe.doubted import Doubted
from whisper_max.transcribe.language import find_language
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import TranscriptionResult
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.speech import Speech
from whisper_max.transcribe.tidy import Tidy
from whisper_max.transcribe.window import Cut, Mel, Piece, Window
from whisper_max.transcribe.words import time_words

if TYPE_CHECKING:
    from whisper_max.transcribe.journal import Journal


class Recording:
    """One recording being transcribed; ``begin`` comes first.

    Args:
        vocabulary: of the model.
        mel: of the recording, or of its speech.
        options: of the transcription, checked by ``check_options``.
        speech: what ``listen`` found, for options that ask for it.
        warnings: what was found while the recording was decoded.
        tidy: gives segments their final form; with it, silent windows are passed over when the language is looked for.
            Without, all is as openai-whisper has it.
        channel: the number from 0 of the channel that this is, of several that are transcribed one by one.
        heard: what is transcribed: all of it, or its speech; None where nothing but the mel is known.

    Attributes:
        tokenizer: of the recording's language.
        language: its code; empty where nothing is said and no language was given.
        detected: that language; None where it was given, or where nothing is said.
        decoding: how its windows are decoded.
        pieces: the recording as a whole, or its pieces where the batch size is above 1.
        waiting: those that have a window to decode and are not being decoded.
        warnings: those given, and those of clips and loops.
        journal: has every cut before it is accepted; None where none is kept.
        doubted: what the guard doubts; None where there is none.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        mel: Mel,
        options: TranscribeOptions,
        speech: Speech | None = None,
        warnings: Sequence[AudioWarning] = (),
        tidy: Tidy | None = None,
        channel: int | None = None,
        heard: Waveform | None = None,
    ) -> None:
        self.mel = mel
        self.options = options
        self.speech = speech
        self.channel = channel
        self.heard = heard
        self.detected: DetectedLanguage | None = None
        self.warnings = list(warnings)
        self.waiting: deque[Piece] = deque()
        self.journal: Journal | None = None
        self._vocabulary = vocabulary
        self.tidy = tidy
        self.doubted: Doubted | None = None
        self._encoded: AudioFeatures | None = None  # the first window, where its language was looked for
        self._first = 0  # the first piece that is not done: its segments need not wait
        self._n_segments = 0

    def scale(self) -> None:
        """Look for the loudest value of the mel now, which takes a pass over the recording, and not with a window."""
        self.mel.window(0)

    def begin(self, inference: Inference) -> None:
        """Find the language, where the options don't give it, and the pieces; the encoder may be needed.

        Raises:
            OptionError: a clip is not inside the recording.
        """
        options, multilingual = self.options, self._vocabulary.is_multilingual
        self.tokenizer = self._tokenizer(options.language)
        self.language = self.tokenizer.language or "en"
        if options.language is None and multilingual:
            self._detect_language(inference)
        guards = options.guard != "off"
        self.doubted = Doubted(inference) if guards else None
        self.decoding = DecodingTask(
            inference.dims, self.tokenizer, options.decodings, options.thresholds, forbids_loops=guards
        )
        clips = [(0, self.n_recorded_frames)]
        if options.clip_seconds != [0.0]:  # not the whole of it
            clips = seek_clips(options.clip_seconds, self.n_recorded_frames, strict=options.strict)
            self.warnings += clip_warnings(options.clip_seconds, self.n_recorded_frames)
        n_text_ctx = inference.dims.n_text_ctx
        if self.speech is None:
            self.pieces = [Piece(self.mel.n_frames, n_text_ctx, self.tokenizer, options, clips, self.channel or 0)]
        else:
            self.pieces = self.speech.pieces(self, n_text_ctx, clips)
        self._finished: list[list[Segment]] = [[] for _ in self.pieces]  # segments that wait for pieces before theirs
        self.wait()

    def _tokenizer(self, language: str | None) -> Tokenizer:
        vocabulary, task = self._vocabulary, self.options.task
        return build_tokenizer(vocabulary, multilingual=vocabulary.is_multilingual, language=language, task=task)

    def _detect_language(self, inference: Inference) -> None:
        if self.mel.n_frames == 0:  # no sample, or no speech: there is nothing to tell it from
            self.language = ""
            return
        sound = None if self.tidy is None else self.tidy.sound
        self.detected, self._encoded = find_language(inference, self.tokenizer, self.mel, self.options, sound)
        self.language = self.detected.code
        self.tokenizer = self._tokenizer(self.language)

    def wait(self) -> None:
        """Let every piece that has a window wait for a slot."""
        self.waiting = deque(piece for piece in self.pieces if not piece.done)

    def recorded_frame(self, frame: int) -> int:
        """Where in the recording a frame of its mel is, which may be of its speech alone."""
        return frame if self.speech is None else self.speech.recorded_frame(frame)

    @property
    def n_recorded_frames(self) -> int:
        """Mel frames of the recording, those without speech included."""
        return self.mel.n_frames if self.speech is None else self.speech.n_recorded_frames(self.mel.n_frames)

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self.n_recorded_frames / FRAMES_PER_SECOND

    @property
    def channels(self) -> list[Recording]:
        """The recordings of its channels, each of which has pieces; here the recording itself."""
        return [self]

    @property
    def n_side_by_side(self) -> int:
        """Most windows of it that are decoded together."""
        return min(self.options.batch_size, len(self.pieces))

    @property
    def done(self) -> bool:
        """True where no window is left."""
        return all(piece.done for piece in self.pieces[self._first :])

    @property
    def progress(self) -> tuple[int, int]:
        """Mel frames of the recording that are done, as they would come one after the other, and all of them."""
        total = self.n_recorded_frames
        return total if self.done else min(self.recorded_frame(self.pieces[self._first].seek), total), total

    def encoded(self, window: Window) -> AudioFeatures | None:
        """The window's features where they were made when the language was looked for; once."""
        features, self._encoded = self._encoded, None
        return features if (window.seek, window.size) == (0, N_FRAMES) else None

    def refine(self, piece: Piece, cut: Cut, align: Align) -> None:
        """Give a cut what the options ask for beside its segments: words, and doubts whether they were said."""
        if self.options.word_timestamps:
            time_words(piece, cut, align)
        elif self.tidy is not None:
            self.tidy.attach_words(self, piece, cut, align)
        if self.doubted is not None:
            self.doubted.judge(self, piece, cut, align)

    def commit(self, piece: Piece, cut: Cut) -> list[Segment]:
        """Accept the cut of a piece's window, once the journal has it.

        Returns:
            the segments that are next in the recording, with their ids and with times in the recording. Those of a
            piece wait until the pieces before it are done.
        """
        if self.journal is not None:
            self.journal.append(cut)
        self._finished[self.pieces.index(piece)] += piece.commit(cut)
        if self.doubted is not None:
            self.doubted.note(self, cut)
        segments, self._finished[self._first] = self._finished[self._first], []
        while self.pieces[self._first].done and self._first + 1 < len(self.pieces):
            self._first += 1
            segments += self._finished[self._first]
            self._finished[self._first] = []
        if self.speech is not None:
            self.speech.restore(segments)
        if self.tidy is not None:
            segments = self.tidy.tidied(self, segments)
        for segment in segments:
            segment.id = self._n_segments
            self._n_segments += 1
        return segments

    def result(self, segments: Sequence[Segment]) -> TranscriptionResult:
        """The whole transcript, from all of its segments."""
        return whole_result(self, segments)

    @property
    def language_probability(self) -> float:
        """1.0 where the language was given; 0.0 where nothing is said to tell it from."""
        if self.detected is not None:
            return self.detected.probability
        return 1.0 if self.language else 0.0
