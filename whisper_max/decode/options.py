"""The options of decoding: openai-whisper's names, defaults and rules, and a few more of our own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from whisper_max.errors import OptionError
from whisper_max.options import check_ranges, option
from whisper_max.text.languages import TASKS

_MOST_HYPOTHESES = 64
"""Of one window: each keeps keys and values of its own, in float32 11 MB of base, 147 MB of large (448 positions x 32
blocks x 2 x 1280 x 4 bytes)."""
_MOST_TOKENS = 448  # in a window: the text context of every Whisper model
_FLOAT32_SCALES = (1e-6, 1e6)  # of logits: far from where float32 ends in 0 or infinity
_POWER = "exponent of the length that the log-probability is divided by, CTranslate2's length penalty; None: 1"
_LENGTH = "0 to 1, exponent of the length penalty, arXiv:1609.08144; None: by length alone"


@dataclass(frozen=True)
class WindowOptions:
    """What counts for every window of a recording, at any temperature.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    task: str = option("transcribe", "transcribe, or translate to English", choices=TASKS, doors=("command",))
    language: str | None = option(None, "language spoken, by code or English name; None: detect it")
    best_of: int | None = option(
        None, "samples to choose from when the temperature is above 0, at most 64", least=1, most=_MOST_HYPOTHESES
    )
    beam_size: int | None = option(
        None,
        "hypotheses of the beam search at temperature 0, at most 64; None: greedy",
        least=1,
        most=_MOST_HYPOTHESES,
    )
    patience: float | None = option(None, "patience of the beam search, arXiv:2204.05424; None: 1", above=0)
    length_penalty: float | None = option(None, _LENGTH, least=0, most=1)
    length_power: float | None = option(None, _POWER, least=-10, most=10, doors=())
    suppress_tokens: str | Sequence[int] | None = option(
        "-1", "token ids never to be sampled, separated by commas; -1: non-speech symbols"
    )
    suppress_regex: str | None = option(None, "tokens whose whole text matches are never sampled", doors=("command",))
    suppress_numerals: bool = option(False, "never sample digits and currency signs")
    suppress_blank: bool = option(True, "no blank at the start of a window")
    repetition_penalty: float = option(1.0, "above 1: makes tokens that were already said less likely", above=0)
    no_repeat_ngram_size: int = option(
        0, "sequences of so many tokens are never said twice; 0: no limit", least=0, most=_MOST_TOKENS
    )
    prefix: str | Sequence[int] | None = option(None, "text that every window's transcript begins with")
    hotwords: str | None = option(None, "words to expect, put before every window")
    without_timestamps: bool = option(False, "decode without timestamp tokens")
    max_initial_timestamp: float | None = option(1.0, "seconds within which the first timestamp must lie", least=0)
    sample_len: int | None = option(
        None, "most tokens in a window; None: half the model's context", least=1, most=_MOST_TOKENS
    )
    token_logprobs: bool = option(False, "the log-probability of each token, in JSON", doors=("command",))
    seed: int = option(0, "of the samples drawn at temperatures above 0", least=0, most=2**63 - 1)

    @cached_property
    def suppressed_ids(self) -> list[int]:
        """``suppress_tokens`` as ids; -1 stands for the non-speech tokens."""
        given = self.suppress_tokens
        if not isinstance(given, str):
            return list(given or ())
        try:
            return [int(token) for token in given.split(",")] if given else []
        except ValueError as error:
            raise OptionError(
                "not a list of token ids",
                where="suppress_tokens",
                expected="ids with commas between",
                found=repr(given),
            ) from error

    def check_window_options(self) -> None:
        """Refuse what is impossible at every temperature.

        Raises:
            OptionError: such a value.
        """
        check_ranges(self)
        _check_scale("repetition_penalty", self.repetition_penalty)
        if self.length_power is not None and self.length_penalty is not None:
            raise OptionError("can't be given together with length_penalty", where="length_power")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("needs beam_size", where="patience")
        if self.patience is not None and round((self.beam_size or 1) * self.patience) < 1:
            raise OptionError("times beam_size rounds to 0", where="patience", found=self.patience)
        _ = self.suppressed_ids  # parsed here, once
        if self.suppress_regex is not None:
            _check_regex(self.suppress_regex)


@dataclass(frozen=True)
class DecodingOptions(WindowOptions):
    """How to decode one 30 s window: one attempt, at one temperature.

    prompt: text or tokens before this window. prefix: tokens too. suppress_tokens: None or empty suppresses nothing,
    not even the special tokens. max_initial_timestamp: None or 0 sets no limit. n-grams count within a window.
    n_hyps: hypotheses decoded side by side, as the others ask for.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    temperature: float = option(0.0, "0 takes the likeliest token; above 0 samples", least=0)
    prompt: str | Sequence[int] | None = None
    n_hyps: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.check_window_options()
        object.__setattr__(self, "n_hyps", self.beam_size or self.best_of or 1)
        if self.temperature:
            _check_scale("temperature", self.temperature)
        if self.beam_size is not None and self.best_of is not None:
            raise OptionError("can't be given together with best_of", where="beam_size")
        if self.best_of is not None and self.temperature == 0:
            raise OptionError("needs a temperature above 0", where="best_of")
        if self.beam_size is not None and self.temperature > 0:
            raise OptionError("needs a temperature of 0", where="beam_size", found=self.temperature)


def _check_scale(name: str, scale: float) -> None:
    smallest, largest = _FLOAT32_SCALES
    if not smallest <= scale <= largest:
        raise OptionError(
            "too far from 1 for float32 logits", where=name, expected=f"{smallest:g} to {largest:g}", found=scale
        )


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise OptionError(
            "not a regular expression", where="suppress_regex", found=repr(pattern), hint=str(error)
        ) from error
