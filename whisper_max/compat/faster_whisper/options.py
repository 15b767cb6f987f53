"""faster-whisper's arguments as ``whisper_max``'s options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.compat.faster_whisper.results import TranscriptionOptions
from whisper_max.errors import OptionError

_SAME = (
    "language",
    "task",
    "best_of",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "temperature",
    "compression_ratio_threshold",
    "no_speech_threshold",
    "condition_on_previous_text",
    "prompt_reset_on_temperature",
    "initial_prompt",
    "suppress_blank",
    "suppress_tokens",
    "without_timestamps",
    "max_initial_timestamp",
    "word_timestamps",
    "prepend_punctuations",
    "append_punctuations",
    "clip_timestamps",
    "hallucination_silence_threshold",
    "hotwords",
    "multilingual",
    "language_detection_threshold",
    "language_detection_segments",
)
"""Arguments that are options of the same name and meaning."""


def native_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``transcribe`` as options, without those of voice activity detection.

    Raises:
        OptionError: an argument that can't be honoured.
    """
    _refuse(arguments)
    greedy = arguments["beam_size"] == 1 and arguments["patience"] == 1
    return {
        **{name: arguments[name] for name in _SAME},
        "beam_size": None if greedy else arguments["beam_size"],
        "patience": None if greedy else arguments["patience"],
        "length_penalty": None if arguments["length_penalty"] == 1 else arguments["length_penalty"],
        "logprob_threshold": arguments["log_prob_threshold"],
        "sample_len": arguments["max_new_tokens"],
        "drop_unlikely": False,
    }


def _refuse(arguments: Mapping[str, Any]) -> None:
    """Raise for what has no counterpart."""
    if arguments["length_penalty"] not in (0, 1):
        raise OptionError(
            "the peer's formula is not offered between 0 and 1",
            where="length_penalty",
            expected="0 or 1",
            found=arguments["length_penalty"],
        )
    if arguments["prefix"]:
        raise OptionError("a prefix of the first window only is not offered", where="prefix", hint="use initial_prompt")
    if not isinstance(arguments["initial_prompt"], str | None):
        raise OptionError("token ids are not offered", where="initial_prompt", expected="text")
    if arguments["language_detection_threshold"] is None:
        raise OptionError("None is not offered", where="language_detection_threshold", expected="a probability")
    if arguments["chunk_length"] not in (None, CHUNK_LENGTH):
        raise OptionError(
            "windows of another length are not offered",
            where="chunk_length",
            expected=CHUNK_LENGTH,
            found=arguments["chunk_length"],
        )


def described(arguments: Mapping[str, Any]) -> TranscriptionOptions:
    """The arguments as faster-whisper tells them in its info."""
    given = arguments["temperature"]
    temperatures = list(given) if isinstance(given, Iterable) else [given]
    names = set(TranscriptionOptions.__dataclass_fields__) - {"temperatures"}
    return TranscriptionOptions(**{name: arguments[name] for name in names}, temperatures=temperatures)
