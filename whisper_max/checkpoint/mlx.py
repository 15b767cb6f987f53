"""MLX's Whisper folders: ``config.json`` with openai-whisper's sizes, and ``weights.npz`` or ``weights.safetensors``.

Names are openai-whisper's with mlp1 and mlp2; convolutions have their taps before their inputs. A quantised matrix is
uint32, (n_out, n_in * bits / 32): a row is one stream of bits, the first element in the lowest; ``scales`` and
``biases``, (n_out, n_in / group_size), stand beside it, and an element is scale * q + bias. Source: mlx-whisper
``whisper.py``, MLX ``ops.cpp``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.names.openai import TABLE
from whisper_max.checkpoint.safetensors import read_places
from whisper_max.checkpoint.stored_zip import StoredZip
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import Array, InFile, Place, Stored, Tensors, rows_of_view
from whisper_max.dims import ModelDimensions, check_dims
from whisper_max.errors import CheckpointError, brief

BITS = (2, 3, 4, 5, 6, 8)
_MOST_HEADER_BYTES = 512
_NPY = re.compile(rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? *\}\s*")
_NPY_DTYPES = {
    b"<f4": "float32",
    b"<f2": "float16",
    b"<f8": "float64",
    b"<u4": "uint32",
    b"<i4": "int32",
    b"<i8": "int64",
}
_HEADS = "alignment_heads"


@dataclass(frozen=True)
class GroupTensor:
    """A matrix of ``bits`` an element, with a scale and an offset for each ``size`` elements of a row.

    file: what the packed elements are a view of.
    """

    file: FileBytes
    name: str
    packed: NDArray[np.uint32]
    scales: Stored
    biases: Stored
    bits: int
    size: int

    @property
    def dtype(self) -> str:
        """What it is called: "4-bit groups"."""
        return f"{self.bits}-bit groups"

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.packed), self.packed.shape[1] * 32 // self.bits)

    def rows(self, start: int, stop: int) -> GroupTensor:
        """Rows ``start`` to ``stop``, as a tensor of their own."""
        parts = (self.scales.rows(start, stop), self.biases.rows(start, stop))
        packed = rows_of_view(self.packed, start, stop, self.file)
        return replace(self, packed=packed, scales=parts[0], biases=parts[1])

    def read(self) -> NDArray[np.float32]:
        """The values that stand for the matrix."""
        groups = self._unpacked().reshape(len(self.packed), -1, self.size).astype(np.float32)
        scales, biases = (part.read().astype(np.float32, copy=False) for part in (self.scales, self.biases))
        return (groups * scales[:, :, None] + biases[:, :, None]).reshape(self.shape)

    def _unpacked(self) -> NDArray[np.unsignedinteger]:
        if 32 % self.bits == 0:
            shifts = np.arange(0, 32, self.bits, dtype=np.uint32)
            return (self.packed[:, :, None] >> shifts) & np.uint32((1 << self.bits) - 1)
        stream = np.unpackbits(self.packed.view(np.uint8), axis=1, bitorder="little")  # elements cross words
        return np.packbits(stream.reshape(*self.shape, self.bits), axis=-1, bitorder="little")


@dataclass(frozen=True)
class TapsFirst:
    """A convolution (n_out, 3, n_in) as (n_out, n_in, 3)."""

    stored: InFile

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def dtype(self) -> str:
        return self.stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        n_out, n_taps, n_in = self.stored.shape
        return (n_out, n_in, n_taps)

    def rows(self, start: int, stop: int) -> TapsFirst:
        """Rows ``start`` to ``stop`` of the first axis, as a tensor of their own."""
        return TapsFirst(self.stored.rows(start, stop))

    def read(self) -> Array:
        """Its values."""
        return self.stored.read().transpose(0, 2, 1)


def is_mlx(config: Mapping[str, object]) -> bool:
    """Whether a folder's config is MLX's: with openai-whisper's names of sizes."""
    return "n_audio_state" in config


