"""In which dtype a checkpoint's matrices are kept, and so which compute types it can be run with."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.checkpoint import Checkpoint, Tensors
from whisper_max.checkpoint.own_format import is_matrix
from whisper_max.engine.weights import fits_float16
from whisper_max.errors import OptionError

PUBLISHED_STORAGE = DType.float16
"""What holds every matrix of OpenAI's checkpoints exactly: they were published in it."""


def narrowest_exact(checkpoint: Checkpoint) -> DType:
    """float16 where that holds every matrix of the checkpoint exactly, else float32; int8 where it is quantised."""
    tensors = checkpoint.tensors
    if isinstance(tensors, Tensors):
        if tensors.quantized:
            return DType.int8
        if all(tensors.dtype(name) == "float16" for name in tensors if is_matrix(name, tensors.shape(name))):
            return DType.float16
    return DType.float16 if fits_float16(tensors, checkpoint.dims) else DType.float32


def compute_type_for(checkpoint: Checkpoint, compute_type: str, *, is_cpu: bool = True) -> str:
    """The compute type to run a checkpoint with: int8 where its weights are, else the one asked for.

    Where it is left open, weights that are packed in another way run in int8 on a CPU too, rounded once more; float32
    keeps each value.

    Raises:
        OptionError: int8 weights, and another compute type: it would not have the original's values.
    """
    tensors = checkpoint.tensors
    if not (isinstance(tensors, Tensors) and tensors.quantized):
        packed = isinstance(tensors, Tensors) and tensors.packed is not None
        return "int8" if packed and compute_type == "auto" and is_cpu else compute_type
    if compute_type not in ("auto", "int8"):
        hint = "take the model that it was made from"
        raise OptionError(
            "these weights are int8", where="compute_type", expected="auto or int8", found=compute_type, hint=hint
        )
    return "int8"
