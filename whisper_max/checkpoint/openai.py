"""OpenAI's ``.pt``: a PyTorch file of ``dims`` and ``model_state_dict``."""

from __future__ import annotations

from pathlib import Path

from whisper_max.checkpoint.names.openai import TABLE
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.torch_archive import TorchArchive
from whisper_max.dims import ModelDimensions, dims_from_openai
from whisper_max.errors import CheckpointError


def read_openai(path: Path) -> tuple[ModelDimensions, Tensors]:
    """Dims and tensors of an OpenAI ``.pt``.

    Raises:
        CheckpointError: damaged, compressed, a pickle that names anything but tensors and containers, or tensors other
            than a Whisper model has.
    """
    archive = TorchArchive(path)
    match archive.content():
        case {"dims": dict(stated), "model_state_dict": dict(state)}:  # a trainer may add what it needs to go on
            dims = dims_from_openai(stated, path)
        case _:
            raise CheckpointError(
                "not an OpenAI checkpoint", where=path, expected="dims and model_state_dict",
                hint="a Hugging Face state dict is read as pytorch_model.bin, with its config.json beside it",
            )  # fmt: skip
    return dims, apply_table(TABLE, archive.tensors(state), dims, path)
