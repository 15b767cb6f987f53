"""The options of decoding: openai-whisper's names, defaults and rules, and a few more of our own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import TASKS

_MOST_HYPOTHESES = 64
"""Of one window: each keeps keys and values of its own, in float32 11 MB of base, 147 MB of large (448 positions x 32
blocks x 2 x 1280 x 4 bytes)."""


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode one 30 s window.

    task: "transcribe", or "translate" into English. language: code, name or alias; None detects it.
    temperature: 0 takes the likeliest token; above 0 samples. sample_len: most tokens to sample, by default half of
        the model's text context. best_of: independent samples to choose from, with a temperature above 0.
    beam_size: beams, at temperature 0. Both are at most 64. patience: finished sequences to wait for, in units of
        beam_size (arXiv:2204.05424), by default 1. length_penalty: alpha of Google NMT (arXiv:1609.08144), 0..1; None
        divides by the length.
    prompt: text or tokens before this window. prefix: text or tokens that this window's transcript begins with.
        hotwords: words to expect, put before the prompt of every window.
    suppress_tokens: ids, or "-1" for everything that is not speech; None or empty suppresses nothing, not even
        the special tokens. suppress_blank: no empty transcript. suppress_regex: no token whose whole text (leading
        space included) matches. suppress_numerals: no token with a digit, percent or currency sign, so that numbers
        are written as words.
    without_timestamps: text only. max_initial_timestamp: latest start of the first segment, in seconds; None or 0
        sets no limit.
    repetition_penalty: above 1 makes text tokens already in this window less likely (arXiv:1909.05858).
        no_repeat_ngram_size: text n-grams of this size may not come twice in a window; 0 allows all.
    seed: of the random streams, one for each window, temperature and sample.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    task: str = "transcribe"
    language: str | None = None
    temperature: float = 0.0
    sample_len: int | None = None
    best_of: int | None = None
    beam_size: int | None = None
    patience: float | None = None
    length_penalty: float | None = None
    prompt: str | Sequence[int] | None = None
    prefix: str | Sequence[int] | None = None
    hotwords: str | None = None
    suppress_tokens: str | Sequence[int] | None = "-1"
    suppress_blank: bool = True
    suppress_regex: str | None = None
    suppress_numerals: bool = False
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_ranges(self)
        _check_combinations(self)
        self.suppressed_ids()
        if self.suppress_regex is not None:
            _check_regex(self.suppress_regex)

    @property
    def n_hyps(self) -> int:
        """Hypotheses decoded side by side for one window."""
        return self.beam_size or self.best_of or 1

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


def _check_ranges(options: DecodingOptions) -> None:
    if options.task not in TASKS:
        raise OptionError("unknown task", where="task", expected=" or ".join(TASKS), found=repr(options.task))
    at_least = {"sample_len": 1, "best_of": 1, "beam_size": 1, "no_repeat_ngram_size": 0, "seed": 0}
    for name, least in at_least.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise OptionError("out of range", where=name, expected=f"at least {least}", found=value)
    for name in ("best_of", "beam_size"):
        value = getattr(options, name)
        if value is not None and value > _MOST_HYPOTHESES:
            raise OptionError("out of range", where=name, expected=f"at most {_MOST_HYPOTHESES}", found=value)
    for name in ("temperature", "max_initial_timestamp"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < math.inf:
            raise OptionError("out of range", where=name, expected="0 or more", found=value)
    for name in ("patience", "repetition_penalty"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise OptionError("out of range", where=name, expected="above 0", found=value)
    if options.length_penalty is not None and not 0 <= options.length_penalty <= 1:
        raise OptionError("out of range", where="length_penalty", expected="0 to 1", found=options.length_penalty)


def _check_combinations(options: DecodingOptions) -> None:
    if options.beam_size is not None and options.best_of is not None:
        raise OptionError("can't be given together with best_of", where="beam_size")
    if options.best_of is not None and options.temperature == 0:
        raise OptionError("needs a temperature above 0", where="best_of")
    if options.beam_size is not None and options.temperature > 0:
        raise OptionError("needs a temperature of 0", where="beam_size", found=options.temperature)
    if options.patience is not None and options.beam_size is None:
        raise OptionError("needs beam_size", where="patience")
    if options.patience is not None and round((options.beam_size or 1) * options.patience) < 1:
        raise OptionError("times beam_size rounds to 0", where="patience", found=options.patience)


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise OptionError(
            "not a regular expression", where="suppress_regex", found=repr(pattern), hint=str(error)
        ) from error
