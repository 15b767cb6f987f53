"""How many windows fit on a GPU: planned from what the card has free, and less where that was too much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.errors import DeviceError, OptionError

Result = TypeVar("Result")
Report = Callable[[str], object]

DEFAULT_UTILIZATION = 0.9
"""Share of the free memory that is planned with; the rest is for the driver, kernels and what a plan leaves out."""
MOST_ENCODED = 64
"""Windows encoded together: 64 x 1500 positions keep every matrix product of every model large."""
MOST_DECODED = 512
"""Windows decoded together; a step's time grows with every further one once the caches outweigh the weights."""
_STATE_BYTES = 16 * 1024  # of one row: tokens so far, draws, lengths and the like
_SPLIT_FLOATS = 8 * 66 + 16 * 66  # of one (row, head): the shares of both attentions


class HasStats(Protocol):
    """A device that says how much memory it has free."""

    @property
    def stats(self) -> dict[str, int]:
        """``free_memory`` and ``total_memory`` in bytes."""
        ...


def weight_bytes(dims: ModelDimensions, dtype: DType) -> int:
    """Bytes of all weights, to within the biases and norms."""
    d, t = dims.n_audio_state, dims.n_text_state
    encoder = 3 * d * (dims.n_mels + d) + dims.n_audio_layer * 12 * d * d + dims.n_audio_ctx * d
    decoder = dims.n_text_layer * (14 * t * t + 2 * t * d) + (dims.n_vocab + dims.n_text_ctx) * t
    return (encoder + decoder) * int(dtype.size_in_bytes)


def encode_bytes(dims: ModelDimensions, dtype: DType, *, fast: bool) -> int:
    """Bytes that encoding one window takes: its widest layer, and in the plain form its scores."""
    d, length, item = dims.n_audio_state, dims.n_audio_ctx, int(dtype.size_in_bytes)
    mel = 4 * dims.n_mels * dims.n_frames
    activations = length * d * (1 + 4 + 4 + 3) * item
    scores = 0 if fast else dims.n_audio_head * length * length * (4 + 2 * item)
    return mel + activations + scores


def decode_bytes(dims: ModelDimensions, dtype: DType, n_hyps: int) -> int:
    """Bytes that decoding one window takes: its cross-KV, and for each hypothesis a cache, logits and small change."""
    d, item = dims.n_text_state, int(dtype.size_in_bytes)
    cross = 2 * dims.n_text_layer * dims.n_audio_ctx * d * item + dims.n_audio_ctx * dims.n_audio_state * item
    cache = 2 * dims.n_text_layer * dims.n_text_ctx * d * item
    logits = dims.n_vocab * (4 + 4)
    row = cache + logits + _STATE_BYTES + dims.n_text_head * _SPLIT_FLOATS * 4 + 16 * d * item
    return cross + n_hyps * row


@dataclass(frozen=True)
class MemoryPlan:
    """Windows that fit at once: ``encoded`` through the encoder, ``decoded`` in the decoder's caches."""

    encoded: int
    decoded: int


def plan_memory(
    free: int, utilization: float, dims: ModelDimensions, dtype: DType, *, fast: bool, n_hyps: int = 1
) -> MemoryPlan:
    """Divide what is free once the weights are loaded.

    Args:
        free: bytes.
        utilization: share of them to plan with, above 0 and at most 1.

    Raises:
        OptionError: an impossible share.
        DeviceError: not one window fits.
    """
    check_share(utilization)
    usable = int(free * utilization)
    encode, decode = encode_bytes(dims, dtype, fast=fast), decode_bytes(dims, dtype, n_hyps)
    if usable < encode + decode:
        raise DeviceError(
            "too little free memory for one window",
            where="GPU",
            expected=f"{_mib(encode + decode)} MiB",
            found=f"{_mib(usable)} MiB",
            hint="use a smaller model, end other programs on the GPU, or --device cpu",
        )
    encoded = min(MOST_ENCODED, max(1, usable // 4 // encode))
    return MemoryPlan(encoded, min(MOST_DECODED, (usable - encoded * encode) // decode))


def check_share(utilization: float) -> None:
    """Refuse a share that is none.

    Raises:
        OptionError: not above 0, or above 1.
    """
    if not 0 < utilization <= 1:
        raise OptionError(
            "out of range", where="gpu_memory_utilization", expected="above 0, at most 1", found=utilization
        )


def free_bytes(device: HasStats) -> int:
    """What the device has free.

    Raises:
        DeviceError: it doesn't say.
    """
    free = int(device.stats.get("free_memory", 0))
    if free <= 0:
        raise DeviceError("says nothing about its free memory", where="GPU", hint="use --device cpu")
    return free


class BatchLimit:
    """The most windows that go together: halved, for good, whenever the device runs out of memory.

    Args:
        most: to begin with.
        what: for people, of what there are too many: "windows in the encoder".
        report: called with a line when the limit shrinks.
    """

    def __init__(self, most: int, what: str, report: Report) -> None:
        self.most = most
        self._what = what
        self._report = report

    def attempt(self, work: Callable[[int], Result]) -> Result:
        """Call ``work`` with the limit, and with ever smaller ones while memory runs out.

        ``work`` has to leave nothing behind where it fails.

        Raises:
            DeviceError: memory ran out at a single window.
        """
        while True:
            try:
                return work(self.most)
            except (RuntimeError, ValueError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.most == 1:
                    raise DeviceError(
                        f"out of memory with one of the {self._what}", where="GPU", hint="use --device cpu"
                    ) from error
                self.most //= 2
                self._report(f"the GPU is out of memory; going on with at most {self.most} {self._what}")


def is_out_of_memory(error: Exception) -> bool:
    """True for what MAX raises when an allocation fails; CUDA's own name for it is CUDA_ERROR_OUT_OF_MEMORY."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower().replace("_", " ")


def _mib(n_bytes: int) -> int:
    return -(-n_bytes // 2**20)
