"""faster-whisper's arguments as ``whisper_max``'s options."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.compat.faster_whisper.results import TranscriptionOptions
from whisper_max.transcribe.options import TranscribeOptions

_OTHER_MEANING = {"beam_size", "patience", "length_penalty", "prefix", "batch_size"}
"""Arguments that share their names with options and are not handed on as they are."""


def native_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``transcribe`` as options, without those of voice activity detection.

    Raises:
        OptionError: an argument that can't be honoured.
    """
    if arguments["hallucination_silence_threshold"] is not None and not arguments["word_timestamps"]:
        warnings.warn("hallucination_silence_threshold changes nothing without word_timestamps", stacklevel=3)
        arguments = {**arguments, "hallucination_silence_threshold": None}
    prompt, threshold = arguments["initial_prompt"], arguments["language_detection_threshold"]
    greedy = arguments["beam_size"] == 1 and arguments["patience"] == 1
    same = [name for name in arguments if name in TranscribeOptions.__dataclass_fields__ and name not in _OTHER_MEANING]
    return {
        **{name: arguments[name] for name in same},
        "beam_size": None if greedy else arguments["beam_size"],
        "patience": None if greedy else arguments["patience"],
        "length_power": None if arguments["length_penalty"] == 1 else arguments["length_penalty"],
        "initial_prompt": prompt if isinstance(prompt, str | None) else list(prompt),
        "first_prefix": arguments["prefix"] or None,
        "chunk_length": CHUNK_LENGTH if arguments["chunk_length"] is None else arguments["chunk_length"],
        "language_detection_threshold": 0.0 if threshold is None else threshold,
        "logprob_threshold": arguments["log_prob_threshold"],
        "sample_len": arguments["max_new_tokens"],
        "drop_unlikely": False,
        "guard": "off",
    }


def described(arguments: Mapping[str, Any]) -> TranscriptionOptions:
    """The arguments as faster-whisper tells them in its info."""
    given = arguments["temperature"]
    temperatures = list(given) if isinstance(given, Iterable) else [given]
    names = set(TranscriptionOptions.__dataclass_fields__) - {"temperatures"}
    return TranscriptionOptions(**{name: arguments[name] for name in names}, temperatures=temperatures)
