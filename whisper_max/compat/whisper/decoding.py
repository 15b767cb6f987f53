"""openai-whisper's ``whisper.decoding``: one 30 s window or several."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.compat.whisper.tokenizer import Tokenizer, get_tokenizer
from whisper_max.decode import language as languages
from whisper_max.decode import options as native
from whisper_max.decode.contract import AudioFeatures
from whisper_max.decode.decoded import compression_ratio
from whisper_max.decode.windows import decode_features
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import build_tokenizer

if TYPE_CHECKING:
    from whisper_max.compat.whisper.model import Whisper

__all__ = [
    "CHUNK_LENGTH",
    "DecodingOptions",
    "DecodingResult",
    "EncodedAudio",
    "Tokenizer",
    "check_fp16",
    "compression_ratio",
    "decode",
    "detect_language",
    "embed_audio",
    "get_tokenizer",
    "suppressed",
]

_OURS = ("token_logprobs", "loops")  # of what is decoded, which the original has not


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode a window; what the fields mean stands at ``whisper_max.decode.options.DecodingOptions``.

    task: "lang_id" too, which only tells the language. fp16: see the package's description.
    """

    task: str = "transcribe"
    language: str | None = None
    temperature: float = 0.0
    sample_len: int | None = None
    best_of: int | None = None
    beam_size: int | None = None
    patience: float | None = None
    length_penalty: float | None = None
    prompt: str | list[int] | None = None
    prefix: str | list[int] | None = None
    suppress_tokens: str | Iterable[int] | None = "-1"
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    fp16: bool = True


@dataclass(frozen=True)
class EncodedAudio:
    """What a model made of its input, on its device: to be handed back to it in place of a mel, and nothing else.

    single: it was one window, not a batch of them.
    """

    windows: AudioFeatures
    single: bool


@dataclass(frozen=True)
class DecodingResult:
    """The transcript of one window; with the task "lang_id" nothing but its language."""

    audio_features: EncodedAudio
    language: str
    language_probs: dict[str, float] | None = None
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    avg_logprob: float = math.nan
    no_speech_prob: float = math.nan
    temperature: float = math.nan
    compression_ratio: float = math.nan


def embed_audio(model: Whisper, mel: NDArray[Any] | EncodedAudio) -> EncodedAudio:
    """Encode (n_mels, 3000) or (n_windows, n_mels, 3000); what is encoded already stays as it is.

    Raises:
        OptionError: another shape.
    """
    if isinstance(mel, EncodedAudio):
        return mel
    window = (model.dims.n_mels, model.dims.n_frames)
    if mel.ndim not in (2, 3) or mel.shape[-2:] != window:
        raise OptionError(
            "not a window, nor a batch of them",
            where="mel",
            expected=f"{window} or (n_windows, {window[0]}, {window[1]})",
            found=mel.shape,
            hint="pad_or_trim",
        )
    batch = np.ascontiguousarray(mel, np.float32).reshape(-1, *window).view(np.ndarray)
    return EncodedAudio(model.native.inference.encode(batch), single=mel.ndim == 2)


def decode(
    model: Whisper,
    mel: NDArray[Any] | EncodedAudio,
    options: DecodingOptions = DecodingOptions(),
    **kwargs: Any,
) -> DecodingResult | list[DecodingResult]:
    """Decode one window, or each of a batch.

    Args:
        mel: (n_mels, 3000) or (n_windows, n_mels, 3000), or what ``embed_audio`` returned.
        options: how to decode; ``kwargs`` replace fields of it.

    Returns:
        one result, or a list of them for a batch.

    Raises:
        OptionError: an impossible option; "lang_id" of an English-only model.
    """
    unknown = sorted(set(kwargs) - {each.name for each in fields(DecodingOptions)})
    if unknown:
        raise OptionError("unknown option", where=", ".join(unknown))
    options = replace(options, **kwargs)
    check_fp16(model, options.fp16)
    only_language = options.task == "lang_id"
    wanted = _native(replace(options, task="transcribe") if only_language else options)
    audio = embed_audio(model, mel)
    found = _languages(model, audio) if only_language else _transcripts(model, audio, wanted)
    windows = [EncodedAudio(audio.windows.select([row]), single=True) for row in range(audio.windows.n_windows)]
    results = [DecodingResult(window, **each) for window, each in zip(windows, found, strict=True)]
    return results[0] if audio.single else results


def _transcripts(model: Whisper, audio: EncodedAudio, options: native.DecodingOptions) -> list[dict[str, Any]]:
    """The fields of each window's result."""
    found = decode_features(model.native.inference, model.native.vocabulary, audio.windows, options)
    return [{name: value for name, value in vars(each).items() if name not in _OURS} for each in found]


def _languages(model: Whisper, audio: EncodedAudio) -> list[dict[str, Any]]:
    """The fields of each window's result that tell its language."""
    probabilities = detect_language(model, audio)[1]
    return [
        {"language": max(each, key=each.__getitem__), "language_probs": each}
        for each in ([probabilities] if audio.single else probabilities)
    ]


def _native(options: DecodingOptions) -> native.DecodingOptions:
    given = {name: value for name, value in vars(options).items() if name != "fp16"}
    return native.DecodingOptions(**{**given, "suppress_tokens": suppressed(options.suppress_tokens)})


def suppressed(tokens: str | Iterable[int] | None) -> str | Sequence[int] | None:
    """``suppress_tokens`` with any iterable of ids as a list."""
    return tokens if tokens is None or isinstance(tokens, str) else list(tokens)


def detect_language(
    model: Whisper, mel: NDArray[Any] | EncodedAudio, tokenizer: Tokenizer | None = None
) -> tuple[NDArray[np.int64], Any]:
    """The language token and the probability of each language code, for one window or for each of a batch.

    Returns:
        an array of token ids, () or (n_windows,) int64, and a dict or a list of dicts.

    Raises:
        OptionError: an English-only model.
    """
    if tokenizer is None:
        vocabulary = model.native.vocabulary
        tokenizer = build_tokenizer(vocabulary, multilingual=model.is_multilingual, language=None, task=None)
    audio = embed_audio(model, mel)
    found = languages.detect_language(model.native.inference, tokenizer, audio.windows)
    tokens = np.array([tokenizer.to_language_token(each.code) for each in found], np.int64)
    probabilities = [each.probabilities for each in found]
    return (tokens.reshape(()), probabilities[0]) if audio.single else (tokens, probabilities)


def check_fp16(model: Whisper, fp16: bool) -> None:
    """Warn where half precision is asked of a CPU, which computes in float32.

    Raises:
        OptionError: float32 is asked of a GPU: the number format is chosen when a model is loaded.
    """
    if model.device == "cpu":
        if fp16:
            warnings.warn("FP16 is not supported on CPU; using FP32 instead", stacklevel=3)
    elif not fp16:
        raise OptionError(
            "a model on a GPU keeps the number format it was loaded with",
            where="fp16",
            expected=True,
            found=fp16,
            hint="whisper_max.load_model has compute_type",
        )
