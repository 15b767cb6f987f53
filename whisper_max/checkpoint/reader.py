"""A checkpoint of any format as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_max.checkpoint.bytes import FileBytes
from whisper_max.checkpoint.ctranslate2 import read_ctranslate2
from whisper_max.checkpoint.files import ModelFiles, files_at
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import (
    Vocabulary,
    read_json,
    read_tokenizer_json,
    read_vocab_json,
    read_vocabulary_list,
)
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper checkpoint, whatever its format.

    dims: the sizes, from the checkpoint itself.
    tensors: the state dict in openai-whisper's names, read and widened to float32 tensor by tensor, when asked for.
    vocabulary: the tokens.
    alignment_heads: (decoder layer, head) pairs that follow the audio, or None where nobody has published them.
    format: "safetensors", "ctranslate2", "openai" or "ggml".
    source: the weight file, or the folder of several.
    sha256: digest that the weights were checked against, or None where none is known.
    name: the published name, or None.
    """

    dims: ModelDimensions
    tensors: Tensors
    vocabulary: Vocabulary
    alignment_heads: tuple[tuple[int, int], ...] | None
    format: str
    source: Path
    sha256: str | None
    name: str | None


def read_checkpoint(files: ModelFiles | Path) -> Checkpoint:
    """Read a checkpoint's header and check every tensor's name, shape and dtype; tensors are read when asked for.

    Args:
        files: what ``resolve`` returned, or the path of a model file or folder.

    Raises:
        CheckpointError: not a Whisper checkpoint, damaged, or its sha256 is known and different.
    """
    if isinstance(files, Path):
        files = files_at(files)
    file = FileBytes(files.weights)
    dims, tensors = read_ctranslate2(file)
    return Checkpoint(
        dims=dims,
        tensors=tensors,
        vocabulary=_vocabulary(files, dims),
        alignment_heads=_alignment_heads(files, dims),
        format=files.format,
        source=files.source,
        sha256=None,
        name=files.name,
    )


def _vocabulary(files: ModelFiles, dims: ModelDimensions) -> Vocabulary:
    at = files.companions
    if "tokenizer.json" in at:
        return read_tokenizer_json(at["tokenizer.json"], dims.n_vocab)
    if "vocab.json" in at:
        return read_vocab_json(at["vocab.json"], at.get("added_tokens.json"), dims.n_vocab)
    for listed in ("vocabulary.json", "vocabulary.txt"):
        if listed in at:
            return read_vocabulary_list(at[listed], dims.n_vocab)
    raise CheckpointError("no vocabulary beside the weights", where=files.source)


def _alignment_heads(files: ModelFiles, dims: ModelDimensions) -> tuple[tuple[int, int], ...] | None:
    for config in ("generation_config.json", "config.json"):
        if config not in files.companions:
            continue
        stated = read_json(files.companions[config]).get("alignment_heads")
        if stated is not None:
            return _checked_heads(stated, dims, files.companions[config])
    return None


def _checked_heads(stated: object, dims: ModelDimensions, where: object) -> tuple[tuple[int, int], ...]:
    heads = []
    for pair in stated if isinstance(stated, list) else [stated]:
        match pair:
            case [int(layer), int(head)] if 0 <= layer < dims.n_text_layer and 0 <= head < dims.n_text_head:
                heads.append((layer, head))
            case _:
                raise CheckpointError(
                    "impossible alignment_heads",
                    where=where,
                    expected=f"[layer, head] pairs below [{dims.n_text_layer}, {dims.n_text_head}]",
                    found=repr(pair)[:40],
                )
    return tuple(heads)
