"""Logit rules: what may not be said next, as minus infinity in the logits.

A rule sees the logits of one window's hypotheses, (n_hyps, n_vocab) float32, changes them in place, and knows the
tokens sampled so far (prompt and prefix are not among them). The hypotheses of a window have the same length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from whisper_max.decode.contract import Float32
from whisper_max.decode.more_rules import NoRepeatNgram, RepetitionPenalty, suppressed_texts
from whisper_max.decode.options import DecodingOptions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import SECONDS_PER_TIMESTAMP, Tokenizer

_FORBIDDEN = np.float32(-np.inf)


class LogitRule(Protocol):
    """What may not be said next, or is less likely to be."""

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Change the logits in place. sampled: each hypothesis' tokens so far."""
        ...


class SuppressBlank:
    """The transcript begins neither with a space alone nor with its end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokens = np.array([*tokenizer.encode(" "), tokenizer.eot])

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on the first token only."""
        if not sampled[0]:
            logits[:, self._tokens] = _FORBIDDEN


class SuppressTokens:
    """Some tokens never come."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens = np.array(sorted(set(tokens)), dtype=np.intp)

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        logits[:, self._tokens] = _FORBIDDEN


class TimestampRules:
    """Timestamps come first, in pairs, never go back, and come when they are likelier together than any text.

    openai/whisper ``decoding.py``, ``ApplyTimestampRules``. max_initial: the last timestamp, counted from 0.00 s,
    that may come first.
    """

    def __init__(self, tokenizer: Tokenizer, max_initial: int | None) -> None:
        self._eot = tokenizer.eot
        self._no_timestamps = tokenizer.no_timestamps
        self._begin = tokenizer.timestamp_begin
        self._end = tokenizer.timestamp_end
        self._first_limit = None if max_initial is None else self._begin + max_initial + 1

    def apply(self, logits: Float32, sampled: Sequence[Sequence[int]]) -> None:
        """Acts on every token."""
        logits[:, self._no_timestamps] = _FORBIDDEN
        for row, tokens in zip(logits, sampled, strict=True):
            if tokens:
                self._keep_pairs_and_order(row, tokens)
            else:
                self._forbid_text(row)
                row[self._first_limit or len(row) :] = _FORBIDDEN
            if self._timestamps_win(row):
                self._forbid_text(row)

    def _forbid_text(self, row: Float32) -> None:
        """All but the timestamps; words that were added stand behind these."""
        row[: self._begin] = _FORBIDDEN
        row[self._end :] = _FORBIDDEN

    def _keep_pairs_and_order(self, row: Float32, tokens: Sequence[int]) -> None:
        begin, end = self._begin, self._end
        opened = begin <= tokens[-1] < end
        closed = opened and (len(tokens) < 2 or begin <= tokens[-2] < end)
        last = next((token for token in reversed(tokens) if begin <= token < end), None)
        if closed:
            row[begin:end] = _FORBIDDEN  # a pair is complete: text
        elif opened:
            row[: self._eot] = _FORBIDDEN  # the second of a pair, or the end
            row[end:] = _FORBIDDEN
            row[begin:last] = _FORBIDDEN
        elif last is not None:
            row[begin : last + 1] = _FORBIDDEN  # a segment lasts longer than nothing

    def _timestamps_win(self, row: Float32) -> bool:
        """True where all timestamps together are likelier than the likeliest text token."""
        timestamps = row[self._begin : self._end]
        best_timestamp = timestamps.max()
        if best_timestamp == _FORBIDDEN:
            return False
        best_text = max(row[: self._begin].max(), row[self._end :].max(initial=_FORBIDDEN))
        return bool(best_timestamp + np.log(np.exp(timestamps - best_timestamp).sum()) > best_text)


def build_rules(tokenizer: Tokenizer, options: DecodingOptions) -> tuple[LogitRule, ...]:
    """The rules that the options ask for, in openai-whisper's order, the penalties on raw logits first.

    Raises:
        OptionError: a suppressed token is not in the vocabulary.
    """
    rules: list[LogitRule] = []
    if options.repetition_penalty != 1.0:
        rules.append(RepetitionPenalty(options.repetition_penalty, tokenizer))
    if options.no_repeat_ngram_size:
        rules.append(NoRepeatNgram(options.no_repeat_ngram_size, tokenizer))
    if options.suppress_blank:
        rules.append(SuppressBlank(tokenizer))
    if suppressed := suppressed_tokens(tokenizer, options):
        rules.append(SuppressTokens(suppressed))
    if not options.without_timestamps:
        limit = options.max_initial_timestamp
        rules.append(TimestampRules(tokenizer, round(limit / SECONDS_PER_TIMESTAMP) if limit else None))
    return tuple(rules)


def suppressed_tokens(tokenizer: Tokenizer, options: DecodingOptions) -> set[int]:
    """The tokens that never come.

    Raises:
        OptionError: a suppressed token is not in the vocabulary.
    """
    given = options.suppressed_ids
    suppressed = {token for token in given if token >= 0} | set(tokenizer.vocabulary.unused)
    if unknown := [token for token in given if not -1 <= token < tokenizer.n_vocab]:
        raise OptionError(
            "no such token", where="suppress_tokens", expected=f"-1 or ids below {tokenizer.n_vocab}", found=unknown[0]
        )
    if given:
        suppressed |= {tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev}
        suppressed |= {tokenizer.sot_lm, tokenizer.no_speech}
    if -1 in given:
        suppressed |= set(tokenizer.non_speech_tokens)
    if options.suppress_numerals or options.suppress_regex is not None:
        suppressed |= suppressed_texts(tokenizer, options.suppress_numerals, options.suppress_regex)
    return suppressed
