"""Hugging Face checkpoints: ``config.json`` and the weights, in safetensors or PyTorch files, single or sharded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from whisper_max.checkpoint.layout import TOKEN_EMBEDDING
from whisper_max.checkpoint.names import openai
from whisper_max.checkpoint.names.huggingface import TABLE
from whisper_max.checkpoint.safetensors import read_shard
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import InFile, Tensors
from whisper_max.checkpoint.torch_archive import TorchArchive
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

_AROUND = re.compile(r"\b(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What DataParallel, torch.compile, FSDP and its checkpointing put before names, or in their midst."""
_BEFORE = re.compile(r"^([^.]+\.)*?(?=(encoder|decoder|proj_out)\.)")
"""What a trainer calls the model, of which the whole model's names may have something before theirs."""

_HALF_MERGED = ("lora_", "base_layer.", "modules_to_save.")


def read_safetensors(shards: Sequence[Path], dims: ModelDimensions, *, is_tied: bool = True) -> Tensors:
    """The tensors of a Hugging Face checkpoint in safetensors files.

    is_tied: whether the token embedding makes the logits where the files have no other matrix for them.

    Raises:
        CheckpointError: a damaged file, a tensor stored twice, or tensors other than a Whisper model of ``dims`` has.
    """
    return _read(shards, read_shard, dims, is_tied)


def read_pytorch(shards: Sequence[Path], dims: ModelDimensions, *, is_tied: bool = True) -> Tensors:
    """The tensors of a Hugging Face checkpoint in ``pytorch_model.bin`` files; arguments as ``read_safetensors``.

    Raises:
        CheckpointError: as ``read_safetensors``; a pickle that names anything but tensors and containers.
    """
    return _read(shards, read_pytorch_shard, dims, is_tied)


def model_names(stored: Iterable[InFile], where: object) -> dict[str, InFile]:
    """Tensors by the names that ``WhisperForConditionalGeneration`` gives them, whatever wrapped it in training.

    Raises:
        CheckpointError: one is stored twice, or belongs to an adapter that was not merged.
    """
    named: dict[str, InFile] = {}
    for tensor in stored:
        if any(part in tensor.name for part in _HALF_MERGED):
            raise CheckpointError(
                f"an adapter was saved with the model and not merged ({tensor.name[:80]})",
                where=where,
                hint="save merge_and_unload()'s result, or give the adapter's folder as lora and the base as the model",
            )
        name = bare_name(tensor.name)
        if name in named:
            raise CheckpointError(f"{name[:80]} is stored twice", where=where)
        named[name] = tensor
    return named


def bare_name(name: str) -> str:
    """The name that ``WhisperForConditionalGeneration`` gives a tensor that wrappers have put something before."""
    bare = _BEFORE.sub("", _AROUND.sub("", name))
    return f"model.{bare}" if bare.startswith(("encoder.", "decoder.")) else bare


def _read(
    shards: Sequence[Path], read: Callable[[Path], list[InFile]], dims: ModelDimensions, is_tied: bool
) -> Tensors:
    where = shards[0] if len(shards) == 1 else shards[0].parent
    stored = model_names((tensor for shard in shards for tensor in read(shard)), where)
    if not is_tied and TABLE.logits not in stored:
        raise CheckpointError(
            f"{TABLE.logits} is missing", where=where,
            hint='config.json says "tie_word_embeddings": false; true lets the token embedding make the logits',
        )  # fmt: skip
    if f"model.{TOKEN_EMBEDDING}" in stored:  # a trainer of openai-whisper's model
        stored = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
        return apply_table(openai.TABLE, stored, dims, where)
    return apply_table(TABLE, stored, dims, where)


def read_pytorch_shard(path: Path) -> list[InFile]:
    """The tensors of a file that ``torch.save`` wrote of a state dict, in its own names.

    Raises:
        CheckpointError: as ``TorchArchive``; something else than a state dict.
    """
    archive = TorchArchive(path)
    content = archive.content()
    if not isinstance(content, dict):
        raise CheckpointError("not a state dict", where=path, expected="tensors by name")
    states = [content.get(key) for key in ("state_dict", "model_state_dict", "model")]
    return list(archive.tensors(next((state for state in states if isinstance(state, dict)), content)).values())
