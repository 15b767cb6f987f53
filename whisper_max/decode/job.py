"""A window to decode, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whisper_max.decode.inference import Alignment
from whisper_max.decode.language import DetectedLanguage
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.result import DecodingResult, compression_ratio
from whisper_max.decode.search import Candidate, best_candidate
from whisper_max.decode.task import DecodeRequest, DecodingTask
from whisper_max.errors import WhisperMaxError


@dataclass(eq=False)
class Job:
    """A window to decode: what is asked, and on which rung of the task's ladder it is."""

    task: DecodingTask
    request: DecodeRequest
    attempt: int = 0
    detected: DetectedLanguage | None = None  # where the request is to detect it

    @property
    def options(self) -> DecodingOptions:
        """Those of this attempt."""
        return self.task.ladder[self.attempt]

    @property
    def language(self) -> str | None:
        """The code of the window's own language; None where it has the tokenizer's."""
        return self.detected.code if self.detected else self.request.language

    @property
    def undetected(self) -> bool:
        """True where the language has yet to be found out."""
        return self.request.detect_language and self.detected is None

    def initial_tokens(self) -> tuple[int, ...]:
        """What the model is given before it decodes the window."""
        return self.task.initial_tokens(self.request.prompt, self.language)

    def most_tokens(self, n_initial: int) -> int:
        """How many tokens may follow the initial ones."""
        return min(self.task.sample_len, self.task.n_ctx + 1 - n_initial)

    def result(self, candidates: Sequence[Candidate], no_speech_prob: float) -> DecodingResult:
        """That of this attempt: the best of its candidates."""
        task = self.task
        best = best_candidate(candidates, task.length_penalty)
        text = task.tokenizer.decode(best.tokens).strip()
        return DecodingResult(
            language=self.language or task.tokenizer.language or "en",
            tokens=best.tokens,
            text=text,
            avg_logprob=best.sum_logprob / (len(best.tokens) + 1),
            no_speech_prob=no_speech_prob,
            temperature=self.options.temperature,
            compression_ratio=compression_ratio(text),
            language_probs=self.detected.probabilities if self.detected else None,
        )

    def climb(self, result: DecodingResult) -> bool:
        """Go to the next rung where the transcript failed; False where the result counts."""
        if self.attempt + 1 == len(self.task.ladder) or not self.task.thresholds.failed(result):
            return False
        self.attempt += 1
        return True


@dataclass(frozen=True, eq=False)
class Finished:
    """A window that has left: its transcript, or the error that ended it.

    align: of its tokens and the first id that is no text; until the pool goes on.
    """

    job: Job
    outcome: DecodingResult | WhisperMaxError
    align: Callable[[Sequence[int], int], Alignment]

    @property
    def result(self) -> DecodingResult:
        """Its transcript.

        Raises:
            WhisperMaxError: the error that ended it.
        """
        if isinstance(self.outcome, WhisperMaxError):
            raise self.outcome
        return self.outcome
