"""The public API: load a model, transcribe recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from whisper_max.audio.io import AudioSource, open_audio
from whisper_max.audio.mel import FRAMES_PER_SECOND, MelWindows
from whisper_max.audio.vad import VadOptions, detector_class
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.bundle import read_bundle
from whisper_max.checkpoint import read_checkpoint, resolve
from whisper_max.checkpoint.checksum import sha256_of
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.decode.language import DetectedLanguage, detect_language
from whisper_max.dims import ModelDimensions
from whisper_max.engine import Target, WhisperEngine, check_utilization, open_engine, select_target
from whisper_max.engine.engine import compute_type_for
from whisper_max.errors import OptionError
from whisper_max.live.options import LiveOptions, live_vad
from whisper_max.live.transcriber import LiveTranscriber
from whisper_max.many import ManyRecordings, Outcome
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.journal import Journal, audio_identity
from whisper_max.transcribe.options import TranscribeOptions, check_batch_size
from whisper_max.transcribe.result import Segment, TranscriptionResult
from whisper_max.transcribe.sequential import transcribe_windows
from whisper_max.transcribe.speech import listen
from whisper_max.transcribe.transcription import Transcription, check_model

OnProgress = Callable[[float, float], object]
"""Called with the seconds done and the seconds of the recording, at the start and after each window."""


@dataclass(frozen=True)
class Model:
    """A Whisper model, ready to transcribe; made by ``load_model``.

    inference: the engine. vocabulary: of the same checkpoint. name: the published name, or None.
    weights: the files of the weights. target: where it runs and its dtypes, as ``target_name`` has them.
    """

    inference: WhisperEngine = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    name: str | None = None
    weights: tuple[Path, ...] = ()
    target: str | None = None

    @property
    def dims(self) -> ModelDimensions:
        """The model's dimensions."""
        return self.inference.dims

    @property
    def is_multilingual(self) -> bool:
        """True where the model knows more than English."""
        return self.dims.is_multilingual

    def transcribe(
        self,
        audio: AudioSource,
        *,
        sampling_rate: int | None = None,
        on_segment: Callable[[Segment], object] | None = None,
        on_progress: OnProgress | None = None,
        should_stop: Callable[[], bool] | None = None,
        journal: str | Path | None = None,
        resume: bool = False,
        **options: Any,
    ) -> TranscriptionResult:
        """Transcribe a recording.

        Args:
            audio: a path, ``"-"`` for standard input, a binary file, or an array of samples: (n_samples,) or
                (n_samples, n_channels), integers or floats.
            sampling_rate: of an array, in Hz; 16000 where it is not given.
            on_segment: called with each segment as it comes.
            on_progress: called with seconds done and in all, at the start and after each window.
            should_stop: asked before each token; the transcript ends after the last whole window where it returns True.
            journal: a file that keeps what was done; yours to remove once the transcript is safe.
            resume: go on from the journal, where there is one, as if nothing had happened; its segments come first.
            options: the fields of ``TranscribeOptions``: openai-whisper's names and defaults.

        Raises:
            AudioError: the input is not decodable audio.
            OptionError: an unknown or impossible option.
            JournalError: the journal is damaged, or of another recording, model, version or set of options.
            OutputError: the journal can't be written.
        """
        with self._opened(audio, sampling_rate, options, journal, resume) as (transcription, done):
            segments = []
            for segment in self._segments(transcription, done, on_progress, should_stop):
                segments.append(segment)
                if on_segment is not None:
                    on_segment(segment)
            return transcription.result(segments)

    def transcribe_segments(
        self,
        audio: AudioSource,
        *,
        sampling_rate: int | None = None,
        on_progress: OnProgress | None = None,
        journal: str | Path | None = None,
        resume: bool = False,
        **options: Any,
    ) -> Iterator[Segment]:
        """Transcribe a recording, giving out segments as they come; see ``transcribe`` for the rest.

        Closing the iterator ends the work and frees the recording.
        """
        with self._opened(audio, sampling_rate, options, journal, resume) as (transcription, done):
            yield from self._segments(transcription, done, on_progress, None)

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
        **options: Any,
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
            options: the fields of ``TranscribeOptions`` but batch_size, the same for all recordings.

        Yields:
            the outcome of each recording as soon as it is known. One that fails does not stop the others.

        Raises:
            OptionError: an unknown or impossible option, or one that is impossible for this model.
        """
        check_batch_size(batch_size)
        if resume and journal is None:
            raise OptionError("needs journal", where="resume")
        self.check(**options)

        def open_one(audio: AudioSource) -> AbstractContextManager[tuple[Transcription, list[Segment]]]:
            path = None if journal is None else journal(audio)
            return self._opened(audio, sampling_rate, options, path, resume and path is not None)

        many = ManyRecordings(self.inference, audios, open_one, on_segment, on_progress)
        return many.transcribe(batch_size, should_stop)

    def live(
        self,
        *,
        sampling_rate: int = SAMPLE_RATE,
        channels: int = 1,
        step: float = 1.0,
        buffer: float = 25.0,
        vad: bool | VadOptions | Mapping[str, Any] = True,
        **options: Any,
    ) -> LiveTranscriber:
        """Transcribe while somebody speaks: feed samples to what is returned, and it returns words.

        Args:
            sampling_rate: of what will be fed, in Hz.
            channels: of what will be fed.
            step: least seconds of new audio between two decodings.
            buffer: most seconds of audio that are kept, up to 30.
            vad: what counts as speech, or fields of ``VadOptions`` that differ from ``LIVE_VAD``; it takes the extra
                ``vad``. False takes everything as one utterance.
            options: the fields of ``TranscribeOptions`` but those that cut a recording.

        Raises:
            OptionError: an unknown or impossible option.
        """
        wanted = LiveOptions(transcribe_options(options), step, buffer, live_vad(vad))
        return LiveTranscriber(self.inference, self.vocabulary, wanted, sampling_rate=sampling_rate, channels=channels)

    def check(self, **options: Any) -> None:
        """Refuse options that are impossible for this model or this machine, whatever the recording.

        Raises:
            OptionError: such an option, an unknown one, or one that takes the extra ``vad``, which is not installed.
        """
        wanted = transcribe_options(options)
        check_model(self.inference, self.vocabulary, wanted)
        if wanted.vad or wanted.batch_size > 1:
            detector_class()

    def detect_language(self, audio: AudioSource, *, sampling_rate: int | None = None) -> DetectedLanguage:
        """The language of the first 30 s of a recording, with the probability of every language.

        Raises:
            AudioError: the input is not decodable audio.
            OptionError: an English-only model has no languages to choose from.
        """
        tokenizer = build_tokenizer(self.vocabulary, multilingual=self.is_multilingual, language=None, task=None)
        with open_audio(audio, sampling_rate=sampling_rate) as waveform:
            window = MelWindows(waveform, self.dims.n_mels).window(0)
        return detect_language(self.inference, tokenizer, self.inference.encode(window[None]))[0]

    @contextmanager
    def _opened(
        self,
        audio: AudioSource,
        sampling_rate: int | None,
        options: dict[str, Any],
        journal: str | Path | None,
        resume: bool,
    ) -> Iterator[tuple[Transcription, list[Segment]]]:
        """The transcription of a recording, and what a journal knows of it already."""
        if resume and journal is None:
            raise OptionError("needs journal", where="resume")
        wanted = transcribe_options(options)
        check_model(self.inference, self.vocabulary, wanted)  # before a recording is decoded, which may take long
        with open_audio(audio, sampling_rate=sampling_rate) as waveform:
            heard, speech = listen(waveform, wanted)
            mel = MelWindows(heard, self.dims.n_mels)
            transcription = Transcription(self.inference, self.vocabulary, mel, wanted, speech)
            if journal is None:
                yield transcription, []
                return
            with closing(Journal(journal, self._header(waveform, transcription), resume=resume)) as opened:
                yield transcription, transcription.replay(opened)

    def _header(self, waveform: Waveform, transcription: Transcription) -> dict[str, Any]:
        """All that a transcript depends on."""
        model = {
            "dims": asdict(self.dims),
            "sha256": sha256_of(self.weights) if self.weights else None,
            "target": self.target,
        }
        return {"audio": audio_identity(waveform), "model": model, "options": transcription.result([]).options}

    def _segments(
        self,
        transcription: Transcription,
        done: list[Segment],
        on_progress: OnProgress | None,
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[Segment]:
        def advance(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(min(done, total) / FRAMES_PER_SECOND, total / FRAMES_PER_SECOND)

        advance(*transcription.progress)
        yield from done
        yield from transcribe_windows(self.inference, transcription, on_progress=advance, should_stop=should_stop)


def transcribe_options(options: dict[str, Any]) -> TranscribeOptions:
    """Options by name as ``TranscribeOptions``.

    Raises:
        OptionError: a name that is no option, or a value that is impossible.
    """
    known = TranscribeOptions.__dataclass_fields__
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError("unknown option", where=", ".join(unknown), expected=f"one of {', '.join(known)}")
    return TranscribeOptions(**options)


def target_name(target: Target) -> str:
    """All of a target that a transcript may depend on: ``cpu:x86-64-v3 float32, weights int8``."""
    weights = "" if target.storage is None else f", weights {target.storage.name}"
    return f"{target.code} {target.dtype.name}{weights}"


def load_model(
    model: str | Path = "base",
    *,
    device: str = "auto",
    compute_type: str = "auto",
    threads: int | None = None,
    gpu_memory_utilization: float | None = None,
    offline: bool = False,
    weights_dir: str | Path | None = None,
    revision: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> Model:
    """Load a model by name, path or hub id, or a bundle by its folder.

    Args:
        model: a published name ("base", "large-v3", "turbo", "distil-large-v3"...), a checkpoint file or folder of any
            format that is read, a hub id ("owner/name"), or the folder that ``export`` made.
        device: "auto" (a GPU that was checked on this machine, else the CPU), "cpu", "gpu" or "gpu:N".
        compute_type: "auto" (float32 on a CPU, bfloat16 on a GPU; for int8 weights and for bundles what they were made
            for), "float32", "int8", "float16" or "bfloat16".
        threads: that run the graphs on a CPU, the same for all models of a process; None for
            ``$WHISPER_MAX_THREADS``, else every core that the process may use.
        gpu_memory_utilization: share of what a GPU has free once the weights are loaded, to plan batches with; None
            for nine tenths. A CPU takes none.
        offline: never ask the hub.
        weights_dir: a folder with checkpoints by name, looked at first.
        revision: a branch, tag or commit of a model on the hub.
        progress: called with a line for people when something slow happens: a download, a compilation.

    Raises:
        UnknownModelError, HubError: no such model, or it can't be had.
        CheckpointError: the checkpoint is damaged or not a Whisper model.
        DeviceError: the device is not there, can't be used, or has too little free memory.
        ArtifactError: the graphs can't be compiled or loaded.
        OptionError: an impossible device, compute type, number of threads or share of memory.
    """

    def report(line: str) -> None:
        if progress is not None:
            progress(line)

    target = select_target(device, compute_type, threads)  # refuses what is impossible for any model
    check_utilization(target, gpu_memory_utilization)
    bundle = None if str(model) in (*MODELS, *ALIASES) else read_bundle(model)
    if bundle is None:
        folder = Path(weights_dir) if weights_dir else None
        files = resolve(model, offline=offline, weights_dir=folder, revision=revision, announce=report)
        kinds = {"cpu", "gpu"}
    else:
        files, kinds = bundle.files(), bundle.kinds
        compute_type = bundle.compute_type if compute_type == "auto" else compute_type
    checkpoint = read_checkpoint(files)
    compute_type = compute_type_for(checkpoint, compute_type)
    if device == "auto" and (compute_type == "int8" or kinds == {"cpu"}):
        device = "cpu"  # the only kind of device that can run it
    target = select_target(device, compute_type, threads, report)
    artifacts = None if bundle is None else bundle.artifacts_for(target)
    vocabulary = Vocabulary(checkpoint.vocabulary.ranks, checkpoint.dims.n_vocab)
    engine = open_engine(checkpoint, target, report, artifacts, gpu_memory_utilization)
    used = replace(target, codes=(engine.code,))
    return Model(engine, vocabulary, checkpoint.name, files.weights, target_name(used))
