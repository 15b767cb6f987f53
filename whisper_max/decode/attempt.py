"""A window being decoded: what it is decoded after, by which rules, and at which of the temperatures it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from whisper_max.decode.contract import Align
from whisper_max.decode.decoded import NO_THRESHOLDS, Decoded, Thresholds, compression_ratio
from whisper_max.decode.language import DetectedLanguage
from whisper_max.decode.loop import Loop
from whisper_max.decode.loops import LoopWatch
from whisper_max.decode.more_rules import SpeechGoesOn
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.prompt import prefix_tokens, text_tokens
from whisper_max.decode.ranking import best_candidate
from whisper_max.decode.rules import LogitRule, build_rules
from whisper_max.decode.search import Candidate
from whisper_max.dims import ModelDimensions
from whisper_max.errors import WhisperMaxError
from whisper_max.text.tokenizer import SECONDS_PER_TIMESTAMP, Tokenizer


@dataclass(frozen=True)
class Context:
    """What one window is decoded after.

    prompt: tokens before it. stream: what identifies it among the windows decoded with the same seed (its first frame,
    say), for its random numbers. language: a code, in place of the tokenizer's. detect_language: find that out first.
    begun: tokens that its transcript begins with, whatever is said. spoken_until: seconds before which it is not over.
    """

    prompt: Sequence[int] = ()
    stream: Sequence[int] = ()
    language: str | None = None
    detect_language: bool = False
    begun: Sequence[int] = ()
    spoken_until: float = 0.0


class DecodingTask:
    """What windows decoded with the same options have in common: the shape of their prompt, and the rules.

    Args:
        dims: the model's.
        tokenizer: of the language and task asked for.
        temperatures: the options at each temperature; they may differ in temperature, best_of, beam_size and patience.
            A window goes on to the next one when its transcript fails; where all fail the last one counts.
        thresholds: what makes a transcript fail.
        forbids_loops: decode a window again where it says over and over what nobody does, and don't let it.

    Raises:
        OptionError: the prefix does not fit in the model's text context.
    """

    def __init__(
        self,
        dims: ModelDimensions,
        tokenizer: Tokenizer,
        temperatures: Sequence[DecodingOptions],
        thresholds: Thresholds = NO_THRESHOLDS,
        *,
        forbids_loops: bool = False,
    ) -> None:
        options = temperatures[0]
        self.tokenizer = tokenizer
        self.temperatures = temperatures
        self.thresholds = thresholds
        self.forbids_loops = forbids_loops
        self.sample_len = options.sample_len or dims.n_text_ctx // 2
        self.n_ctx = dims.n_text_ctx
        self.rules: tuple[LogitRule, ...] = build_rules(tokenizer, options)
        self._prompt_len = dims.n_text_ctx // 2 - 1  # 223 tokens before the start of the transcript
        plain = options.without_timestamps
        self._start = tokenizer.sot_sequence_including_notimestamps if plain else tokenizer.sot_sequence
        self._prefix = prefix_tokens(dims, tokenizer, options) if options.prefix else ()
        hotwords = text_tokens(tokenizer, "hotwords", options.hotwords) if options.hotwords else ()
        self._hotwords = hotwords[-self._prompt_len :]

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


@dataclass(eq=False)
class Attempt:
    """A window being decoded, at one temperature after the other until its transcript is good enough.

    number: of the temperature, from 0. detected: the window's language, where the context asks for it. outcome: its
    transcript or the error that ended it, once it has left; ``align`` then takes its tokens and the first id that is no
    text, until the pool goes on. loops: what it would say over and over and is not allowed to. rules: those of the task
    and of this window. watch: looks for loops, where the task forbids them.
    """

    task: DecodingTask
    context: Context
    number: int = 0
    detected: DetectedLanguage | None = None
    outcome: Decoded | WhisperMaxError | None = None
    align: Align = field(init=False)
    loops: list[Loop] = field(default_factory=list)
    rules: list[LogitRule] = field(init=False)
    watch: LoopWatch | None = field(init=False)

    def __post_init__(self) -> None:
        own = [SpeechGoesOn(self.task.tokenizer, self.earliest_end)] if self.earliest_end else []
        self.rules = [*self.task.rules, *own]
        self.watch = LoopWatch(self.task.tokenizer) if self.task.forbids_loops else None

    @property
    def options(self) -> DecodingOptions:
        return self.task.temperatures[self.number]

    @property
    def language(self) -> str | None:
        """The code of the window's own language; None where it has the tokenizer's."""
        return self.detected.code if self.detected else self.context.language

    @property
    def undetected(self) -> bool:
        """True where the language has yet to be found out."""
        return self.context.detect_language and self.detected is None

    def initial_tokens(self) -> tuple[int, ...]:
        """What the model is given before it decodes the window."""
        return (*self.task.initial_tokens(self.context.prompt, self.language), *self.context.begun)

    @property
    def sot_index(self) -> int:
        """Where the start of the transcript stands in the initial tokens, counted from their end."""
        return self.task.sot_index - len(self.context.begun)

    def most_tokens(self, n_initial: int) -> int:
        """How many tokens its transcript may have, begun ones included."""
        return min(self.task.sample_len, self.task.n_ctx + 1 - n_initial) + len(self.context.begun)

    @property
    def earliest_end(self) -> int:
        """The timestamp before which its transcript is not over after a pair of them; 0 where it may always be."""
        if self.options.without_timestamps or self.context.spoken_until <= 0:
            return 0
        return self.task.tokenizer.timestamp_begin + round(self.context.spoken_until / SECONDS_PER_TIMESTAMP)

    def decoded(self, candidates: Sequence[Candidate], no_speech_prob: float) -> Decoded:
        """The transcript of the best of its hypotheses."""
        task = self.task
        best = candidates[0]
        if len(candidates) > 1:
            best = best_candidate(candidates, self.options.length_penalty, self.options.length_power)
        text = task.tokenizer.decode(best.tokens).strip()
        begun = [0.0] * (len(best.tokens) - len(best.logprobs))  # tokens that were given are certain
        return Decoded(
            language=self.language or task.tokenizer.language or "en",
            tokens=best.tokens,
            text=text,
            avg_logprob=best.sum_logprob / (len(best.tokens) + 1),
            no_speech_prob=no_speech_prob,
            temperature=self.options.temperature,
            compression_ratio=compression_ratio(text),
            language_probs=self.detected.probabilities if self.detected else None,
            token_logprobs=[*begun, *best.logprobs] if self.options.token_logprobs else None,
            loops=tuple(self.loops),
        )

    def ends_with(self, outcome: Decoded | WhisperMaxError) -> bool:
        """True where this is what becomes of the window; False where it is decoded again.

        That is without a loop, at the same temperature, or else at the next one.
        """
        if self.watch is not None and isinstance(outcome, Decoded) and self.watch.breaks(self, outcome.tokens):
            return False
        is_last = self.number + 1 == len(self.task.temperatures)
        if isinstance(outcome, WhisperMaxError) or is_last or not self.task.thresholds.failed(outcome):
            self.outcome = outcome
            return True
        self.number += 1
        if self.watch is not None:
            self.watch.go_on(self)
        return False

    @property
    def result(self) -> Decoded:
        """The transcript of a window that has left.

        Raises:
            WhisperMaxError: the error that ended it.
        """
        if not isinstance(self.outcome, Decoded):
            raise self.outcome or WhisperMaxError("the window is still being decoded")
        return self.outcome
