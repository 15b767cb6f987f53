"""openai-whisper's ``whisper.transcribe``: whole recordings."""

from __future__ import annotations

import os
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio import io
from whisper_max.compat.errors import as_peers
from whisper_max.compat.progress import progress_bar
from whisper_max.compat.whisper.audio import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
    log_mel_spectrogram,
    pad_or_trim,
)
from whisper_max.compat.whisper.command import cli
from whisper_max.compat.whisper.decoding import DecodingOptions, DecodingResult, check_fp16, suppressed
from whisper_max.compat.whisper.timing import add_word_timestamps
from whisper_max.compat.whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, get_tokenizer
from whisper_max.compat.whisper.utils import (
    exact_div,
    format_timestamp,
    get_end,
    get_writer,
    make_safe,
    optional_float,
    optional_int,
    str2bool,
)
from whisper_max.errors import OptionError
from whisper_max.text.languages import language_name
from whisper_max.transcribe.result import Segment

if TYPE_CHECKING:
    from whisper_max.compat.whisper.model import Whisper

__all__ = [
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "LANGUAGES",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "TO_LANGUAGE_CODE",
    "DecodingOptions",
    "DecodingResult",
    "add_word_timestamps",
    "cli",
    "exact_div",
    "format_timestamp",
    "get_end",
    "get_tokenizer",
    "get_writer",
    "log_mel_spectrogram",
    "make_safe",
    "optional_float",
    "optional_int",
    "pad_or_trim",
    "str2bool",
    "transcribe",
]


def transcribe(
    model: Whisper,
    audio: str | os.PathLike[str] | NDArray[Any],
    *,
    verbose: bool | None = None,
    temperature: float | tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    compression_ratio_threshold: float | None = 2.4,
    logprob_threshold: float | None = -1.0,
    no_speech_threshold: float | None = 0.6,
    condition_on_previous_text: bool = True,
    initial_prompt: str | None = None,
    carry_initial_prompt: bool = False,
    word_timestamps: bool = False,
    prepend_punctuations: str = "\"'“¿([{-",
    append_punctuations: str = "\"'.。,，!！?？:：”)]}、",
    clip_timestamps: str | list[float] = "0",
    hallucination_silence_threshold: float | None = None,
    **decode_options: Any,
) -> dict[str, Any]:
    """Transcribe a recording; what the options mean stands at ``whisper_max.TranscribeOptions``.

    Args:
        audio: a path, or (n_samples,) at 16 kHz.
        verbose: True prints each segment and the language found, False shows a progress bar and the language, None
            shows nothing.
        decode_options: fields of ``DecodingOptions``, but for ``prompt``.

    Returns:
        ``text``, ``segments`` (a list of dicts) and ``language`` (a code). Times and language are exactly the peer's: a
        segment may end after the recording, and the language is that of its first 30 s.

    Raises:
        AudioError: not decodable audio.
        OptionError: an unknown or impossible option.
    """
    check_fp16(model, decode_options.pop("fp16", True))
    _check_names(decode_options)
    if word_timestamps and decode_options.get("task") == "translate":
        warnings.warn("the words of a translation are not those spoken: their times are rough", stacklevel=2)
    if "suppress_tokens" in decode_options:
        decode_options["suppress_tokens"] = suppressed(decode_options["suppress_tokens"])
    with as_peers():
        samples = io.load_audio(audio if isinstance(audio, str | os.PathLike) else np.asarray(audio))
    if verbose is not None and decode_options.get("language") is None and model.is_multilingual:
        decode_options["language"] = _announced_language(model, samples)
    with progress_bar(show=verbose is False) as advance:
        result = model.native.transcribe(
            samples,
            on_segment=_print_segment if verbose else None,
            on_progress=advance,
            temperature=temperature,
            compression_ratio_threshold=compression_ratio_threshold,
            logprob_threshold=logprob_threshold,
            no_speech_threshold=no_speech_threshold,
            condition_on_previous_text=condition_on_previous_text,
            initial_prompt=initial_prompt,
            carry_initial_prompt=carry_initial_prompt,
            word_timestamps=word_timestamps,
            prepend_punctuations=prepend_punctuations,
            append_punctuations=append_punctuations,
            clip_timestamps=clip_timestamps,
            hallucination_silence_threshold=hallucination_silence_threshold,
            guard="off",
            **decode_options,
        )
    for warning in result.warnings:
        warnings.warn(warning.message, stacklevel=2)
    return result.to_dict()


def _check_names(decode_options: dict[str, Any]) -> None:
    if "prompt" in decode_options:
        raise OptionError("each window is prompted with the text before it", where="prompt", hint="use initial_prompt")
    unknown = sorted(set(decode_options) - {each.name for each in fields(DecodingOptions)})
    if unknown:
        raise OptionError("unknown option", where=", ".join(unknown))


def _announced_language(model: Whisper, samples: NDArray[np.float32]) -> str:
    code = model.native.detect_language(samples).code
    print(f"Detected language: {language_name(code).title()}")
    return code


def _print_segment(segment: Segment) -> None:
    print(f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {segment.text}", flush=True)
