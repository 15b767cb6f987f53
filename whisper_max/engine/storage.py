"""In which dtype a checkpoint's matrices are kept, and so which compute types it can be run with."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.checkpoint import Checkpoint, Tensors
from whisper_max.checkpoint.own_format import is_matrix
from whisper_max.engine.weights import fits_float16

PUBLISHED_STORAGE = DType.float16
"""What holds every matrix of OpenAI's checkpoints exactly: they were published in it."""


def narrowest_exact(checkpoint: Checkpoint) -> DType:
    """float16 where that holds every matrix of the checkpoint exactly, else float32."""
    tensors = checkpoint.tensors
    if isinstance(tensors, Tensors):
        if tensors.quantized:
            return DType.float32  # an integer times a scale
        if all(tensors.dtype(name) == "float16" for name in tensors if is_matrix(name, tensors.shape(name))):
            return DType.float16
    return DType.float16 if fits_float16(tensors, checkpoint.dims) else DType.float32


def compute_type_for(checkpoint: Checkpoint, compute_type: str, *, is_cpu: bool = True) -> str:
    """The compute type to run a checkpoint with: the one asked for, else int8 where its weights are.

    Where it is left open, weights that are packed in another way run in int8 on a CPU too, rounded once more. Any other
    compute type widens them: float32 keeps the exact value of each.
    """
    tensors = checkpoint.tensors
    if compute_type != "auto" or not isinstance(tensors, Tensors):
        return compute_type
    return "int8" if tensors.quantized or (tensors.packed is not None and is_cpu) else "auto"
