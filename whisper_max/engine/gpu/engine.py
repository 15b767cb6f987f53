"""The engine on a GPU: as many windows at once as its memory holds, and tokens that stay there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from max.driver import Buffer

from whisper_max.checkpoint import Checkpoint
from whisper_max.decode.contract import Float32
from whisper_max.decode.device_contract import TokenMasks
from whisper_max.engine.batch import EncodedWindows, KVBatch
from whisper_max.engine.engine import WhisperEngine
from whisper_max.engine.gpu.decoding import DeviceDecoding
from whisper_max.engine.gpu.memory import (
    DEFAULT_UTILIZATION,
    BatchLimit,
    Report,
    check_share,
    free_bytes,
    is_out_of_memory,
    plan_memory,
)
from whisper_max.engine.runtime import rows_of
from whisper_max.errors import OptionError
from whisper_max.hardware.target import Target
from whisper_max.model.digest import FAST

Result = TypeVar("Result")
BUCKETS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512)
"""Batch sizes that decoding is recorded for; a batch in between takes the next one, its last slots idle."""
MOST_IDLE = 4
"""Batches kept for another use: greedy and sampled ones, of two shapes."""


class GpuEngine(WhisperEngine):
    """``WhisperEngine`` on a GPU. Implements ``decode.device_contract.DeviceInference`` too.

    Args:
        checkpoint, target, report, bundle: as for ``WhisperEngine``.
        utilization: share of the memory that is free once the weights are loaded, to plan batches with.

    Raises:
        DeviceError: not one window fits.
        OptionError: an impossible share.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        target: Target,
        report: Report,
        bundle: Path | None = None,
        *,
        utilization: float = DEFAULT_UTILIZATION,
    ) -> None:
        check_share(utilization)
        super().__init__(checkpoint, target, report, bundle)
        self._report = report
        fast = self.code.endswith(f":{FAST}")
        plan = plan_memory(free_bytes(target.device), utilization, checkpoint.dims, target.dtype, fast=fast)
        self._encoded = BatchLimit(plan.encoded, "windows in the encoder", report)
        self._decoded = BatchLimit(plan.decoded, "windows in the decoder", report)
        self._tokens = target.tokens
        self._idle: dict[tuple[int, int, bool], DeviceDecoding] = {}

    @property
    def encode_size(self) -> int:
        return self._encoded.most

    def encode(self, mel: Float32) -> EncodedWindows:
        """mel: (n_windows, n_mels, n_frames) float32 -> features, one row a window; in groups that fit.

        Raises:
            DeviceError: out of memory with a single window.
        """
        return self._encoded.attempt(self._spare(lambda most: self._encode_in_groups(mel, most)))

    @property
    def chooses_tokens(self) -> bool:
        """False where a check found the device's tokens wrong."""
        return self._tokens

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> KVBatch:
        """An empty decoder batch, for what the host decodes."""
        make = super().new_batch
        return self._spare(lambda most: make(most, n_hyps))(max_windows)

    def device_batch(self, masks: TokenMasks, n_windows: int, n_hyps: int, *, sampled: bool) -> DeviceDecoding:
        """Slots for ``n_windows``, rounded up to a bucket, fewer where they don't fit; the caller's until given back.

        A batch of that shape which was given back is used again, with its recordings.

        Raises:
            DeviceError: out of memory with a single window.
        """

        def make(most: int) -> DeviceDecoding:
            slots = bucket(min(n_windows, most), most)
            batch = self._idle.pop((slots, n_hyps, sampled), None)
            if batch is None:
                parts = (self._graphs, self._dims, self._placement, masks)
                return DeviceDecoding(*parts, slots, n_hyps, sampled=sampled, report=self._report)
            batch.restart(masks)
            return batch

        return self._decoded.attempt(self._spare(make))

    def give_back(self, batch: DeviceDecoding) -> None:
        """Keep a batch that is needed no more for another use; the oldest of more than a few is closed."""
        self._idle[batch.n_windows, batch.n_hyps, batch.sampled] = batch
        while len(self._idle) > MOST_IDLE:
            self._idle.pop(next(iter(self._idle))).close()

    def _spare(self, work: Callable[[int], Result]) -> Callable[[int], Result]:
        """The same work, done again without the idle batches where memory runs out beside them."""

        def attempt(most: int) -> Result:
            try:
                return work(most)
            except (RuntimeError, ValueError, MemoryError) as error:
                if not (self._idle and is_out_of_memory(error)):
                    raise
            while self._idle:
                self._idle.popitem()[1].close()
            return work(most)

        return attempt

    def _encode_in_groups(self, mel: Float32, most: int) -> EncodedWindows:
        if len(mel) <= most:
            return super().encode(mel)
        dims, placement = self._dims, self._placement
        shape = (len(mel), dims.n_audio_ctx, dims.n_audio_state)
        xa = Buffer(dtype=placement.dtype, shape=shape, device=placement.device)
        for start in range(0, len(mel), most):
            group = super().encode(mel[start : start + most])
            (rows,) = rows_of([xa], slice(start, start + group.n_windows))
            rows.inplace_copy_from(group.xa)
            placement.device.synchronize()  # the group's memory is given back with it
        return EncodedWindows(xa)


def bucket(n_windows: int, most: int) -> int:
    """The least bucket that holds ``n_windows``, or ``most`` where that is less."""
    return min(most, next((size for size in BUCKETS if size >= n_windows), n_windows))


def open_engine(
    checkpoint: Checkpoint,
    target: Target,
    report: Report,
    bundle: Path | None = None,
    gpu_memory_utilization: float | None = None,
    content: str | None = None,
) -> WhisperEngine:
    """The engine that a target needs; arguments as of ``GpuEngine``, and ``WhisperEngine`` for a CPU.

    Raises:
        DeviceError, OptionError: as of ``GpuEngine``.
        ArtifactError, CheckpointError: as of ``WhisperEngine``.
    """
    check_utilization(target, gpu_memory_utilization)
    if target.is_cpu:
        return WhisperEngine(checkpoint, target, report, bundle, content)
    if gpu_memory_utilization is None:
        gpu_memory_utilization = DEFAULT_UTILIZATION
    return GpuEngine(checkpoint, target, report, bundle, utilization=gpu_memory_utilization)


def check_utilization(target: Target, utilization: float | None) -> None:
    """Refuse a share of a GPU's memory that is none, or that a CPU has no use for.

    Raises:
        OptionError: such a share.
    """
    if utilization is not None:
        if target.is_cpu:
            raise OptionError("only a GPU's memory is planned", where="gpu_memory_utilization", found=target.code)
        check_share(utilization)
