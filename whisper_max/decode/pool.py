"""Windows being decoded side by side: they join and leave at any time.

They share a batch of the model and nothing else. Each has its prompt, its rules, its search and, when its transcript
fails, its next temperature; so a window's transcript never depends on its company.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from whisper_max.decode.inference import AudioFeatures, DecoderBatch, Float32, Inference
from whisper_max.decode.job import Finished, Job
from whisper_max.decode.language import detect_in_batch
from whisper_max.decode.masks import TokenMasks
from whisper_max.decode.on_device import DeviceCrew, DeviceInference
from whisper_max.decode.result import DecodingResult
from whisper_max.decode.search import Search, new_search
from whisper_max.errors import WhisperMaxError


class DecodingPool:
    """Windows in decoding, at most ``max_windows``: one batch for each number of hypotheses there is.

    Where the model's device chooses tokens itself, the windows whose options allow it are decoded there, in a batch for
    each set of rules and number of samples, which is given back once it is empty.
    """

    def __init__(self, inference: Inference, max_windows: int) -> None:
        self._inference = inference
        self._device: DeviceInference | None = None
        if isinstance(inference, DeviceInference) and inference.chooses_tokens:
            self._device = inference
        self._max_windows = max_windows
        self._crews: dict[Hashable, _Crew | DeviceCrew] = {}

    @property
    def room(self) -> int:
        """How many windows may join."""
        return self._max_windows - sum(crew.n_windows for crew in self._crews.values())

    def add(self, jobs: Sequence[Job], features: AudioFeatures) -> None:
        """Let windows join, at most as many as there is room for. features: one row for each."""
        by_seat: dict[Hashable, list[int]] = {}
        for row, job in enumerate(jobs):
            by_seat.setdefault(self._seat(job), []).append(row)
        for seat, rows in by_seat.items():
            crew = self._crews.get(seat)
            if crew is None:
                crew = self._crews[seat] = self._new_crew(seat, jobs[rows[0]])
            crew.add([jobs[row] for row in rows], features.select(rows))

    def remove(self, job: Job) -> None:
        """Let a window leave before it is finished; its place is free at once."""
        for crew in self._crews.values():
            crew.remove(job)
        self._give_back()

    def advance(self) -> list[Finished]:
        """Give out the windows that are finished; where none is, decode a token of each."""
        finished = []
        for crew in list(self._crews.values()):
            left, moving = crew.advance(self._seat)
            finished += left
            for job, features in moving:
                self.add([job], features)
        self._give_back()
        return finished

    def _seat(self, job: Job) -> Hashable:
        """Equal for jobs whose attempts are decoded in the same batch."""
        options = job.options
        masks = self._masks(job)
        return options.n_hyps if masks is None else (options.n_hyps, options.temperature > 0, masks.key)

    def _masks(self, job: Job) -> TokenMasks | None:
        """The rules of an attempt that the device can decode; None for one that the host has to."""
        if self._device is None or job.undetected or job.options.beam_size is not None:
            return None
        return job.task.masks

    def _new_crew(self, seat: Hashable, job: Job) -> _Crew | DeviceCrew:
        masks = self._masks(job)
        if self._device is None or masks is None:
            return _Crew(self._inference.new_batch(self._max_windows, job.options.n_hyps), seat)
        return DeviceCrew(self._device, masks, job, self._max_windows, seat)

    def _give_back(self) -> None:
        """Free what the device holds for windows that have all left."""
        if self._device is None:
            return
        for seat, crew in list(self._crews.items()):
            if isinstance(crew, DeviceCrew) and not crew.n_windows:
                del self._crews[seat]
                crew.close()


class _Lane:
    """One window's place in a batch: an attempt in progress."""

    def __init__(self, job: Job, features: AudioFeatures) -> None:
        self.job = job
        self.features = features
        self.begin()

    def begin(self) -> None:
        """Start the job's attempt from nothing."""
        task, options = self.job.task, self.job.options
        self.initial_tokens = self.job.initial_tokens()
        self.error: WhisperMaxError | None = None
        self.moved = False  # True where hypotheses changed places at the last step
        self.sources = np.arange(options.n_hyps, dtype=np.int32)
        self._search: Search = new_search(options, task.tokenizer.eot, self.job.request.stream)
        self._most = self.job.most_tokens(len(self.initial_tokens))
        self._no_speech_prob = np.nan

    def start(self, logits: Float32) -> None:
        """Take the first token. logits: (2, n_vocab), those at the start of the transcript and the last ones."""
        at_sot, last = logits
        weights = np.exp(at_sot - at_sot.max())
        self._no_speech_prob = float(weights[self.job.task.tokenizer.no_speech] / weights.sum())
        self.advance(np.repeat(last[None], self.job.options.n_hyps, axis=0))

    def advance(self, logits: Float32) -> None:
        """Take the next token. logits: (n_hyps, n_vocab), overwritten."""
        try:
            for rule in self.job.task.rules:
                rule.apply(logits, self._search.sampled)
            sources = self._search.update(logits)
        except WhisperMaxError as error:
            self.error = error
            return
        self.moved = sources is not None
        if sources is not None:
            self.sources = sources

    @property
    def last_tokens(self) -> list[int]:
        return [tokens[-1] for tokens in self._search.sampled]

    @property
    def done(self) -> bool:
        return self.error is not None or self._search.done or len(self._search.sampled[0]) >= self._most

    def result(self) -> DecodingResult:
        return self.job.result(self._search.candidates(), self._no_speech_prob)


