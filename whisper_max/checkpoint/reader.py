"""A checkpoint of any format as one value; the reader of its format is imported when there is one to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_max.checkpoint import checksum
from whisper_max.checkpoint.beside import (
    CTRANSLATE2_TOKENIZERS,
    HUGGINGFACE_TOKENIZERS,
    alignment_heads_beside,
    huggingface_dims,
    vocabulary_beside,
    vocabulary_of_table,
)
from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.files import CTRANSLATE2, GGML, MLX, OPENAI, OWN, PYTORCH, SAFETENSORS, ModelFiles, files_at
from whisper_max.checkpoint.heads import possible_heads
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import Vocabulary, read_json
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper checkpoint, whatever its format.

    dims: the sizes, from the checkpoint itself.
    tensors: the state dict in openai-whisper's names, read and widened to float32 tensor by tensor, when asked for.
    vocabulary: the tokens.
    alignment_heads: (decoder layer, head) pairs that follow the audio, or None where none are known.
    format: "safetensors", "pytorch", "ctranslate2", "mlx", "openai", "ggml" or "whisper_max".
    source: the weight file, or the folder of several.
    sha256: digest that the weights were checked against, or None where none is known.
    name: the published name, or None.
    heads_dropped: how many stated alignment heads the model has not.
    """

    dims: ModelDimensions
    tensors: Tensors
    vocabulary: Vocabulary
    alignment_heads: tuple[tuple[int, int], ...] | None
    format: str
    source: Path
    sha256: str | None
    name: str | None
    heads_dropped: int = 0


def read_checkpoint(files: ModelFiles | Path, *, verify: bool = True) -> Checkpoint:
    """Read a checkpoint's header and check every tensor's name, shape and dtype; tensors are read when asked for.

    Args:
        files: what ``resolve`` returned, or the path of a model file or folder.
        verify: check digests that are known, which reads the weights whole once; else ``check_digests`` is to be
            called before the weights are used.

    Raises:
        CheckpointError: not a Whisper checkpoint, damaged, or its sha256 is known and different.
    """
    if isinstance(files, Path):
        files = files_at(files)
    try:
        checkpoint = _read(files)
    except CheckpointError as error:
        if error.where in (*files.weights, files.source):
            check_digests(files)  # a file that is damaged is called that, whatever else the damage breaks
        raise
    if verify:
        check_digests(files)
    return checkpoint


def check_digests(files: ModelFiles) -> None:
    """Check the digests that are known of the weights.

    Raises:
        CheckpointError: a file has another.
    """
    for check in files.checks:
        checksum.verify(check.paths, check.sha256, check.hint)


def _read(files: ModelFiles) -> Checkpoint:
    if files.format == OWN:
        return _read_own(files)
    dims, tensors, vocabulary, stated = _READERS[files.format](files)
    heads, heads_dropped = alignment_heads_beside(files, dims) if stated is None else possible_heads(stated, dims)
    return Checkpoint(
        dims=dims,
        tensors=tensors,
        vocabulary=vocabulary,
        alignment_heads=heads or None,
        format=files.format,
        source=files.source,
        sha256=files.checks[0].sha256 if len(files.checks) == 1 else None,
        name=files.name,
        heads_dropped=heads_dropped,
    )


def _read_own(files: ModelFiles) -> Checkpoint:
    """Our own files state everything themselves."""
    from whisper_max.checkpoint.own_format import read_own_format

    model = read_own_format(files.weights[0])
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


_Contents = tuple[ModelDimensions, Tensors, Vocabulary, object]
"""With the alignment heads that the weights' own file states, or None."""


def _read_huggingface(files: ModelFiles) -> _Contents:
    from whisper_max.checkpoint.huggingface import read_pytorch, read_safetensors
    from whisper_max.checkpoint.mlx import is_mlx

    config, content = _config(files)
    if is_mlx(content):
        return _read_mlx(files)
    dims = huggingface_dims(content, config)
    vocabulary = vocabulary_beside(files, dims, HUGGINGFACE_TOKENIZERS)
    read = read_pytorch if files.format == PYTORCH else read_safetensors
    is_tied = content.get("tie_word_embeddings") is not False
    return dims, read(files.weights, dims, is_tied=is_tied), vocabulary, None


def _config(files: ModelFiles) -> tuple[Path, dict[str, object]]:
    config = files.companions.get("config.json")
    if config is None:
        raise CheckpointError("no config.json beside the weights", where=files.source)
    return config, read_json(config)


def _read_mlx(files: ModelFiles) -> _Contents:
    from whisper_max.checkpoint.mlx import read_mlx

    config, content = _config(files)
    dims, tensors, heads = read_mlx(files.weights[0], content, config)
    return dims, tensors, vocabulary_beside(files, dims, HUGGINGFACE_TOKENIZERS), heads


def _read_ctranslate2(files: ModelFiles) -> _Contents:
    from whisper_max.checkpoint.ctranslate2 import read_ctranslate2

    dims, tensors = read_ctranslate2(FileBytes(files.weights))
    return dims, tensors, vocabulary_beside(files, dims, CTRANSLATE2_TOKENIZERS), None


def _read_openai(files: ModelFiles) -> _Contents:
    from whisper_max.checkpoint.openai import read_openai

    dims, tensors = read_openai(files.weights[0])
    return dims, tensors, vocabulary_beside(files, dims, CTRANSLATE2_TOKENIZERS), None


def _read_ggml(files: ModelFiles) -> _Contents:
    from whisper_max.checkpoint.ggml import read_ggml

    dims, tensors, vocabulary = read_ggml(FileBytes(files.weights))
    return dims, tensors, vocabulary_of_table(vocabulary, files, dims, HUGGINGFACE_TOKENIZERS), None


_READERS = {
    SAFETENSORS: _read_huggingface,
    PYTORCH: _read_huggingface,
    CTRANSLATE2: _read_ctranslate2,
    MLX: _read_mlx,
    OPENAI: _read_openai,
    GGML: _read_ggml,
}
