"""What a checkpoint on this machine is: its size, format, quantisation, languages, words, bytes and ready artifacts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whisper_max.checkpoint import ModelFiles, list_models, read_checkpoint, resolve
from whisper_max.checkpoint.files import files_at
from whisper_max.checkpoint.own_format import is_matrix
from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.ready import ready_storages
from whisper_max.dims import ModelDimensions
from whisper_max.errors import WhisperMaxError
from whisper_max.load import tokens_of

_SUFFIXES = {".safetensors", ".bin", ".pt", ".npz"}


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, read but not loaded.

    source: its weight file, or the folder of several. name: the published name, or None.
    size: the published model of the same blocks and width ("base"), or None. dims: all of its sizes.
    format, weights: how it is stored, and the dtypes or packing of its matrices.
    languages: codes. words: "its own heads" where alignment heads are known, else "upper half of the decoder".
    added_words: tokens of text that were added to the published ones. bytes: of the weight files.
    ready: how its matrices may be held on this machine's CPU without compiling.
    """

    source: str
    name: str | None
    size: str | None
    dims: ModelDimensions
    format: str
    weights: str
    languages: tuple[str, ...]
    words: str
    added_words: int
    bytes: int
    ready: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """What was found, JSON-serialisable."""
        return asdict(self)


def inspect(files: ModelFiles) -> Inspection:
    """What a checkpoint is, by its header and the files beside it; its weights are not read.

    Raises:
        CheckpointError: it can't be read.
    """
    checkpoint = read_checkpoint(files, verify=False)
    dims, tensors, vocabulary = checkpoint.dims, checkpoint.tensors, tokens_of(checkpoint)
    kinds = {tensors.dtype(name) for name in tensors if is_matrix(name, tensors.shape(name))}
    return Inspection(
        source=str(checkpoint.source),
        name=checkpoint.name,
        size=_size(dims),
        dims=dims,
        format=checkpoint.format,
        weights=", ".join(sorted(kinds)),
        languages=vocabulary.languages,
        words="its own heads" if checkpoint.alignment_heads else "upper half of the decoder",
        added_words=len(vocabulary.words),
        bytes=sum(path.stat().st_size for path in files.weights),
        ready=ready_storages(dims),
    )


def on_this_machine() -> Iterator[Inspection | WhisperMaxError]:
    """Every model of a published name that is on this machine, and what else the weights folder holds.

    One that can't be read comes as its error.
    """
    seen: set[Path] = set()
    for files in _found(seen):
        try:
            if isinstance(files, Path):
                files = files_at(files)
            yield inspect(files) if isinstance(files, ModelFiles) else files
        except WhisperMaxError as error:
            yield error


def _found(seen: set[Path]) -> Iterator[ModelFiles | Path | WhisperMaxError]:
    for listing in list_models():
        if listing.error is not None:
            if isinstance(listing.error.where, Path):
                seen.add(listing.error.where.resolve())
            yield listing.error
        elif listing.source is not None:
            seen.add(listing.source.resolve())
            yield resolve(listing.name, offline=True)
    folder = Path(os.environ.get("WHISPER_MAX_WEIGHTS") or "weights")
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        inside = list(path.iterdir()) if path.is_dir() else [path]
        weights = [each for each in inside if each.suffix in _SUFFIXES]
        if weights and not {each.resolve() for each in (path, *weights)} & seen:
            yield path


def _size(dims: ModelDimensions) -> str | None:
    """The published model that this one has the blocks and the width of, whatever its vocabulary."""
    shape = replace(dims, n_vocab=0)
    alike = [model.name for model in MODELS.values() if replace(model.dims, n_vocab=0) == shape]
    return next((name for name in alike if not name.endswith(".en")), alike[0] if alike else None)
