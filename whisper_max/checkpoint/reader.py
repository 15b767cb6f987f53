"""A checkpoint of any format as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_max.checkpoint.checksum import verify
from whisper_max.checkpoint.ctranslate2 import read_ctranslate2
from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.files import CTRANSLATE2, GGML, OPENAI, OWN, SAFETENSORS, ModelFiles, files_at
from whisper_max.checkpoint.ggml import read_ggml
from whisper_max.checkpoint.heads import Heads, checked_heads
from whisper_max.checkpoint.openai import read_openai
from whisper_max.checkpoint.own_format import OwnModel, read_own_format
from whisper_max.checkpoint.published import MODELS
from whisper_max.checkpoint.safetensors import read_safetensors
from whisper_max.checkpoint.shipped import shipped_vocabulary
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import (
    Vocabulary,
    read_json,
    read_tokenizer_json,
    read_vocab_json,
    read_vocabulary_list,
)
from whisper_max.dims import ModelDimensions, dims_from_huggingface
from whisper_max.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper checkpoint, whatever its format.

    dims: the sizes, from the checkpoint itself.
    tensors: the state dict in openai-whisper's names, read and widened to float32 tensor by tensor, when asked for.
    vocabulary: the tokens.
    alignment_heads: (decoder layer, head) pairs that follow the audio, or None where nobody has published them.
    format: "safetensors", "ctranslate2", "openai", "ggml" or "whisper_max".
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
    for check in files.checks:
        verify(check.paths, check.sha256, check.hint)
    if files.format == OWN:
        return _own_checkpoint(files, read_own_format(files.weights[0]))
    dims, tensors, vocabulary = _READERS[files.format](files)
    return Checkpoint(
        dims=dims,
        tensors=tensors,
        vocabulary=vocabulary,
        alignment_heads=_alignment_heads(files, dims),
        format=files.format,
        source=files.source,
        sha256=files.checks[0].sha256 if len(files.checks) == 1 else None,
        name=files.name,
    )


def _own_checkpoint(files: ModelFiles, model: OwnModel) -> Checkpoint:
    """Our own files state everything themselves."""
    return Checkpoint(
        dims=model.dims,
        tensors=model.tensors,
        vocabulary=model.vocabulary,
        alignment_heads=model.alignment_heads,
        format=files.format,
        source=files.source,
        sha256=files.checks[0].sha256 if files.checks else None,
        name=files.name or model.name,
    )


_Contents = tuple[ModelDimensions, Tensors, Vocabulary]


def _read_safetensors(files: ModelFiles) -> _Contents:
    config = files.companions.get("config.json")
    if config is None:
        raise CheckpointError("no config.json beside the weights", where=files.source)
    dims = dims_from_huggingface(read_json(config), config)
    return dims, read_safetensors(files.weights, dims), _vocabulary_beside(files, dims)


def _read_ctranslate2(files: ModelFiles) -> _Contents:
    dims, tensors = read_ctranslate2(FileBytes(files.weights))
    return dims, tensors, _vocabulary_beside(files, dims)


def _read_openai(files: ModelFiles) -> _Contents:
    dims, tensors = read_openai(files.weights[0])
    return dims, tensors, _vocabulary_beside(files, dims)


def _read_ggml(files: ModelFiles) -> _Contents:
    return read_ggml(FileBytes(files.weights))


_READERS = {
    SAFETENSORS: _read_safetensors,
    CTRANSLATE2: _read_ctranslate2,
    OPENAI: _read_openai,
    GGML: _read_ggml,
}


def _vocabulary_beside(files: ModelFiles, dims: ModelDimensions) -> Vocabulary:
    """The vocabulary that lies beside the weights, else the published one that fits."""
    at = files.companions
    if "tokenizer.json" in at:
        return read_tokenizer_json(at["tokenizer.json"], dims.n_vocab)
    if "vocab.json" in at:
        return read_vocab_json(at["vocab.json"], at.get("added_tokens.json"), dims.n_vocab)
    for listed in ("vocabulary.json", "vocabulary.txt"):
        if listed in at:
            return read_vocabulary_list(at[listed], dims.n_vocab)
    return shipped_vocabulary(dims.n_vocab, files.source)


def _alignment_heads(files: ModelFiles, dims: ModelDimensions) -> Heads | None:
    for config in ("generation_config.json", "config.json"):
        if config not in files.companions:
            continue
        stated = read_json(files.companions[config]).get("alignment_heads")
        if stated is not None:
            return checked_heads(stated, dims, files.companions[config])
    published = MODELS.get(files.name or "")
    return published.alignment_heads if published is not None and published.dims == dims else None
