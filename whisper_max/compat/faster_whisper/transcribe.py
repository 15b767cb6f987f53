"""faster-whisper's models: sequential and batched transcription."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_max import api
from whisper_max.audio.mel import CHUNK_LENGTH, FRAMES_PER_SECOND, N_SAMPLES, MelWindows
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.vad import find_speech
from whisper_max.audio.waveform import ArrayWaveform, Waveform
from whisper_max.compat.faster_whisper.audio import samples_of
from whisper_max.compat.faster_whisper.options import described, native_options
from whisper_max.compat.faster_whisper.results import (
    Segment,
    TranscriptionInfo,
    TranscriptionOptions,
    Word,
    from_native,
)
from whisper_max.compat.faster_whisper.vad import VadOptions, vad_options
from whisper_max.compat.loading import load
from whisper_max.compat.missing import NotOffered
from whisper_max.compat.progress import progress_bar
from whisper_max.decode.language import DetectedLanguage, most_likely_language
from whisper_max.errors import OptionError
from whisper_max.text.languages import LANGUAGES
from whisper_max.transcribe import result as native
from whisper_max.transcribe.sequential import transcribe_windows
from whisper_max.transcribe.speech import listen
from whisper_max.transcribe.transcription import Transcription

__all__ = [
    "BatchedInferencePipeline",
    "Segment",
    "TranscriptionInfo",
    "TranscriptionOptions",
    "VadOptions",
    "WhisperModel",
    "Word",
]

_BATCHED_VAD = VadOptions(max_speech_duration_s=CHUNK_LENGTH, min_silence_duration_ms=160)
_Transcript = tuple[Iterable[Segment], TranscriptionInfo]


class WhisperModel:
    """A model, loaded.

    Args:
        model_size_or_path: a published name, a folder or file of any format, or a hub id.
        device: "auto", "cpu" or "cuda".
        device_index: of the one GPU.
        compute_type: "default" or "auto", or a type that the device offers.
        download_root: a folder with the model, looked at first.
        local_files_only: never ask the hub.
        revision: branch, tag or commit on the hub.
        use_auth_token: None or True, for the stored one; ``HF_TOKEN`` gives another.
        cpu_threads: the same for all models of a process; 0 for every core that may be used.
        num_workers, files: their defaults only.

    Raises:
        OptionError: an argument that can't be honoured.
        WhisperMaxError: as ``whisper_max.load_model``.
    """

    def __init__(
        self,
        model_size_or_path: str,
        device: str = "auto",
        device_index: int | list[int] = 0,
        compute_type: str = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | None = None,
        local_files_only: bool = False,
        files: dict[str, Any] | None = None,
        revision: str | None = None,
        use_auth_token: str | bool | None = None,
        **model_kwargs: Any,
    ) -> None:
        only_default = {
            "num_workers": (num_workers, 1),
            "files": (files, None),
            "use_auth_token": (use_auth_token, None if use_auth_token is None else True),
            **{name: (value, None) for name, value in model_kwargs.items()},
        }
        for name, (given, default) in only_default.items():
            if given != default:
                raise OptionError("not offered", where=name, expected=default)
        self.model: api.Model = load(
            os.fspath(model_size_or_path),
            device=_device(device, device_index),
            compute_type="auto" if compute_type == "default" else compute_type,
            download_root=download_root,
            offline=local_files_only,
            revision=revision,
            threads=cpu_threads or None,
        )

    encode = NotOffered("transcribe and detect_language take audio")
    generate_segments = NotOffered("transcribe gives segments")
    generate_with_fallback = NotOffered("transcribe falls back to its temperatures")
    get_prompt = NotOffered("transcribe has initial_prompt, hotwords and prefix")
    add_word_timestamps = NotOffered("transcribe has word_timestamps")
    find_alignment = NotOffered("transcribe has word_timestamps")
    feature_extractor = NotOffered("whisper_max.compat.whisper has log_mel_spectrogram")
    hf_tokenizer = NotOffered("whisper_max.compat.whisper.tokenizer has get_tokenizer")

    @property
    def is_multilingual(self) -> bool:
        """True where the model knows more than English."""
        return self.model.is_multilingual

    @property
    def supported_languages(self) -> list[str]:
        """The codes of the languages that the model knows."""
        return list(LANGUAGES)[: self.model.dims.num_languages] if self.is_multilingual else ["en"]

    def transcribe(
        self,
        audio: str | BinaryIO | NDArray[Any],
        language: str | None = None,
        task: str = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | list[float] | tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | None = None,
        suppress_blank: bool = True,
        suppress_tokens: list[int] | tuple[int, ...] | None = (-1,),
        without_timestamps: bool = False,
        max_initial_timestamp: float = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = "\"'“¿([{-",
        append_punctuations: str = "\"'.。,，!！?？:：”)]}、",
        multilingual: bool = False,
        vad_filter: bool = False,
        vad_parameters: dict[str, Any] | VadOptions | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: str | list[float] = "0",
        hallucination_silence_threshold: float | None = None,
        hotwords: str | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
    ) -> _Transcript:
        """Transcribe a recording window after window; nothing is decoded until the segments are asked for.

        Args:
            audio: a path, a binary file, or (n_samples,) at 16 kHz.
            language: a code or name; None detects it. The other options are described at
                ``whisper_max.TranscribeOptions``, what differs at this package.

        Returns:
            a generator of segments, and what is known before the first of them.

        Raises:
            AudioError: not decodable audio.
            OptionError: an argument that can't be honoured.
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        vad = vad_options(vad_parameters) if vad_filter and clip_timestamps == "0" else None
        return _transcribe(self.model, given, native_options(given), vad)

    def detect_language(
        self,
        audio: NDArray[Any] | None = None,
        features: NDArray[np.float32] | None = None,
        vad_filter: bool = False,
        vad_parameters: dict[str, Any] | VadOptions | None = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
    ) -> tuple[str, float, list[tuple[str, float]]]:
        """The language of a recording.

        Args:
            audio: (n_samples,) at 16 kHz, in the place of ``features``, which are not offered.

        Returns:
            the code, its probability, and those of all codes, likeliest first.

        Raises:
            OptionError: an argument that can't be honoured, or an English-only model.
        """
        if features is not None or audio is None:
            raise OptionError("not offered", where="features", hint="give audio")
        recording: Waveform = ArrayWaveform(samples_of(audio))
        if vad_filter:
            recording = _speech(recording, vad_options(vad_parameters))
        detected = _detect(self.model, recording, language_detection_segments, language_detection_threshold)
        return detected.code, detected.probability, _by_likelihood(detected)