@dataclass
class _Crew:
    """The windows whose attempt takes the same number of hypotheses, and their batch; None is a free place.

    seat: what the pool knows it by.
    """

    batch: DecoderBatch
    seat: Hashable
    lanes: list[_Lane | None] = field(default_factory=list)

    @property
    def n_windows(self) -> int:
        return sum(lane is not None for lane in self.lanes)

    def add(self, jobs: Sequence[Job], features: AudioFeatures) -> None:
        """Take the free places, then new ones."""
        free = [place for place, lane in enumerate(self.lanes) if lane is None]
        places = [*free, *range(len(self.lanes), len(self.lanes) + len(jobs))][: len(jobs)]
        self.batch.put(places, features)
        self._detect_languages([(place, job) for place, job in zip(places, jobs, strict=True) if job.undetected])
        self.lanes += [None] * (max(places) + 1 - len(self.lanes))
        for row, (place, job) in enumerate(zip(places, jobs, strict=True)):
            self.lanes[place] = _Lane(job, features.select([row]))
        self._start(places)

    def _detect_languages(self, undetected: Sequence[tuple[int, Job]]) -> None:
        if not undetected:
            return
        tokenizer = undetected[0][1].task.tokenizer
        detected = detect_in_batch(self.batch, [place for place, _ in undetected], tokenizer)
        for (_, job), language in zip(undetected, detected, strict=True):
            job.detected = language

    def remove(self, job: Job) -> None:
        self.lanes = [None if lane is not None and lane.job is job else lane for lane in self.lanes]

    def advance(self, seat_of: Callable[[Job], Hashable]) -> tuple[list[Finished], list[tuple[Job, AudioFeatures]]]:
        """The windows that have left: finished ones, and those whose next attempt is decoded elsewhere."""
        if any(lane is not None and lane.done for lane in self.lanes):
            return self._settle(seat_of)
        self._close_free_places()
        if self.lanes:
            self._step()
        return [], []

    def _start(self, places: Sequence[int]) -> None:
        lanes = [lane for place in places if (lane := self.lanes[place]) is not None]
        prompts = [lane.initial_tokens for lane in lanes]
        logits = self.batch.prefill(places, prompts, [[lane.job.task.sot_index, -1] for lane in lanes])
        for lane, each in zip(lanes, logits, strict=True):
            lane.start(each)

    def _step(self) -> None:
        lanes, n_hyps = [lane for lane in self.lanes if lane is not None], self.batch.n_hyps
        if any(lane.moved for lane in lanes):
            rows = [place * n_hyps + lane.sources for place, lane in enumerate(lanes)]
            self.batch.reorder(np.concatenate(rows).astype(np.int32))
        tokens = [token for lane in lanes for token in lane.last_tokens]
        logits = self.batch.step(np.array(tokens, np.int32))
        for place, lane in enumerate(lanes):
            lane.advance(logits[place * n_hyps : (place + 1) * n_hyps])

    def _settle(self, seat_of: Callable[[Job], Hashable]) -> tuple[list[Finished], list[tuple[Job, AudioFeatures]]]:
        """Start the next attempt of a window that failed in its place, where it can; let the others leave."""
        finished: list[Finished] = []
        moving: list[tuple[Job, AudioFeatures]] = []
        again: list[int] = []
        for place, lane in enumerate(self.lanes):
            if lane is None or not lane.done:
                continue
            outcome = lane.error or lane.result()
            if isinstance(outcome, WhisperMaxError) or not lane.job.climb(outcome):
                finished.append(Finished(lane.job, outcome, partial(self.batch.align, place)))
                self.lanes[place] = None
            elif seat_of(lane.job) == self.seat:
                lane.begin()
                again.append(place)
            else:
                moving.append((lane.job, lane.features))
                self.lanes[place] = None
        if again:
            self._start(again)
        return finished, moving

    def _close_free_places(self) -> None:
        """The last windows take the places that nobody took."""
        n_windows = self.n_windows
        if n_windows == len(self.lanes):
            return
        last = (place for place in range(n_windows, len(self.lanes)) if self.lanes[place] is not None)
        kept = [next(last) if lane is None else place for place, lane in enumerate(self.lanes[:n_windows])]
        self.batch.keep(kept)
        self.lanes = [self.lanes[place] for place in kept]
