"""What is to be decoded: windows, and what those of the same options have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from whisper_max.decode.fallback import NO_THRESHOLDS, Thresholds
from whisper_max.decode.masks import TokenMasks, token_masks
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.rules import LogitRule, build_rules
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class DecodeRequest:
    """One window to decode.

    prompt: tokens before it. stream: what identifies it among the windows decoded with the same seed (its first frame,
    say), for its random numbers. language: a code, in place of the tokenizer's. detect_language: find that out first.
    """

    prompt: Sequence[int] = ()
    stream: Sequence[int] = ()
    language: str | None = None
    detect_language: bool = False


class DecodingTask:
    """What windows decoded with the same options have in common: the shape of their prompt, and the rules.

    Args:
        dims: the model's.
        tokenizer: of the language and task asked for.
        ladder: the options of each attempt; they may differ in temperature, best_of, beam_size and patience. A window
            climbs on when its transcript fails; where all attempts fail the last one counts.
        thresholds: what makes a transcript fail.

    Raises:
        OptionError: the prefix or the hotwords don't fit in the model's text context.
    """

    def __init__(
        self,
        dims: ModelDimensions,
        tokenizer: Tokenizer,
        ladder: Sequence[DecodingOptions],
        thresholds: Thresholds = NO_THRESHOLDS,
    ) -> None:
        options = ladder[0]
        self.tokenizer = tokenizer
        self.ladder = ladder
        self.thresholds = thresholds
        self.sample_len = options.sample_len or dims.n_text_ctx // 2
        self.n_ctx = dims.n_text_ctx
        self.length_penalty = options.length_penalty
        self.rules: tuple[LogitRule, ...] = build_rules(tokenizer, options)
        self._n_vocab = dims.n_vocab
        self._prompt_len = dims.n_text_ctx // 2 - 1  # 223 tokens before the start of the transcript
        self._start = tokenizer.sot_sequence
        if options.without_timestamps:
            self._start = tokenizer.sot_sequence_including_notimestamps
        self._prefix = self._prefix_tokens(options)
        self._hotwords = self._hotword_tokens(options)

    @cached_property
    def masks(self) -> TokenMasks | None:
        """The rules as masks; None where one of them can't be."""
        return token_masks(self.rules, self.tokenizer, self._n_vocab)

    @property
    def sot_index(self) -> int:
        """Where the start of the transcript stands in every prompt, counted from its end."""
        return -len(self._start) - len(self._prefix)

    def initial_tokens(self, prompt: Sequence[int], language: str | None) -> tuple[int, ...]:
        """What the model is given before it decodes a window. language: a code, in place of the tokenizer's."""
        room = self._prompt_len - len(self._hotwords)
        before = (*self._hotwords, *(prompt[-room:] if room else ()))
        start = self._start
        if language is not None and self.tokenizer.language is not None:
            start = (start[0], self.tokenizer.to_language_token(language), *start[2:])
        return (*((self.tokenizer.sot_prev,) if before else ()), *before, *start, *self._prefix)

    def _prefix_tokens(self, options: DecodingOptions) -> tuple[int, ...]:
        """As openai-whisper cuts it: to what ``sample_len`` leaves of half the context; whole by default."""
        prefix = text_tokens(self.tokenizer, "prefix", options.prefix)
        prefix = prefix[-(self.n_ctx // 2 - self.sample_len) :]
        room = self.n_ctx - self._prompt_len - 1 - len(self._start) - 1  # beside a full prompt and one sampled token
        if len(prefix) > room:
            raise OptionError("too long", where="prefix", expected=f"at most {room} tokens", found=len(prefix))
        return prefix

    def _hotword_tokens(self, options: DecodingOptions) -> tuple[int, ...]:
        hotwords = text_tokens(self.tokenizer, "hotwords", options.hotwords)
        if len(hotwords) > self._prompt_len:
            raise OptionError(
                "too many",
                where="hotwords",
                expected=f"at most {self._prompt_len} tokens",
                found=f"{len(hotwords)} tokens",
                hint="give fewer or shorter words",
            )
        return hotwords


def text_tokens(tokenizer: Tokenizer, name: str, given: str | Sequence[int] | None) -> tuple[int, ...]:
    """Text as openai-whisper gives it to the model, after a space; tokens as they are.

    Args:
        name: of the option, for errors.

    Raises:
        OptionError: a token that the vocabulary has not, which the model can't be given.
    """
    if isinstance(given, str):
        return tuple(tokenizer.encode(" " + given.strip())) if given.strip() else ()
    tokens = tuple(given or ())
    if unknown := [token for token in tokens if not 0 <= token < tokenizer.n_vocab]:
        expected = f"ids from 0 to {tokenizer.n_vocab - 1}"
        raise OptionError("no such token", where=name, expected=expected, found=unknown[0])
    return tokens
