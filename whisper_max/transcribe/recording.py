"""One recording being transcribed: its mel, its language, its pieces, and what is done of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from whisper_max.audio.mel import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES, MelWindows
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import Waveform
from whisper_max.decode.attempt import DecodingTask
from whisper_max.decode.contract import AudioFeatures, Inference
from whisper_max.decode.decoded import Loop
from whisper_max.decode.language import DetectedLanguage
from whisper_max.errors import JournalError, OptionError
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.clips import clip_warnings, seek_clips
from whisper_max.transcribe.journal import Journal
from whisper_max.transcribe.journal_records import is_possible
from whisper_max.transcribe.language import find_language
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.speakers import TellApart
from whisper_max.transcribe.speech import Speech, listen
from whisper_max.transcribe.tidy import keep_within, tidied
from whisper_max.transcribe.turns import Turns
from whisper_max.transcribe.window import Cut, Mel, Piece, Window

_SHOWN = 60  # characters of a loop in a message


def open_recording(
    waveform: Waveform,
    vocabulary: Vocabulary,
    n_mels: int,
    options: TranscribeOptions,
    *,
    as_openai: bool = False,
    channel: int | None = None,
    tell_apart: TellApart | None = None,
) -> Recording:
    """A recording that waits for its model: what of it is to be transcribed, found where the options ask for that.

    Args:
        waveform: stays open as long as the recording is used.
        vocabulary, n_mels: of the model.
        options: checked by ``check_options``.
        as_openai: look for the language in silent windows too, and leave segments as openai-whisper has them.
        channel: which one it is, of several that are put together.
        tell_apart: finds the speakers, where the options ask for them.

    Raises:
        OptionError: the extra ``vad`` is not installed, or speakers are asked for and can't be told apart.
        AudioError: a spooled recording can't be read back.
    """
    found, count = None, options.speaker_count
    if count is not None:
        if as_openai or tell_apart is None:
            raise OptionError("speakers are not told apart here", where="speakers", found=repr(options.speakers))
        found = tell_apart(waveform, count)
    heard, speech = listen(waveform, options)
    sound = None if as_openai else Sound(waveform, heard)
    mel, warnings = MelWindows(heard, n_mels), [*waveform.warnings, *(found.warnings if found else ())]
    turns = Turns(found.turns, found.names) if found else None
    return Recording(vocabulary, mel, options, speech, warnings, sound, turns, channel=channel, heard=heard)


class Recording:
    """One recording being transcribed; ``begin`` comes first.

    Args:
        vocabulary: of the model.
        mel: of the recording, or of its speech.
        options: of the transcription, checked by ``check_options``.
        speech: what ``listen`` found, for options that ask for it.
        warnings: what was found while the recording was decoded.
        sound: of the recording. With it, silent windows are passed over when the language is looked for, and segments
            end with the recording, break at pauses and have elided words whole; without, all is as openai-whisper has
            it.
        turns: who speaks when, where that is known: segments are split where speakers change. It takes ``sound``.
        channel: the number from 0 of the channel that this is, of several that are transcribed one by one and put
            together: segments have words for that, whatever the options ask for.
        heard: what is transcribed: all of it, or its speech; None where nothing but the mel is known.

    Attributes:
        speech: as given.
        tokenizer: of the recording's language.
        language: its code; empty where nothing is said and no language was given.
        detected: that language; None where it was given, or where nothing is said.
        decoding: how its windows are decoded.
        pieces: the recording as a whole, or its pieces where the batch size is above 1.
        waiting: those that have a window to decode and are not being decoded.
        warnings: those given, and those of clips.
        dropped: segments that the guard left out, with times in the recording.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        mel: Mel,
        options: TranscribeOptions,
        speech: Speech | None = None,
        warnings: Sequence[AudioWarning] = (),
        sound: Sound | None = None,
        turns: Turns | None = None,
        channel: int | None = None,
        heard: Waveform | None = None,
    ) -> None:
        self.mel = mel
        self.heard = heard
        self.options = options
        self.detected: DetectedLanguage | None = None
        self.warnings = list(warnings)
        self.waiting: deque[Piece] = deque()
        self.dropped: list[Segment] = []
        self._vocabulary = vocabulary
        self.speech = speech
        self._sound = sound
        self._turns = turns
        self.channel = channel
        self._encoded: AudioFeatures | None = None  # the first window, where its language was looked for
        self._journal: Journal | None = None
        self._part: tuple[int, int] = (0, 1)
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
        options, vocabulary = self.options, self._vocabulary
        task, multilingual = options.task, vocabulary.is_multilingual
        tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=task)
        self.language = tokenizer.language or "en"
        if options.language is None and multilingual:
            if self.mel.n_frames == 0:  # no sample, or no speech: there is nothing to tell it from
                self.language = ""
            else:
                self.detected, self._encoded = find_language(inference, tokenizer, self.mel, options, self._sound)
                self.language = self.detected.code
                tokenizer = build_tokenizer(vocabulary, multilingual=True, language=self.language, task=task)
        self.tokenizer = tokenizer
        guards = options.guard != "off"
        self.decoding = DecodingTask(
            inference.dims, tokenizer, options.decodings, options.thresholds, forbids_loops=guards
        )
        self.pieces = self._split(inference.dims.n_text_ctx)
        self.warnings += clip_warnings(options.clip_seconds, self._n_recorded_frames)
        self._finished: list[list[Segment]] = [[] for _ in self.pieces]  # segments that wait for pieces before theirs
        self.wait()

    def _split(self, n_text_ctx: int) -> list[Piece]:
        n_frames, speech, options = self.mel.n_frames, self.speech, self.options
        if speech is None:
            return [Piece(n_frames, n_text_ctx, self.tokenizer, options, channel=self.channel or 0)]
        clips = speech.clips(seek_clips(options.clip_seconds, self._n_recorded_frames, strict=options.strict))
        if options.batch_size == 1:
            return [Piece(n_frames, n_text_ctx, self.tokenizer, options, clips, channel=self.channel or 0)]
        return [
            Piece(n_frames, n_text_ctx, self.tokenizer, options, [part.clip], part.speech_end, self.channel or 0)
            for part in speech.parts(clips)
        ]

    def wait(self) -> None:
        """Let every piece that has a window wait for a slot."""
        self.waiting = deque(piece for piece in self._own_pieces() if not piece.done)

    def keep_part(self, part: int, n_parts: int) -> None:
        """Do only the pieces of one of several parts, from 0, of about as many pieces each; the others stay undone."""
        self._part = part, n_parts
        self.wait()

    def _own_pieces(self) -> list[Piece]:
        part, n_parts = self._part
        n_pieces = len(self.pieces)
        return self.pieces[n_pieces * part // n_parts : n_pieces * (part + 1) // n_parts]

    @property
    def _n_recorded_frames(self) -> int:
        if self.speech is None or self.speech.timeline is None:
            return self.mel.n_frames
        return self.speech.timeline.n_recorded // HOP_LENGTH

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self._n_recorded_frames / FRAMES_PER_SECOND

    @property
    def duration_after_vad(self) -> float | None:
        """Seconds of speech; None where silence is transcribed too."""
        if self.speech is None or self.speech.timeline is None:
            return None
        return self.mel.n_frames / FRAMES_PER_SECOND

    def part(self, _piece: Piece) -> Recording:
        """The recording of a piece."""
        return self

    @property
    def n_side_by_side(self) -> int:
        """Most windows of it that are decoded together."""
        return min(self.options.batch_size, len(self.pieces))

    @property
    def done(self) -> bool:
        """True where no window is left."""
        if self._part != (0, 1):
            return all(piece.done for piece in self._own_pieces())
        return all(piece.done for piece in self.pieces[self._first :])

    @property
    def progress(self) -> tuple[int, int]:
        """Mel frames of the recording that are done, as they would come one after the other, and all of them."""
        total = self._n_recorded_frames
        if self.done:
            return total, total
        seek = self.pieces[self._first].seek
        return min(seek if self.speech is None else self.speech.recorded_frame(seek), total), total

    def encoded(self, window: Window) -> AudioFeatures | None:
        """The window's features where they were made when the language was looked for; once."""
        features, self._encoded = self._encoded, None
        return features if (window.seek, window.size) == (0, N_FRAMES) else None

    def replay(self, journal: Journal) -> list[Segment]:
        """Do again what a journal holds, and write what comes after it there.

        Raises:
            JournalError: the journal's windows are not those of this transcription.
        """
        segments = [segment for number in range(len(journal.cuts)) for segment in self.redo(journal, number)]
        self.keep(journal)
        return segments

    def redo(self, journal: Journal, number: int) -> list[Segment]:
        """Accept the cut of a journal with this number from 0; errors as ``replay``, and returns as ``commit``."""
        cut = journal.cuts[number]
        piece = next((piece for piece in self.pieces if piece.next_window() == cut.window), None)
        if piece is None:
            raise JournalError(f"window {number + 1} does not follow from those before", where=journal.path)
        if not is_possible(cut, self.mel.n_frames, self.tokenizer):
            raise JournalError(f"window {number + 1} is not one of this model's", where=journal.path)
        return self.commit(piece, cut)

    def keep(self, journal: Journal) -> None:
        """Write what comes from now on to a journal."""
        self._journal = journal

    def commit(self, piece: Piece, cut: Cut) -> list[Segment]:
        """Accept the cut of a piece's window, once the journal has it.

        Returns:
            the segments that are next in the recording, with their ids and with times in the recording. Those of a
            piece wait until the pieces before it are done.
        """
        if self._journal is not None:
            self._journal.append(cut)
        self._finished[self.pieces.index(piece)] += piece.commit(cut)
        self._drop(cut.dropped)
        self.warnings += [self._loop_warning(cut, loop) for loop in cut.result.loops]
        segments = self._take_finished()
        while self.pieces[self._first].done and self._first + 1 < len(self.pieces):
            self._first += 1
            segments += self._take_finished()
        if self.speech is not None:
            self.speech.restore(segments)
        if self._sound is not None:
            parts = self.speech is not None
            how = self._sound, self.tokenizer, self.options, self.duration
            keep_words = self.options.word_timestamps or self.channel is not None
            segments = tidied(segments, *how, parts=parts, keep_words=keep_words, turns=self._turns)
        for segment in segments:
            segment.id = self._n_segments
            self._n_segments += 1
        return segments

    def _drop(self, segments: Sequence[Segment]) -> None:
        if self.speech is not None:
            self.speech.restore(segments)
        keep_within(segments, self.duration)
        for segment in segments:
            segment.words = segment.words if self.options.word_timestamps else None
            self.dropped.append(segment)

    def _dropped_in_order(self) -> list[Segment]:
        """What was left out, as it comes in the recording, whichever of its pieces were done first."""
        dropped = sorted(self.dropped, key=lambda segment: (segment.start, segment.end, segment.seek))
        for id, segment in enumerate(dropped):
            segment.id = id
        return dropped

    def _loop_warning(self, cut: Cut, loop: Loop) -> AudioWarning:
        first, last = cut.window.seek, cut.window.seek + cut.window.size
        if self.speech is not None:
            first, last = self.speech.recorded_frame(first), self.speech.recorded_frame(last)
        start, end = first / FRAMES_PER_SECOND, min(last / FRAMES_PER_SECOND, self.duration)
        text = self.tokenizer.decode(loop.tokens).strip()
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        message = f"{start:.2f} to {end:.2f} s: decoded again without {loop.repeats} times {shown!r}, which nobody says"
        return AudioWarning("loop", start, end, message)

    def _take_finished(self) -> list[Segment]:
        segments, self._finished[self._first] = self._finished[self._first], []
        return segments

    def wants_words(self, cut: Cut) -> bool:
        """True where segments can't be ended and broken as they are to be without the times of their words."""
        if self._sound is None or cut.skipped:
            return False
        if self.options.align_segments or self._turns is not None or self.channel is not None:
            return True
        return self.speech is not None and self.speech.is_parted(cut.segments)

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
            warnings=[*self.warnings, *self._dropped_warnings(), *(self._sound.early(segments) if self._sound else ())],
            dropped=self._dropped_in_order(),
        )

    def _dropped_warnings(self) -> list[AudioWarning]:
        """That text was left out, once, however much there is of it."""
        if not self.dropped:
            return []
        start, end = min(each.start for each in self.dropped), max(each.end for each in self.dropped)
        seconds = sum(each.end - each.start for each in self.dropped)
        what = f"{len(self.dropped)} segments, {seconds:.1f} s" if len(self.dropped) > 1 else f"{seconds:.1f} s"
        message = f"{start:.2f} to {end:.2f} s: text of {what} is left out, which the audio does not support"
        return [AudioWarning("dropped", start, end, message)]

    @property
    def language_probability(self) -> float:
        """1.0 where the language was given; 0.0 where nothing is said to tell it from."""
        if self.detected is not None:
            return self.detected.probability
        return 1.0 if self.language else 0.0
