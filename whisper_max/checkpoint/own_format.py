"""Our own checkpoint format: a whole model in one safetensors file, exact or with int8 weights.

Tensors have openai-whisper's names. A quantised matrix is int8, (n_out, n_in) or a convolution's (n_out, n_in, 3), and
beside ``layer.weight`` stands ``layer.scale``, (n_out,) float32: what the values of each output are multiplied by.
The others are float16 where that holds them exactly, else float32. ``vocabulary`` is uint8: the tokens in rank order,
each as one length byte and its bytes. The metadata state the format and its version, dims, alignment heads, special
tokens, words added to the vocabulary, whether prompts name a language, and the model's name. The same model makes the
same bytes.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.files import OWN
from whisper_max.checkpoint.heads import Heads, checked_heads
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING, tensor_shapes
from whisper_max.checkpoint.safetensors import read_header
from whisper_max.checkpoint.table import summarise
from whisper_max.checkpoint.tensors import QuantizedTensor, StoredTensor, Tensors, checked_scale
from whisper_max.checkpoint.vocabulary import Vocabulary, make_vocabulary, pack_tokens, unpack_tokens
from whisper_max.dims import ModelDimensions, dims_from_openai
from whisper_max.errors import CheckpointError
from whisper_max.files.atomic import whole_file

VERSION = "1"
VOCABULARY = "vocabulary"
_CODES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}
_DTYPES = {code: name for name, code in _CODES.items()}
_POSITIONS = "positional_embedding"

Float32 = NDArray[np.float32]
Quantize = Callable[[Float32], tuple[NDArray[np.int8], Float32]]
"""From a matrix (n_out, n_in) to int8 and the scale of each output."""


@dataclass(frozen=True)
class OwnModel:
    """A model in our own format; see ``Checkpoint``."""

    dims: ModelDimensions
    tensors: Tensors
    vocabulary: Vocabulary
    alignment_heads: Heads | None
    name: str | None


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is the matrix of a linear layer or convolution, which is what int8 is for."""
    return len(shape) > 1 and not name.endswith(_POSITIONS)


def scale_name(name: str) -> str:
    """What the scales of a quantised matrix are called."""
    return name.removesuffix("weight") + "scale"


# ---------------------------------------------------------------- writing


def write_own_format(path: Path, model: OwnModel, quantize: Quantize | None = None) -> None:
    """Write a model, one tensor in memory at a time.

    Args:
        path: the file.
        model: what to write; where its matrices are int8 already they stay as they are, which needs ``quantize`` too.
        quantize: how to make matrices int8; None keeps every value exact.

    Raises:
        OSError: the file can't be written.
    """
    header: dict[str, Any] = {"__metadata__": _metadata(model)}
    end = 0
    for name, array in _parts(model, quantize):
        start, end = end, end + array.nbytes
        entry = {"dtype": _CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end]}
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # a model whose width is a multiple of 64 has each tensor on a cache line
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in _parts(model, quantize):  # once more, so that no model has to fit into memory twice
            file.write(np.ascontiguousarray(array).data)


def _metadata(model: OwnModel) -> dict[str, str]:
    """Strings, as safetensors has it; the format comes first."""
    return {
        "format": OWN,
        "version": VERSION,
        "dims": json.dumps(asdict(model.dims)),
        "alignment_heads": json.dumps(model.alignment_heads),
        "special_tokens": json.dumps(model.vocabulary.special_tokens),
        "words": json.dumps(model.vocabulary.words),
        "multilingual": json.dumps(model.vocabulary.multilingual),
        "languages": json.dumps(model.vocabulary.languages),
        "name": json.dumps(model.name),
    }


def _parts(model: OwnModel, quantize: Quantize | None) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every tensor of the file, the widest dtypes of a kind first."""
    for name in model.tensors:
        array = model.tensors[name]
        if quantize is not None and is_matrix(name, array.shape):
            values, scale = quantize(array.reshape(len(array), -1))
            yield name, values.reshape(array.shape)
            yield scale_name(name), scale
        else:
            yield name, _narrowest(array)
    yield VOCABULARY, np.frombuffer(pack_tokens(model.vocabulary.tokens), np.uint8)


def _narrowest(array: Float32) -> NDArray[Any]:
    """In float16 where that is exact."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float16)
    return narrow if np.array_equal(narrow.astype(np.float32), array) else array


# ---------------------------------------------------------------- reading


