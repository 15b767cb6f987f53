"""A model that notes how long each of its stages takes, from outside: it is an ``Inference`` around another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import N_FRAMES
from whisper_max.decode.contract import Alignment, AudioFeatures, DecoderBatch, Float32, Inference, Opaque
from whisper_max.dims import ModelDimensions
from whisper_max.measure.costs import Costs, Work
from whisper_max.transcribe.window import Mel

DECODE, MEL, ENCODER, CROSS_KV, PREFILL, STEP, ALIGN = (
    "decode audio",
    "log-mel",
    "encoder",
    "cross keys and values",
    "prefill",
    "step",
    "word alignment",
)
"""The stages, in the order of the data."""


@dataclass(frozen=True)
class Call:
    """One call of a stage: how long it took, what it had to do, and how many windows or tokens it was for."""

    seconds: float
    work: Work | None
    items: int


@dataclass
class Stages:
    """The calls of each stage, in their order."""

    costs: Costs
    calls: dict[str, list[Call]] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str, work: Work | None = None, items: int = 1) -> Iterator[None]:
        """Time the block as a call of the stage."""
        start = time.perf_counter()
        yield
        self.calls.setdefault(stage, []).append(Call(time.perf_counter() - start, work, items))


class TimedInference:
    """An ``Inference`` that notes the calls of another."""

    def __init__(self, inference: Inference, stages: Stages) -> None:
        self._inference = inference
        self._stages = stages

    @property
    def dims(self) -> ModelDimensions:
        return self._inference.dims

    @property
    def encode_size(self) -> int:
        return self._inference.encode_size

    @property
    def chooses_tokens(self) -> bool:
        """False: the host does, so that each step is timed."""
        return False

    def encode(self, mel: Float32) -> AudioFeatures:
        """Encode windows, timed."""
        with self._stages.timed(ENCODER, self._stages.costs.encode(len(mel)), len(mel)):
            return self._inference.encode(mel)

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> TimedBatch:
        """A batch whose calls are noted."""
        return TimedBatch(self._inference.new_batch(max_windows, n_hyps), self._stages)


class TimedBatch:
    """A ``DecoderBatch`` that notes the calls of another."""

    def __init__(self, batch: DecoderBatch, stages: Stages) -> None:
        self._batch = batch
        self._stages = stages
        self.keep = batch.keep
        self.reorder = batch.reorder

    @property
    def n_windows(self) -> int:
        return self._batch.n_windows

    @property
    def n_hyps(self) -> int:
        return self._batch.n_hyps

    def put(self, windows: Sequence[int], features: Opaque) -> None:
        """Give places their audio, timed."""
        with self._stages.timed(CROSS_KV, self._stages.costs.cross_kv(len(windows)), len(windows)):
            self._batch.put(windows, features)

    def prefill(
        self, windows: Sequence[int], prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        """Start windows from their prompts, timed."""
        n_tokens = sum(map(len, prompts))
        work = self._stages.costs.decode(n_tokens, len(windows), sum(map(len, positions)))
        with self._stages.timed(PREFILL, work, n_tokens):
            return self._batch.prefill(windows, prompts, positions)

    def step(self, tokens: NDArray[np.int32]) -> Float32:
        """Append a token to every row, timed."""
        work = self._stages.costs.decode(len(tokens), self.n_windows, len(tokens))
        with self._stages.timed(STEP, work, len(tokens)):
            return self._batch.step(tokens)

    def align(self, window: int, tokens: Sequence[int], n_competing: int) -> Alignment:
        """Align a window's tokens, timed."""
        with self._stages.timed(ALIGN, items=len(tokens)):
            return self._batch.align(window, tokens, n_competing)


class TimedMel:
    """A ``Mel`` that notes the windows that another is asked for."""

    def __init__(self, mel: Mel, stages: Stages) -> None:
        self._mel = mel
        self._stages = stages

    @property
    def n_frames(self) -> int:
        return self._mel.n_frames

    def window(self, seek: int, segment_size: int = N_FRAMES) -> Float32:
        """A window, timed."""
        with self._stages.timed(MEL):
            return self._mel.window(seek, segment_size)
