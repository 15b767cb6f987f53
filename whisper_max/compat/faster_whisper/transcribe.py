"""faster-whisper's models: sequential and batched transcription."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_max import api
from whisper_max.audio.mel import (
    CHUNK_LENGTH,
    FRAMES_PER_SECOND,
    N_SAMPLES_PER_TOKEN,
    TOKENS_PER_SECOND,
)
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.compat.faster_whisper.audio import decode_audio, pad_or_trim
from whisper_max.compat.faster_whisper.feature_extractor import FeatureExtractor
from whisper_max.compat.faster_whisper.options import native_options
from whisper_max.compat.faster_whisper.parts import (
    get_compression_ratio,
    get_suppressed_tokens,
    merge_punctuations,
    restore_speech_timestamps,
)
from whisper_max.compat.faster_whisper.results import (
    Segment,
    TranscriptionInfo,
    TranscriptionOptions,
    Word,
)
from whisper_max.compat.faster_whisper.running import (
    Languages,
    Transcript,
    languages_of_features,
    languages_of_samples,
)
from whisper_max.compat.faster_whisper.running import transcribe as _transcribe
from whisper_max.compat.faster_whisper.tokenizer import _LANGUAGE_CODES, HubTokenizer, Tokenizer
from whisper_max.compat.faster_whisper.utils import download_model, format_timestamp, get_end, get_logger
from whisper_max.compat.faster_whisper.vad import (
    SpeechTimestampsMap,
    VadOptions,
    collect_chunks,
    get_speech_timestamps,
    vad_options_of,
)
from whisper_max.compat.loading import load
from whisper_max.compat.missing import NotOffered
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import SECONDS_PER_TIMESTAMP

__all__ = [
    "_LANGUAGE_CODES",
    "BatchedInferencePipeline",
    "FeatureExtractor",
    "Segment",
    "SpeechTimestampsMap",
    "Tokenizer",
    "TranscriptionInfo",
    "TranscriptionOptions",
    "VadOptions",
    "WhisperModel",
    "Word",
    "collect_chunks",
    "decode_audio",
    "download_model",
    "format_timestamp",
    "get_compression_ratio",
    "get_end",
    "get_logger",
    "get_speech_timestamps",
    "get_suppressed_tokens",
    "merge_punctuations",
    "pad_or_trim",
    "restore_speech_timestamps",
]

_BATCHED_VAD = VadOptions(max_speech_duration_s=CHUNK_LENGTH, min_silence_duration_ms=160)
_CTRANSLATE2 = {"max_queued_batches": 0, "flash_attention": False, "tensor_parallel": False}
"""Options of CTranslate2's own and what they are where nobody asks for them."""


class WhisperModel:
    """A model, loaded.

    Args:
        model_size_or_path: a published name, a folder or file of any format, or a hub id.
        device: "auto", "cpu" or "cuda".
        device_index: of the one GPU.
        compute_type: "default" or "auto", a type that the device offers, or "int8_float32", which is int8.
        download_root: a folder of models, looked at first; what is nowhere on this machine is downloaded to it.
        local_files_only: never ask the hub.
        revision: branch, tag or commit on the hub.
        use_auth_token: None or True, for the stored one; ``HF_TOKEN`` gives another.
        cpu_threads: at most the cores, and those of the process's first model; 0 for every core that may be used.
        num_workers: any number; the threads that call a model are the program's own.
        files, model_kwargs: their defaults only.

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
            "files": (files, None),
            "use_auth_token": (use_auth_token, None if use_auth_token is None else True),
            **{name: (value, _CTRANSLATE2.get(name)) for name, value in model_kwargs.items()},
        }
        for name, (given, default) in only_default.items():
            if given != default:
                raise OptionError("not offered", where=name, expected=default)
        if num_workers < 1:
            raise OptionError("out of range", where="num_workers", expected="1 or more", found=num_workers)
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

    input_stride = N_SAMPLES_PER_TOKEN * FRAMES_PER_SECOND // SAMPLE_RATE
    num_samples_per_token = N_SAMPLES_PER_TOKEN
    frames_per_second = FRAMES_PER_SECOND
    tokens_per_second = TOKENS_PER_SECOND
    time_precision = SECONDS_PER_TIMESTAMP

    @property
    def logger(self) -> logging.Logger:
        """The peer's logger; nothing is written to it."""
        return get_logger()

    @property
    def max_length(self) -> int:
        """Positions of the text decoder."""
        return self.model.dims.n_text_ctx

    @cached_property
    def feature_extractor(self) -> FeatureExtractor:
        """Makes features that this model hears."""
        return FeatureExtractor(**self.feat_kwargs)

    @property
    def feat_kwargs(self) -> dict[str, Any]:
        """The arguments of ``FeatureExtractor``."""
        return {"feature_size": self.model.dims.n_mels}

    @cached_property
    def hf_tokenizer(self) -> HubTokenizer:
        """The model's vocabulary, for ``Tokenizer``."""
        return HubTokenizer(self.model.vocabulary)

    @property
    def is_multilingual(self) -> bool:
        """True where the model knows more than English."""
        return self.model.is_multilingual

    @property
    def supported_languages(self) -> list[str]:
        """The codes of the languages that the model knows."""
        return list(self.model.vocabulary.languages)

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
    ) -> Transcript:
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
        vad = vad_options_of(vad_parameters) if vad_filter and clip_timestamps == "0" else None
        return _transcribe(self.model, given, native_options(given), vad)

    def detect_language(
        self,
        audio: NDArray[Any] | None = None,
        features: NDArray[np.float32] | None = None,
        vad_filter: bool = False,
        vad_parameters: dict[str, Any] | VadOptions | None = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
    ) -> Languages:
        """The language of a recording.

        Args:
            audio: (n_samples,) at 16 kHz.
            features: (n_mels, n_frames), which count where ``audio`` is not given.

        Returns:
            the code, its probability, and those of all codes, likeliest first.

        Raises:
            OptionError: an argument that can't be honoured, or an English-only model.
        """
        n_windows, threshold = language_detection_segments, language_detection_threshold
        if audio is not None:
            vad = vad_options_of(vad_parameters) if vad_filter else None
            return languages_of_samples(self.model, audio, vad, n_windows, threshold)
        if features is None:
            raise OptionError("nothing to hear", where="audio", hint="give audio or features")
        return languages_of_features(self.model, features, n_windows, threshold)


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
    ) -> Transcript:
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
        if prefix:
            warnings.warn("prefix changes nothing in a batch, as in faster-whisper", stacklevel=2)
            given["prefix"] = None
        vad = vad_options_of(vad_parameters, _BATCHED_VAD) if vad_filter and not clips else None
        return _transcribe(self.model.model, given, {**native_options(given), "batch_size": batch_size}, vad)


def _device(device: str, index: int | list[int]) -> str:
    indices = index if isinstance(index, list) else [index]
    if len(indices) != 1 or (device != "cuda" and indices != [0]):
        raise OptionError("one GPU, with device='cuda'", where="device_index", found=index)
    return f"cuda:{indices[0]}" if device == "cuda" else device