class BatchedInferencePipeline:
    """A model that decodes windows of a recording side by side."""

    forward = NotOffered("transcribe gives segments")
    generate_segment_batched = NotOffered("transcribe gives segments")

    def __init__(self, model: WhisperModel) -> None:
        self.model = model

    def transcribe(
        self,
        audio: str | BinaryIO | NDArray[Any],
        language: str | None = None,
        task: str = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | list[float] | tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | None = None,
        suppress_blank: bool = True,
        suppress_tokens: list[int] | tuple[int, ...] | None = (-1,),
        without_timestamps: bool = True,
        max_initial_timestamp: float = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = "\"'“¿([{-",
        append_punctuations: str = "\"'.。,，!！?？:：”)]}、",
        multilingual: bool = False,
        vad_filter: bool = True,
        vad_parameters: dict[str, Any] | VadOptions | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: list[dict[str, float]] | None = None,
        hallucination_silence_threshold: float | None = None,
        batch_size: int = 8,
        hotwords: str | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
    ) -> _Transcript:
        """Transcribe a recording, ``batch_size`` windows at a time; the rest is as in ``WhisperModel.transcribe``.

        Args:
            clip_timestamps: the parts to transcribe, each a dict of "start" and "end" in seconds.

        Raises:
            AudioError: not decodable audio.
            OptionError: an argument that can't be honoured.
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        clips = [seconds for clip in clip_timestamps or () for seconds in (clip["start"], clip["end"])]
        given |= {"clip_timestamps": clips or "0", "condition_on_previous_text": False}
        vad = vad_options(vad_parameters, _BATCHED_VAD) if vad_filter and not clips else None
        return _transcribe(self.model.model, given, {**native_options(given), "batch_size": batch_size}, vad)


def _device(device: str, index: int | list[int]) -> str:
    indices = index if isinstance(index, list) else [index]
    if len(indices) != 1 or (device != "cuda" and indices != [0]):
        raise OptionError("one GPU, with device='cuda'", where="device_index", found=index)
    return f"cuda:{indices[0]}" if device == "cuda" else device


def _transcribe(
    model: api.Model, given: Mapping[str, Any], options: Mapping[str, Any], vad: VadOptions | None
) -> _Transcript:
    """Find the speech and the language; what is decoded waits until the segments are asked for."""
    recording = ArrayWaveform(samples_of(given["audio"]))
    wanted = api.transcribe_options({**options, "vad": vad is not None, "vad_options": vad and vad.native()})
    heard, speech = listen(recording, wanted)
    mel = MelWindows(heard, model.dims.n_mels)
    transcription = Transcription(model.inference, model.vocabulary, mel, wanted, speech)
    detected = transcription.detected
    info = TranscriptionInfo(
        language=transcription.language,
        language_probability=transcription.language_probability,
        duration=recording.duration,
        duration_after_vad=heard.duration,
        all_language_probs=_by_likelihood(detected) if detected else None,
        transcription_options=described(given),
        vad_options=vad,
    )
    return from_native(_segments(model, transcription, given["log_progress"])), info


def _segments(model: api.Model, transcription: Transcription, log_progress: bool) -> Iterator[native.Segment]:
    with progress_bar(show=log_progress) as advance:

        def advance_frames(done: int, total: int) -> None:
            advance(done / FRAMES_PER_SECOND, total / FRAMES_PER_SECOND)

        yield from transcribe_windows(model.inference, transcription, on_progress=advance_frames)


def _speech(recording: Waveform, options: VadOptions) -> SpeechWaveform:
    return SpeechWaveform(recording, Timeline(find_speech(recording, options.native()), recording.n_samples))


def _detect(model: api.Model, recording: Waveform, n_windows: int, threshold: float) -> DetectedLanguage:
    if n_windows < 1:
        raise OptionError("out of range", where="language_detection_segments", expected="1 or more", found=n_windows)
    starts = range(0, min(recording.n_samples, n_windows * N_SAMPLES), N_SAMPLES)
    windows = (model.detect_language(recording.read(each, each + N_SAMPLES)) for each in starts or (0,))
    return most_likely_language(windows, threshold)


def _by_likelihood(detected: DetectedLanguage) -> list[tuple[str, float]]:
    return sorted(detected.probabilities.items(), key=lambda each: -each[1])
