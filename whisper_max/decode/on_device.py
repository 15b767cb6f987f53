"""Decoding windows on a device that chooses the tokens itself: the rules as masks, and a loop that only looks on.

The results are those of ``decode.task``, up to rounding: a token differs where two logits, or a sum of probabilities
and a random draw, are closer than float32 tells apart. Beam search and the penalties for repetition stay with the host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.inference import AudioFeatures, Float32, Opaque
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.result import DecodingResult, compression_ratio
from whisper_max.decode.rules import SuppressBlank, SuppressTokens, TimestampRules, build_rules
from whisper_max.decode.search import Candidate, best_candidate, random_streams
from whisper_max.decode.task import DecodeRequest, DecodingTask
from whisper_max.dims import ModelDimensions
from whisper_max.text.tokenizer import Tokenizer

_UNLIKELY = np.float32(-1e9)


@dataclass(frozen=True)
class TokenMasks:
    """The rules of a transcript as masks; what they remember of it is the device's business.

    never, not_first: (n_vocab,) bool. timestamp_begin: n_vocab where timestamps have no rules.
    """

    never: NDArray[np.bool_]
    not_first: NDArray[np.bool_]
    eot: int
    timestamp_begin: int
    no_speech: int


@dataclass(frozen=True)
class DeviceStart:
    """A window about to be decoded.

    prompt: the tokens before the transcript. sot: the place of its start among them. limit: the most tokens.
    temperature, draws: of sampling; draws (n_hyps, n_text_ctx) float32 in [0, 1), one for each token.
    """

    prompt: Sequence[int]
    sot: int
    limit: int
    temperature: float
    draws: Float32


class DeviceEnd(Protocol):
    """What became of a window: each hypothesis' tokens (its end included where it came) and log-probability."""

    tokens: list[list[int]]
    sum_logprobs: list[float]
    no_speech_prob: float


class DeviceBatch(Protocol):
    """Places for windows; see ``engine.gpu_decoding.DeviceDecoding``."""

    n_windows: int

    def start(self, places: Sequence[int], features: Opaque, starts: Sequence[DeviceStart]) -> None:
        """Begin windows in idle places, in increasing order."""
        ...

    def advance(self) -> None:
        """Queue one more token for every window."""
        ...

    def finished(self) -> list[int]:
        """The places known to be finished."""
        ...

    def take(self, place: int) -> DeviceEnd:
        """What became of a finished window."""
        ...


class DeviceInference(Protocol):
    """A model whose device chooses tokens."""

    @property
    def dims(self) -> ModelDimensions:
        """The model's dimensions."""
        ...

    def device_batch(self, masks: TokenMasks, n_windows: int, n_hyps: int, *, sampled: bool) -> DeviceBatch:
        """Places for windows: at most ``n_windows``, as many as fit on the device."""
        ...


def token_masks(tokenizer: Tokenizer, options: DecodingOptions, n_vocab: int) -> TokenMasks | None:
    """The options' rules as masks, or None where some rule can't be one."""
    never, not_first = np.zeros((2, n_vocab), np.bool_)
    timestamp_begin = n_vocab
    if options.beam_size is not None:
        return None
    for rule in build_rules(tokenizer, options):
        row = np.zeros((1, n_vocab), np.float32)
        if isinstance(rule, SuppressBlank):
            rule.apply(row, [[]])
            not_first |= np.isneginf(row[0])
        elif isinstance(rule, SuppressTokens):
            rule.apply(row, [[]])
            never |= np.isneginf(row[0])
        elif isinstance(rule, TimestampRules):
            timestamp_begin = tokenizer.timestamp_begin
            rule.apply(row, [[]])
            not_first |= np.isneginf(row[0])
            row = np.zeros((1, n_vocab), np.float32)
            row[:, timestamp_begin:] = _UNLIKELY  # so that they don't win over text
            rule.apply(row, [[0]])
            never |= np.isneginf(row[0])
        else:
            return None
    return TokenMasks(never, not_first, tokenizer.eot, timestamp_begin, tokenizer.no_speech)