def read_mlx(path: Path, config: Mapping[str, object], where: Path) -> tuple[ModelDimensions, Tensors, object]:
    """Dims and tensors of an MLX model, and the alignment heads that it states.

    Args:
        path: of the weights.
        config: the content of ``where``, its config.json.

    Raises:
        CheckpointError: damaged, quantised in a way that can't be read, or with tensors other than Whisper's.
    """
    names = [field.name for field in fields(ModelDimensions)]
    dims = check_dims(ModelDimensions(**{name: config.get(name) for name in names}), where)  # type: ignore[arg-type]
    quantised = config.get("quantization")
    places = read_npz(path) if path.suffix == ".npz" else read_places(path)
    heads = places.pop(_HEADS, None)
    bits, size = _groups(quantised, where)
    stored = dict(
        _tensor(name, places, bits, size) for name in list(places) if not name.endswith((".scales", ".biases"))
    )
    return dims, apply_table(TABLE, stored, dims, path), None if heads is None else _heads(heads)


def _groups(stated: object, where: Path) -> tuple[int, int]:
    """Bits of an element and elements of a group; (0, 0) where nothing is quantised."""
    if stated is None:
        return 0, 0
    match stated:
        case {"bits": int(bits), "group_size": int(size), **rest} if bits in BITS and size in (32, 64, 128):
            if rest.get("mode", "affine") == "affine":
                return bits, size
    expected = f"groups of 32, 64 or 128 with {', '.join(map(str, BITS))} bits"
    found = brief(stated)
    if isinstance(stated, dict):
        stated_mode = stated.get("mode", "affine")
        found = f"{brief(stated.get('bits'))} bits, {brief(stated.get('group_size'))} a group, {brief(stated_mode)}"
    raise CheckpointError("unusual quantization", where=where, expected=expected, found=found)


def _tensor(name: str, places: Mapping[str, Place], bits: int, size: int) -> tuple[str, Stored]:
    """One tensor under openai-whisper's name."""
    place, ours = places[name], name.replace(".mlp1.", ".mlp.0.").replace(".mlp2.", ".mlp.2.")
    if place.dtype == "uint32" and bits and len(place.shape) == 2:
        layer = name.removesuffix("weight")
        n_out, n_groups = place.shape[0], place.shape[1] * 32 // bits // size
        sides = [places.get(f"{layer}{side}") for side in ("scales", "biases")]
        if n_groups * size * bits != place.shape[1] * 32:
            raise CheckpointError(f"{name} has rows of broken groups", where=place.file.where, found=place.shape)
        scales, biases = (
            side.stored() if side is not None and side.shape == (n_out, n_groups) else None for side in sides
        )
        if scales is None or biases is None:
            raise CheckpointError(f"{name} is quantised without scales and biases for it", where=place.file.where)
        packed = place.integers().view(np.uint32)
        return ours, GroupTensor(place.file, ours, packed, scales, biases, bits, size)
    stored = place.stored()
    return ours, TapsFirst(stored) if ".conv" in name and len(stored.shape) == 3 else stored


def _heads(place: Place) -> object:
    """(n, 2) integers as a list."""
    is_whole = place.dtype in ("int32", "int64", "uint32") and len(place.shape) == 2
    return place.integers().tolist() if is_whole else []


def read_npz(path: Path) -> dict[str, Place]:
    """The arrays of an ``npz`` file, where they lie.

    Raises:
        CheckpointError: no sound archive, compressed, or an array of another kind.
    """
    archive = StoredZip(path)
    return {name.removesuffix(".npy"): _npy(archive, name) for name in archive.entries}


def _npy(archive: StoredZip, name: str) -> Place:
    offset, size = archive.locate(name)
    head = archive.file.read(offset, min(size, _MOST_HEADER_BYTES), name[:80]).tobytes()
    start, length = (10, int.from_bytes(head[8:10], "little")) if head[6:7] == b"\x01" else (12, _u32(head[8:12]))
    match = _NPY.fullmatch(head[start : start + length])
    if head[:6] != b"\x93NUMPY" or match is None or match[1] not in _NPY_DTYPES:
        raise CheckpointError(f"{name[:80]} is not an array of numbers", where=archive.path)
    shape = tuple(int(part) for part in match[3].split(b",") if part.strip())
    is_by_columns = match[2] == b"True" and sum(size > 1 for size in shape) > 1  # else both orders are the same
    dtype, begin = _NPY_DTYPES[match[1]], offset + start + length
    place = Place(archive.file, name.removesuffix(".npy"), begin, dtype, shape, is_by_columns)
    if place.nbytes != size - start - length:
        found = f"{size - start - length} bytes"
        raise CheckpointError(f"{name[:80]} has the wrong size", where=archive.path, expected=place.nbytes, found=found)
    return place


def _u32(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
