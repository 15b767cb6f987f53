"""Windows decoded on a device that chooses the tokens itself: the host only looks on, a few steps behind.

The results are those of the host's decoding, up to rounding: a token differs where two logits, or a sum of
probabilities and a random draw, are closer than float32 tells apart. Beam search, the penalties for repetition and
detecting languages stay with the host.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from whisper_max.decode.inference import Alignment, AudioFeatures, Float32, Inference, Opaque
from whisper_max.decode.job import Finished, Job
from whisper_max.decode.masks import TokenMasks
from whisper_max.decode.result import DecodingResult
from whisper_max.decode.search import Candidate, random_streams
from whisper_max.errors import WhisperMaxError


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

    @property
    def tokens(self) -> list[list[int]]:
        """Of each hypothesis."""
        ...

    @property
    def sum_logprobs(self) -> list[float]:
        """Of each hypothesis."""
        ...

    @property
    def no_speech_prob(self) -> float:
        """At the start of the transcript."""
        ...


class DeviceBatch(Protocol):
    """Places for windows; see ``engine.gpu_decoding.DeviceDecoding``."""

    @property
    def n_windows(self) -> int:
        """How many places."""
        ...

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
        """What became of a finished window; its place is idle after it.

        Raises:
            WhisperMaxError: the error that ended it.
        """
        ...

    def drop(self, place: int) -> None:
        """Forget a window; its place is idle."""
        ...


@runtime_checkable
class DeviceInference(Inference, Protocol):
    """A model whose device chooses tokens."""

    @property
    def chooses_tokens(self) -> bool:
        """False where the device was found to choose wrong ones."""
        ...

    def device_batch(self, masks: TokenMasks, n_windows: int, n_hyps: int, *, sampled: bool) -> Any:  # noqa: ANN401
        """A ``DeviceBatch`` of ``n_windows`` places or somewhat more, or of as many as fit on the device."""
        ...

    def give_back(self, batch: Any) -> None:  # noqa: ANN401
        """Take a batch that is needed no more; another may be made of it."""
        ...


@dataclass(frozen=True)
class _Window:
    """A job and its audio."""

    job: Job
    features: AudioFeatures


class DeviceCrew:
    """The windows that a device decodes by the same rules, greedily or by as many samples each.

    Those that find no place wait for one.

    Args:
        inference: the model.
        masks: the rules.
        job: any of them.
        max_windows: most places.
        seat: what the pool knows it by.
    """

    def __init__(
        self, inference: DeviceInference, masks: TokenMasks, job: Job, max_windows: int, seat: Hashable
    ) -> None:
        self._inference = inference
        self._seat = seat
        sampled = job.options.temperature > 0
        self._batch: DeviceBatch = inference.device_batch(masks, max_windows, job.options.n_hyps, sampled=sampled)
        self._windows: dict[int, _Window] = {}
        self._waiting: deque[_Window] = deque()

    @property
    def n_windows(self) -> int:
        """Those that wait included."""
        return len(self._windows) + len(self._waiting)

    def close(self) -> None:
        """Give the batch back; nothing can be decoded after it."""
        self._inference.give_back(self._batch)

    def add(self, jobs: Sequence[Job], features: AudioFeatures) -> None:
        """Let windows join. features: one row for each."""
        windows = [_Window(job, features.select([row])) for row, job in enumerate(jobs)]
        idle = self._idle_places()[: len(windows)]
        if idle:
            self._start(idle, windows[: len(idle)], features.select(range(len(idle))))
        self._waiting += windows[len(idle) :]

    def remove(self, job: Job) -> None:
        """Let a window leave before it is finished."""
        self._waiting = deque(window for window in self._waiting if window.job is not job)
        for place in [place for place, window in self._windows.items() if window.job is job]:
            del self._windows[place]
            self._batch.drop(place)
        self._fill()

    def advance(self, seat_of: Callable[[Job], Hashable]) -> tuple[list[Finished], list[tuple[Job, AudioFeatures]]]:
        """Queue a token of each window.

        Args:
            seat_of: where a job's attempt is decoded.

        Returns:
            the windows that are known to have left: finished ones, and those whose next attempt is not decoded here.
        """
        finished: list[Finished] = []
        moving: list[tuple[Job, AudioFeatures]] = []
        self._batch.advance()
        for place in self._batch.finished():
            window = self._windows.pop(place)
            outcome = self._take(place, window.job)
            if isinstance(outcome, WhisperMaxError) or not window.job.climb(outcome):
                finished.append(Finished(window.job, outcome, partial(self._align, window.features)))
            elif seat_of(window.job) == self._seat:
                self._start([place], [window], window.features)
            else:
                moving.append((window.job, window.features))
        self._fill()
        return finished, moving

    def _fill(self) -> None:
        """Start waiting windows in idle places."""
        for place in self._idle_places()[: len(self._waiting)]:
            window = self._waiting.popleft()
            self._start([place], [window], window.features)

    def _idle_places(self) -> list[int]:
        return [place for place in range(self._batch.n_windows) if place not in self._windows]

    def _start(self, places: Sequence[int], windows: Sequence[_Window], features: AudioFeatures) -> None:
        self._windows.update(zip(places, windows, strict=True))
        self._batch.start(places, features, [_start_of(window.job) for window in windows])

    def _take(self, place: int, job: Job) -> DecodingResult | WhisperMaxError:
        try:
            end = self._batch.take(place)
        except WhisperMaxError as error:
            return error
        eot = job.task.tokenizer.eot
        ends = zip(end.tokens, end.sum_logprobs, strict=True)
        candidates = [Candidate(tokens[:-1] if tokens[-1] == eot else tokens, total) for tokens, total in ends]
        return job.result(candidates, end.no_speech_prob)

    def _align(self, features: AudioFeatures, tokens: Sequence[int], eot: int) -> Alignment:
        batch = self._inference.new_batch(1)
        batch.put([0], features)
        return batch.align(0, tokens, eot)


def _start_of(job: Job) -> DeviceStart:
    prompt, options, n_ctx = job.initial_tokens(), job.options, job.task.n_ctx
    draws = np.zeros((0, n_ctx), np.float32)
    if options.temperature > 0:
        streams = random_streams(options, job.request.stream)
        draws = np.stack([stream.random(n_ctx, dtype=np.float32) for stream in streams])
    sot = len(prompt) + job.task.sot_index
    return DeviceStart(prompt, sot, job.most_tokens(len(prompt)), options.temperature, draws)
