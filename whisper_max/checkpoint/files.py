"""The files of a model on disk, and which format they are."""

from __future__ import annotations

import reprlib
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whisper_max.checkpoint.manifest import openai_sha256
from whisper_max.checkpoint.mistaken import hint_for
from whisper_max.checkpoint.torch_legacy import is_legacy_head
from whisper_max.checkpoint.vocabulary import first_existing, read_json
from whisper_max.errors import CheckpointError, brief

SAFETENSORS, PYTORCH, CTRANSLATE2, MLX = "safetensors", "pytorch", "ctranslate2", "mlx"
OPENAI, GGML, OWN = "openai", "ggml", "whisper_max"

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "vocab.json",
    "added_tokens.json",
    "vocabulary.json",
    "vocabulary.txt",
)
"""Files that stand beside the weights and may be read."""

PYTORCH_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""What the weights are called in Hugging Face folders from before safetensors."""

MLX_WEIGHTS = ("weights.safetensors", "weights.npz")
"""What MLX calls them."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model.bin", *PYTORCH_WEIGHTS, *MLX_WEIGHTS)
"""What a model folder's weights are called, the preferred first."""

OWN_HEADER = b'{"__metadata__":{"format":"whisper_max"'
"""How the header of a safetensors file begins that is of our own format."""

_FILE_NAME = set(string.ascii_letters + string.digits + "-_.")

INDICES = {".safetensors.index.json": SAFETENSORS, ".bin.index.json": PYTORCH}
"""How the name of a list of shards ends, and the format of these."""


@dataclass(frozen=True)
class KnownDigest:
    """Files that, joined in order, must have this SHA-256; ``hint`` says what to do where they have another."""

    paths: tuple[Path, ...]
    sha256: str
    hint: str | None = None


@dataclass(frozen=True)
class ModelFiles:
    """A model's files on disk.

    format: "safetensors", "pytorch", "ctranslate2", "mlx", "openai", "ggml" or "whisper_max".
    weights: the weight file; several are shards (safetensors, pytorch) or consecutive parts of one file (ctranslate2).
    companions: the files beside the weights, by name.
    name: the model's name, if it has a published one.
    checks: the digests that are known of the weight files.
    origin: where the files were found: "path", "weights folder", "installed", "cached" or "hub".
    """

    format: str
    weights: tuple[Path, ...]
    companions: Mapping[str, Path] = field(default_factory=dict)
    name: str | None = None
    checks: tuple[KnownDigest, ...] = ()
    origin: str = "path"

    @property
    def source(self) -> Path:
        """The one path that stands for the model: its weight file, or the folder of several."""
        return self.weights[0] if len(self.weights) == 1 else self.weights[0].parent


def files_at(path: Path) -> ModelFiles:
    """The model in a folder, or the model whose weights are this file.

    A ``.pt`` with the file name of one that OpenAI publishes is taken for it: it gets its name and its known digest.

    Raises:
        CheckpointError: nothing there, no weights in the folder, or a file of no known format.
    """
    weights = _weights_in(path) if path.is_dir() else path
    if not weights.is_file():
        raise CheckpointError("no such file or folder", where=path)
    companions = companions_in(weights.parent)
    for suffix, kind in INDICES.items():
        if weights.name.endswith(suffix):
            return ModelFiles(kind, shards_of(weights), companions)
    kind = sniff(weights)
    if kind == OPENAI and weights.name in PYTORCH_WEIGHTS:
        kind = PYTORCH
    if kind in (OPENAI, SAFETENSORS) and weights.name in MLX_WEIGHTS:
        kind = MLX
    digest = openai_sha256().get(weights.name) if kind == OPENAI else None
    if digest is not None:
        check = KnownDigest((weights,), digest, "if it is a model of your own, rename it; else fetch it again")
        return ModelFiles(kind, (weights,), companions, weights.stem, (check,))
    return ModelFiles(kind, (weights,), companions)


def companions_in(folder: Path) -> dict[str, Path]:
    """The files beside the weights that are known by name."""
    return {known: folder / known for known in COMPANIONS if (folder / known).is_file()}


def _weights_in(folder: Path) -> Path:
    found = first_existing(folder, WEIGHTS)
    if found is not None:
        return found
    singles = sorted([*folder.glob("*.pt"), *folder.glob("ggml*.bin")])
    if len(singles) != 1:
        raise CheckpointError(
            "no model in this folder",
            where=folder,
            expected=f"{', '.join(WEIGHTS)}, or one .pt or ggml .bin file",
            found=f"{len(singles)} .pt or ggml files" if singles else None,
            hint="give one of them" if singles else _hint_for(folder),
        )
    return singles[0]


def _hint_for(folder: Path) -> str | None:
    """What a folder without a model may be."""
    if (folder / "adapter_config.json").is_file():
        return "it is a LoRA adapter: give it as lora, and the model that it was trained on as the model"
    inside = sorted(path.parent.name for name in WEIGHTS for path in folder.glob(f"*/{name}"))
    return f"there is one in {brief(inside[-1])} inside it" if inside else None


def shards_of(index: Path) -> tuple[Path, ...]:
    """The shard files that an index names, all in the index's own folder.

    Raises:
        CheckpointError: no weight map, a shard that is missing, or a shard name that leaves the folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError("no weight_map", where=index)
    names = list(weight_map.values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not set(name) <= _FILE_NAME:
            raise CheckpointError("a shard outside the folder", where=index, found=reprlib.repr(name))
        if not (index.parent / name).is_file():
            raise CheckpointError("a shard is missing", where=index, expected=name)
    return tuple(index.parent / name for name in sorted(set(names)))


def sniff(path: Path) -> str:
    """The format of a weight file, by its first bytes.

    Raises:
        CheckpointError: unreadable, or no known format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(f"can't be read ({error.strerror or error})", where=path) from error
    if head[4:].startswith(b"\x0c\0WhisperSpec\0"):  # binary version, then the spec's name
        return CTRANSLATE2
    if head.startswith(b"PK\x03\x04") or is_legacy_head(head):
        return OPENAI
    if head.startswith(b"lmgg"):  # 0x67676d6c, little-endian
        return GGML
    if head[8:].startswith(OWN_HEADER):
        return OWN
    if head[8:9] == b"{" and path.suffix == ".safetensors":
        return SAFETENSORS
    hint = hint_for(head)
    if hint is None and (head.startswith(b"\x80") or path.suffix in (".pt", ".pth", ".ckpt")):
        hint = "a PyTorch file of another kind: load it once with torch and save its state dict"
    raise CheckpointError(
        "not a checkpoint that can be read",
        where=path,
        expected="safetensors, CTranslate2 model.bin, OpenAI .pt or ggml .bin",
        found=f"bytes {head[:8].hex(' ')}" if head else "an empty file",
        hint=hint,
    )