def decode_windows_on_device(
    inference: DeviceInference,
    task: DecodingTask,
    features: AudioFeatures,
    requests: Sequence[DecodeRequest],
    max_windows: int | None = None,
) -> list[DecodingResult] | None:
    """Decode windows with every token chosen on the device, each climbing the task's ladder as on the host.

    Args:
        features: the encoded windows.
        requests: one for each window.
        max_windows: most windows at once; None for as many as fit.

    Returns:
        a result for each window; None where the options, or a language to be found out, need the host.
    """
    all_masks = [token_masks(task.tokenizer, options, inference.dims.n_vocab) for options in task.ladder]
    if any(masks is None for masks in all_masks) or any(request.detect_language for request in requests):
        return None
    results: dict[int, DecodingResult] = {}
    failed = list(range(len(requests)))
    for options, masks in zip(task.ladder, all_masks, strict=True):
        if failed and masks is not None:
            n_windows = min(len(failed), max_windows or len(failed))
            batch = inference.device_batch(masks, n_windows, options.n_hyps, sampled=options.temperature > 0)
            results |= _Attempt(task, options, features, requests, deque(failed), batch).run()
            failed = [index for index in failed if task.thresholds.failed(results[index])]
    return [results[index] for index in range(len(requests))]


class _Attempt:
    """All windows that are decoded with the same options."""

    def __init__(
        self,
        task: DecodingTask,
        options: DecodingOptions,
        features: AudioFeatures,
        requests: Sequence[DecodeRequest],
        waiting: deque[int],
        batch: DeviceBatch,
    ) -> None:
        self._task, self._options, self._features, self._requests = task, options, features, requests
        self._waiting, self._batch = waiting, batch
        self._places: dict[int, int] = {}

    def run(self) -> dict[int, DecodingResult]:
        """The results by index of the request."""
        return dict(self._run())

    def _run(self) -> Iterator[tuple[int, DecodingResult]]:
        self._fill()
        while self._places:
            self._batch.advance()
            done = self._batch.finished()
            for place in done:
                index = self._places.pop(place)
                yield index, self._result(self._requests[index], self._batch.take(place))
            if done:
                self._fill()

    def _fill(self) -> None:
        """Start waiting windows in the idle places."""
        idle = [place for place in range(self._batch.n_windows) if place not in self._places]
        begun = {place: self._waiting.popleft() for place in idle[: len(self._waiting)]}
        if begun:
            chosen = self._features.select(list(begun.values()))
            self._batch.start(list(begun), chosen, [self._start(self._requests[index]) for index in begun.values()])
            self._places |= begun

    def _start(self, request: DecodeRequest) -> DeviceStart:
        prompt = self._task.initial_tokens(request.prompt, request.language)
        limit = min(self._task.sample_len, self._task.n_ctx + 1 - len(prompt))
        options = self._options
        draws = np.zeros((0, self._task.n_ctx), np.float32)
        if options.temperature > 0:
            streams = random_streams(options, request.stream)
            draws = np.stack([stream.random(self._task.n_ctx, dtype=np.float32) for stream in streams])
        return DeviceStart(prompt, len(prompt) + self._task.sot_index, limit, options.temperature, draws)

    def _result(self, request: DecodeRequest, end: DeviceEnd) -> DecodingResult:
        tokenizer = self._task.tokenizer
        candidates = [
            Candidate(tokens[:-1] if tokens[-1] == tokenizer.eot else tokens, total)
            for tokens, total in zip(end.tokens, end.sum_logprobs, strict=True)
        ]
        best = best_candidate(candidates, self._task.length_penalty)
        text = tokenizer.decode(best.tokens).strip()
        return DecodingResult(
            language=request.language or tokenizer.language or "en",
            tokens=best.tokens,
            text=text,
            avg_logprob=best.sum_logprob / (len(best.tokens) + 1),
            no_speech_prob=end.no_speech_prob,
            temperature=self._options.temperature,
            compression_ratio=compression_ratio(text),
        )