def read_own_format(path: Path) -> OwnModel:
    """Read what ``write_own_format`` wrote; tensors are read when asked for.

    Raises:
        CheckpointError: damaged, of another version, or a tensor or scale missing, unexpected, mistyped or mis-shaped.
    """
    file = FileBytes([path])
    header, start = read_header(path, file)
    metadata = header.pop("__metadata__")
    if metadata.get("version") != VERSION:
        found = metadata.get("version")
        raise CheckpointError("another version of the format", where=path, expected=VERSION, found=found)
    dims = dims_from_openai(_json(metadata, "dims", path, dict), path)
    stated_heads = _json(metadata, "alignment_heads", path, list | None)
    heads = None if stated_heads is None else checked_heads(stated_heads, dims, path)
    places = {name: _Place(file, name, start, entry) for name, entry in header.items()}
    packed = places.pop(VOCABULARY, None)
    if packed is None:
        raise CheckpointError("no vocabulary inside", where=path)
    tokens = unpack_tokens(packed.bytes("uint8", None).tobytes())
    specials, words = (_ids(metadata, key, path) for key in ("special_tokens", "words"))
    vocabulary = replace(
        make_vocabulary(tokens, specials, dims.n_vocab, path, words),
        multilingual=_json(metadata, "multilingual", path, bool | None) if "multilingual" in metadata else None,
        languages=tuple(map(str, _json(metadata, "languages", path, list))) if "languages" in metadata else (),
    )
    return OwnModel(dims, _tensors(places, dims, path), vocabulary, heads, _json(metadata, "name", path, str | None))


@dataclass(frozen=True)
class _Place:
    """A tensor as the header states it."""

    file: FileBytes
    name: str
    start: int
    entry: Mapping[str, Any]

    @property
    def dtype(self) -> str:
        return str(_DTYPES.get(self.entry["dtype"], self.entry["dtype"]))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.entry["shape"])

    def check(self, dtypes: tuple[str, ...], shape: tuple[int, ...] | None) -> None:
        """Raise unless the dtype is one of these and the shape is this one."""
        if self.dtype not in dtypes:
            expected = " or ".join(dtypes)
            raise CheckpointError(
                f"{self.name} has the wrong dtype", where=self.file.where, expected=expected, found=self.dtype
            )
        if shape is not None and self.shape != shape:
            raise CheckpointError(
                f"{self.name} has the wrong shape", where=self.file.where, expected=shape, found=self.shape
            )

    def bytes(self, dtype: str, shape: tuple[int, ...] | None) -> NDArray[np.uint8]:
        """The data of a tensor of one byte per element."""
        self.check((dtype,), shape)
        return self.file.read(self.start + self.entry["data_offsets"][0], math.prod(self.shape), self.name)

    def stored(self, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> StoredTensor:
        """The tensor, to be read when it is asked for."""
        self.check(dtypes, shape)
        return StoredTensor(self.file, self.name, self.start + self.entry["data_offsets"][0], self.dtype, self.shape)


def _tensors(places: dict[str, _Place], dims: ModelDimensions, where: Path) -> Tensors:
    shapes = tensor_shapes(dims)
    if LOGITS in places:
        shapes[LOGITS] = shapes[TOKEN_EMBEDDING]
    matrices = {name for name, shape in shapes.items() if is_matrix(name, shape)}
    narrow = {name for name in matrices if name in places and places[name].dtype == "int8"}
    if narrow and narrow != matrices:
        raise CheckpointError(f"int8 in some matrices only, not in {summarise(matrices - narrow)}", where=where)
    expected = {*shapes, *(scale_name(name) for name in narrow)}
    for names, what in ((expected - set(places), "are missing"), (set(places) - expected, "are unexpected")):
        if names:
            raise CheckpointError(f"tensors {what}: {summarise(names)}", where=where)
    entries: dict[str, StoredTensor | QuantizedTensor] = {}
    for name, shape in shapes.items():
        if name in narrow:
            scale = places[scale_name(name)].stored(("float32",), shape[:1])
            values = places[name].bytes("int8", shape).view(np.int8).reshape(shape)
            entries[name] = QuantizedTensor(name, values, checked_scale(scale), file=scale.file)
        else:
            entries[name] = places[name].stored(("float32", "float16"), shape)
    return Tensors(entries)


def _ids(metadata: Mapping[str, str], key: str, where: Path) -> dict[str, int]:
    """Tokens and their ids; files from before words could be added state none."""
    ids: dict[str, int] = {} if key == "words" and key not in metadata else _json(metadata, key, where, dict)
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in ids.values()):
        raise CheckpointError(f"impossible {key} in the metadata", where=where, expected="numbers")
    return ids


def _json(metadata: Mapping[str, str], key: str, where: Path, kind: type | UnionType) -> Any:  # noqa: ANN401
    """A value of the metadata, of the kind that it must be."""
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"no {key} in the metadata", where=where) from error
    if not isinstance(value, kind):
        raise CheckpointError(f"impossible {key} in the metadata", where=where, found=reprlib.repr(value))
    return value
