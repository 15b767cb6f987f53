"""The public API: what a model does with recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whisper_max.audio.io import STDIN, AudioSource, open_audio, open_channels
from whisper_max.audio.mel import FRAMES_PER_SECOND, MelWindows
from whisper_max.audio.vad import detector_class
from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.warnings import Warn
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.checkpoint.checksum import sha256_of
from whisper_max.decode.contract import Inference
from whisper_max.decode.language import DetectedLanguage, detect_language
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.files.remote import is_remote, local_path
from whisper_max.hardware.forks import check_process
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.channels import AnyRecording, open_channel_recording
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.journal import Journal, audio_identity
from whisper_max.transcribe.known_text import read_known_text, text_of
from whisper_max.transcribe.known_times import KnownTimes
from whisper_max.transcribe.many import ManyRecordings, Outcome
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import MIXED, SEPARATE, TranscribeOptions, check_batch_size
from whisper_max.transcribe.pieces import keep_part
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word
from whisper_max.transcribe.scheduler import transcribe_windows
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.speakers import Diarization, SpeakerCount, TellApart, speaker_count

if TYPE_CHECKING:
    from whisper_max.live.speakers import StreamSpeakers
    from whisper_max.live.transcriber import LiveTranscriber

OnProgress = Callable[[float, float], object]
"""Called with the seconds done and the seconds of the recording, at the start and after each window."""


@dataclass(frozen=True)
class Model:
    """A Whisper model, ready to transcribe; made by ``load_model``.

    It belongs to the process that loaded it: in one that was forked from it, and where it is pickled or copied, its
    methods raise ``DeviceError``.

    inference: the engine. vocabulary: of the same checkpoint. name: the published name, or None.
    weights: the files of the weights. target: where it runs and its dtypes, as ``target_name`` has them.
    as_openai: times may lie after the end of a recording, and its language is that of its first windows, silent or not;
    for the adapter.
    """

    inference: Inference = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    name: str | None = None
    weights: tuple[Path, ...] = ()
    target: str | None = None
    as_openai: bool = field(default=False, repr=False)

    @property
    def dims(self) -> ModelDimensions:
        return self.inference.dims

    @property
    def is_multilingual(self) -> bool:
        """True where the model knows more than English."""
        return self.vocabulary.is_multilingual

    def transcribe(
        self,
        audio: AudioSource,
        *,
        sampling_rate: int | None = None,
        on_segment: Callable[[Segment], object] | None = None,
        on_progress: OnProgress | None = None,
        on_speakers: OnProgress | None = None,
        should_stop: Callable[[], bool] | None = None,
        journal: str | Path | None = None,
        resume: bool = False,
        max_windows: int | None = None,
        options: TranscribeOptions | None = None,
        **fields: Any,
    ) -> TranscriptionResult:
        """Transcribe a recording.

        Args:
            audio: a path, a URL (the extra ``remote``), ``"-"`` for standard input, a binary file, or an array of
                samples: (n_samples,) or (n_samples, n_channels), integers or floats.
            sampling_rate: of an array, in Hz; 16000 where it is not given.
            on_segment: called with each segment as it comes.
            on_progress: called with seconds done and in all, at the start and after each window.
            on_speakers: called so while speakers are told apart, which comes first.
            should_stop: asked before each token; the transcript ends after the last whole window where it returns True.
            journal: a file that keeps what was done; yours to remove once the transcript is safe.
            resume: go on from the journal, where there is one, as if nothing had happened; its segments come first.
            max_windows: decode fewer windows side by side than ``batch_size``, in less memory, to the same transcript.
            options: how to transcribe; None for the defaults.
            fields: of ``TranscribeOptions``, openai-whisper's names and defaults; they replace those of ``options``.

        Raises:
            AudioError: the input is not decodable audio.
            OptionError: an unknown or impossible option.
            JournalError: the journal is damaged, or of another recording, model, version or set of options.
            OutputError: the journal can't be written.
        """
        wanted = self._wanted(options, fields)
        tell_apart = partial(_tell_apart, speaker_file=wanted.speaker_file, on_progress=on_speakers)
        with self._opened(audio, sampling_rate, wanted, journal, resume, tell_apart) as (recording, done):
            segments = []
            for segment in self._segments(recording, done, on_progress, should_stop, max_windows):
                segments.append(segment)
                if on_segment is not None:
                    on_segment(segment)
            result = recording.result(segments)
            result.source = _played(audio)
            return result

    def transcribe_segments(
        self,
        audio: AudioSource,
        *,
        sampling_rate: int | None = None,
        on_progress: OnProgress | None = None,
        on_warning: Warn | None = None,
        journal: str | Path | None = None,
        resume: bool = False,
        options: TranscribeOptions | None = None,
        **fields: Any,
    ) -> Iterator[Segment]:
        """Transcribe a recording, giving out segments as they come; see ``transcribe`` for the rest.

        Closing the iterator ends the work and frees the recording. ``on_warning`` is told, before the first segment,
        what of the recording could not be heard, which a result has as its ``warnings``.
        """
        wanted = self._wanted(options, fields)
        with self._opened(audio, sampling_rate, wanted, journal, resume) as (recording, done):
            if on_warning is not None:
                for warning in recording.warnings:
                    on_warning(warning)
            yield from self._segments(recording, done, on_progress, None)

    def transcribe_part(
        self,
        audio: AudioSource,
        part: int,
        n_parts: int,
        journal: str | Path,
        *,
        resume: bool = False,
        max_windows: int | None = None,
        options: TranscribeOptions | None = None,
        **fields: Any,
    ) -> None:
        """Do one of several parts of a recording, which may be done on several machines, into its journal.

        ``join_journals`` makes one journal of those of all parts, and ``transcribe`` with it and ``resume`` gives what
        it gives without any. Only with a ``batch_size`` above 1 is a recording cut into pieces that need nothing of
        each other; these are what is shared out, so that a part begins and ends where nobody speaks.

        Args:
            audio: as in ``transcribe``; all of it, which every part decodes again.
            part: from 0.
            n_parts: of the recording.
            journal: of the part.
            resume, max_windows, options, fields: as in ``transcribe``.

        Raises:
            OptionError: also where the options don't let a recording be done in parts.
            AudioError, JournalError, OutputError: as ``transcribe``.
        """
        if not 0 <= part < n_parts:
            raise OptionError("no such part", where="part", expected=f"0 to {n_parts - 1}", found=part)
        wanted = self._wanted(options, fields)
        if not wanted.parts_apart:
            expected = "2 or more, and one channel, so that pieces need nothing of each other"
            what = "can't be transcribed in parts"
            raise OptionError(what, where="batch_size", expected=expected, found=wanted.batch_size)
        # Who speaks is not in a journal: it is found once, where the parts are joined.
        with self._opened(audio, None, wanted, journal, resume, lambda *_: Diarization([], later=True)) as (
            opened,
            done,
        ):
            recording = cast(Recording, opened)
            keep_part(recording, part, n_parts)
            for _ in self._segments(recording, done, None, None, max_windows):
                pass

    def transcribe_many(
        self,
        audios: Iterable[AudioSource],
        *,
        batch_size: int = 8,
        sampling_rate: int | None = None,
        on_segment: Callable[[int, Segment], object] | None = None,
        on_progress: Callable[[int, float, float], object] | None = None,
        should_stop: Callable[[], bool] | None = None,
        journal: Callable[[AudioSource], str | Path | None] | None = None,
        resume: bool = False,
        options: TranscribeOptions | None = None,
        **fields: Any,
    ) -> Iterator[Outcome]:
        """Transcribe recordings side by side in one batch, each as ``transcribe`` does it alone.

        Args:
            audios: what ``transcribe`` takes; each is opened when there is room for it, at most ``batch_size``.
            batch_size: windows in the batch, each of another recording, at most 256.
            sampling_rate: of the arrays among them, in Hz; 16000 where it is not given.
            on_segment: called with a recording's place in ``audios`` and each of its segments as it comes.
            on_progress: called with its place, its seconds done and in all, when it is opened and after each window.
            should_stop: asked before each token; what is not finished then is not given out.
            journal: gives each recording the path of its journal, or None for none; no two may share one.
            resume: go on from the journals, where there are any.
            options, fields: as in ``transcribe`` but for batch_size, the same for all recordings.

        Yields:
            the outcome of each recording as soon as it is known. One that fails does not stop the others.

        Raises:
            OptionError: an unknown or impossible option, or one that is impossible for this model.
        """
        check_batch_size(batch_size)
        if resume and journal is None:
            raise OptionError("needs journal", where="resume")
        wanted = transcribe_options(options, fields)
        self.check(wanted)

        def open_one(audio: AudioSource) -> AbstractContextManager[tuple[AnyRecording, list[Segment]]]:
            path = None if journal is None else journal(audio)
            return self._opened(audio, sampling_rate, wanted, path, resume and path is not None)

        many = ManyRecordings(self.inference, audios, open_one, on_segment, on_progress)
        return many.transcribe(batch_size, should_stop)

    def align(
        self,
        audio: AudioSource,
        text: str | PathLike[str],
        *,
        sampling_rate: int | None = None,
        on_progress: OnProgress | None = None,
        options: TranscribeOptions | None = None,
        **fields: Any,
    ) -> TranscriptionResult:
        """Times for every word of a text that is known: a script, lyrics, or subtitles that are to be timed anew.

        The recording is transcribed for that; what it says and the text is silent about is left out.

        Args:
            audio: as ``transcribe`` takes it.
            text: the text itself, or a ``Path`` of a file in UTF-8: srt, vtt and lrc keep their cues, of all else each
                line and each sentence of a line becomes a segment.
            sampling_rate: of an array, in Hz; 16000 where it is not given.
            on_progress: called with seconds done and in all, twice those of the recording.
            options, fields: as in ``transcribe``; words have times whatever they say.

        Returns:
            the text, its words as they are written. The probability of a word that was not heard in its place is low,
            and 0 where the recording has no room for it.

        Raises:
            AlignmentError: the recording does not say the text.
            AudioError: the input is not decodable audio.
            OptionError: there is no word in the text, or an option that is unknown or means nothing here.
        """
        passages = read_known_text(text_of(text))
        wanted = self._wanted(options, {**fields, "word_timestamps": True})
        check_timed(wanted)
        track, strict = wanted.track, wanted.strict
        with open_audio(audio, sampling_rate=sampling_rate, track=track, strict=strict) as waveform:
            recording = open_recording(waveform, self.vocabulary, self.dims.n_mels, wanted, as_openai=self.as_openai)
            recording.begin(self.inference)
            duration = recording.duration

            def advance(seconds: float) -> None:
                if on_progress is not None:
                    on_progress(min(seconds, 2 * duration), 2 * duration)

            segments = self._segments(recording, [], lambda done, _: advance(done), None)
            mel = MelWindows(waveform, self.dims.n_mels)
            times = KnownTimes(self.inference, mel, recording.tokenizer, wanted.punctuation)
            timed = times.align(passages, words_of(segments), lambda seconds: advance(duration + seconds))
            result = recording.result(timed)
            advance(2 * duration)
            result.source = _played(audio)
            result.marked_up = any(passage.marked_up for passage in passages)
            return result

    def live(
        self,
        *,
        sampling_rate: int = SAMPLE_RATE,
        channels: int = 1,
        step: float | None = None,
        buffer: float = 25.0,
        vad: bool | VadOptions | Mapping[str, Any] = True,
        policy: str = "auto",
        margin: float = 0.3,
        sure: float = 0.4,
        whole_windows: bool = False,
        speakers: int | str | None = None,
        progress: Callable[[str], object] | None = None,
        **options: Any,
    ) -> LiveTranscriber:
        """Transcribe while somebody speaks: feed samples to what is returned, and it returns words.

        Args:
            sampling_rate: of what will be fed, in Hz.
            channels: of what will be fed.
            step: least seconds of new audio between two decodings; None: 1 by agreement; by attention
                0.4, or 0.6 where all of the audio is encoded at each.
            buffer: most seconds of audio that are kept, up to 30.
            vad: what counts as speech, or fields of ``VadOptions`` that differ from ``LIVE_VAD``; it takes the extra
                ``vad``. False takes everything as one utterance.
            policy: "agreement" or "attention": what makes words certain. "auto" is by attention for models whose words
                are as right so, and sooner, as was measured: tiny.en.
            margin: with "attention", seconds that a word ended before the audio does.
            sure: with "attention", words less likely than this wait for a second more.
            whole_windows: encode all of the audio at each step, where otherwise only what is near the new sound is.
            speakers: tell speakers apart: how many there are, "MIN-MAX", or "auto"; it takes the extra ``speakers``.
            progress: called with a line for people when a graph must be compiled.
            options: the fields of ``TranscribeOptions`` but those that cut a recording.

        Raises:
            OptionError: an unknown or impossible option, or one whose extra is not installed.
            CheckpointError, HubError: what tells speakers apart can't be had.
            ArtifactError: a graph for that, or of the encoder, can't be compiled or loaded.
        """
        from whisper_max.engine.renewal import renewal_of
        from whisper_max.live.options import LiveOptions, live_policy, live_vad
        from whisper_max.live.transcriber import LiveTranscriber

        check_process()
        renewal = None if whole_windows else renewal_of(self.inference, progress or (lambda line: None))
        policy, step = live_policy(policy, step, self.dims, whole_windows=renewal is None)
        wanted = LiveOptions(transcribe_options(None, options), step, buffer, live_vad(vad), policy, margin, sure)
        return LiveTranscriber(
            self.inference,
            self.vocabulary,
            wanted,
            sampling_rate=sampling_rate,
            channels=channels,
            speakers=None if speakers is None else _online_speakers(speakers),
            window=None if renewal is None else renewal.new_window(),
        )

    def check(self, options: TranscribeOptions | None = None, **fields: Any) -> None:
        """Refuse options that are impossible for this model or this machine, whatever the recording.

        Raises:
            OptionError: such an option, an unknown one, or one that takes the extra ``vad`` or ``speakers``, which is
                not installed.
            DeviceError: this process was forked from the one that loaded the model.
        """
        wanted = self._wanted(options, fields)
        if wanted.vad or wanted.batch_size > 1:
            detector_class()
        if wanted.speakers is not None:
            from whisper_max.speakers.diarize import check_speakers

            check_speakers(wanted.speaker_file)

    def detect_language(self, audio: AudioSource, *, sampling_rate: int | None = None) -> DetectedLanguage:
        """The language of the first 30 s of a recording that are not silent, with the probability of every language.

        Raises:
            AudioError: the input is not decodable audio.
            OptionError: an English-only model has no languages to choose from.
        """
        check_process()
        tokenizer = build_tokenizer(self.vocabulary, multilingual=self.is_multilingual, language=None, task=None)
        with open_audio(audio, sampling_rate=sampling_rate) as waveform:
            (seek,) = [0] if self.as_openai else Sound(waveform, waveform).windows(1)
            window = MelWindows(waveform, self.dims.n_mels).window(seek)
        return detect_language(self.inference, tokenizer, self.inference.encode(window[None]))[0]

    def _wanted(self, options: TranscribeOptions | None, fields: Mapping[str, Any]) -> TranscribeOptions:
        """The options that are asked for, held against the model before a recording is decoded, which may take long."""
        wanted = transcribe_options(options, fields)
        check_process()
        check_options(self.dims, self.vocabulary, wanted)
        return wanted

    @contextmanager
    def _opened(
        self,
        audio: AudioSource,
        sampling_rate: int | None,
        wanted: TranscribeOptions,
        journal: str | Path | None,
        resume: bool,
        tell_apart: TellApart | None = None,
    ) -> Iterator[tuple[AnyRecording, list[Segment]]]:
        """A recording that has begun, and what a journal knows of it already."""
        if resume and journal is None:
            raise OptionError("needs journal", where="resume")
        check_process()
        tell_apart = tell_apart or partial(_tell_apart, speaker_file=wanted.speaker_file)
        with self._decoded(audio, sampling_rate, wanted, tell_apart) as (waveforms, recording):
            recording.begin(self.inference)
            if journal is None:
                yield recording, []
                return
            with closing(Journal(journal, self._header(waveforms, recording), resume=resume)) as opened:
                yield recording, opened.replay(recording)

    @contextmanager
    def _decoded(
        self, audio: AudioSource, sampling_rate: int | None, wanted: TranscribeOptions, tell_apart: TellApart
    ) -> Iterator[tuple[Sequence[Waveform], AnyRecording]]:
        """The waveform of a recording, or those of its channels, and the recording that is made of it."""
        model, track, strict = (self.vocabulary, self.dims.n_mels, wanted), wanted.track, wanted.strict
        if wanted.channels == SEPARATE:
            with open_channels(audio, sampling_rate=sampling_rate, track=track, strict=strict) as channels:
                yield channels, open_channel_recording(channels, *model)
            return
        with open_audio(audio, sampling_rate=sampling_rate, track=track, strict=strict) as waveform:
            yield [waveform], open_recording(waveform, *model, as_openai=self.as_openai, tell_apart=tell_apart)

    def _header(self, waveforms: Sequence[Waveform], recording: AnyRecording) -> dict[str, Any]:
        """All that a transcript depends on."""
        model = {
            "dims": asdict(self.dims),
            "sha256": sha256_of(self.weights) if self.weights else None,
            "target": self.target,
        }
        return {"audio": audio_identity(*waveforms), "model": model, "options": recording.result([]).options}

    def _segments(
        self,
        recording: AnyRecording,
        done: list[Segment],
        on_progress: OnProgress | None,
        should_stop: Callable[[], bool] | None,
        max_windows: int | None = None,
    ) -> Iterator[Segment]:
        def advance(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(min(done, total) / FRAMES_PER_SECOND, total / FRAMES_PER_SECOND)

        advance(*recording.progress)
        yield from done
        yield from transcribe_windows(
            self.inference, recording, max_windows=max_windows, on_progress=advance, should_stop=should_stop
        )


def check_timed(options: TranscribeOptions) -> None:
    """Refuse options that mean nothing where a known text is timed.

    Raises:
        OptionError: such an option.
    """
    for name, plain in (("task", "transcribe"), ("channels", MIXED), ("speakers", None)):
        if getattr(options, name) != plain:
            raise OptionError("a known text is timed as it is said", where=name, expected=plain)


def words_of(segments: Iterable[Segment]) -> list[Word]:
    """The words of all segments, in order."""
    return [word for segment in segments for word in segment.words or ()]


def _played(audio: AudioSource) -> Path | None:
    """The file that a notebook plays; None where it is none of this machine."""
    if not isinstance(audio, str | PathLike) or audio == STDIN:
        return None
    path = fspath(audio)
    return None if is_remote(path) else Path(local_path(path))


def _online_speakers(speakers: int | str) -> StreamSpeakers:
    count = speaker_count(speakers)
    from whisper_max.speakers.online import online_speakers  # slow to import, and needed here only

    return online_speakers(count)


def _tell_apart(
    waveform: Waveform, count: SpeakerCount, *, speaker_file: str | None, on_progress: OnProgress | None = None
) -> Diarization:
    from whisper_max.speakers.diarize import tell_apart  # slow to import, and needed here only

    return tell_apart(waveform, count, on_progress, speaker_file=speaker_file)


def transcribe_options(options: TranscribeOptions | None, fields: Mapping[str, Any]) -> TranscribeOptions:
    """Options with some fields replaced by name.

    Raises:
        OptionError: a name that is no option, or a value that is impossible.
    """
    known = TranscribeOptions.__dataclass_fields__
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise OptionError("unknown option", where=", ".join(unknown), expected=f"one of {', '.join(known)}")
    if options is None:
        return TranscribeOptions(**fields)
    return replace(options, **fields) if fields else options
