"""OpenAI's ``.pt``: a zip archive of one pickle and the raw storages it refers to, read without PyTorch.

The pickle may build tensors, ordered dictionaries and plain containers. It can name nothing else, so it runs nothing.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.names.openai import TABLE
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import ITEM_SIZE, StoredTensor, Tensors
from whisper_max.dims import ModelDimensions, dims_from_openai
from whisper_max.errors import CheckpointError

_MOST_PICKLE_BYTES = 16 << 20
_MOST_ENTRIES = 1 << 16
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field

_STORAGES = {
    ("torch", "FloatStorage"): "float32",
    ("torch", "HalfStorage"): "float16",
    ("torch", "BFloat16Storage"): "bfloat16",
    ("torch", "DoubleStorage"): "float64",
    ("torch", "CharStorage"): "int8",
    ("torch", "ByteStorage"): "uint8",
    ("torch", "ShortStorage"): "int16",
    ("torch", "IntStorage"): "int32",
    ("torch", "LongStorage"): "int64",
    ("torch", "BoolStorage"): "bool",
}


def read_openai(path: Path) -> tuple[ModelDimensions, Tensors]:
    """Dims and tensors of an OpenAI ``.pt``.

    Raises:
        CheckpointError: damaged, compressed, a pickle that names anything but tensors and containers, or tensors other
            than a Whisper model has.
    """
    archive = _Archive(path)
    content = _load_pickle(archive)
    match content:
        case {"dims": dict(stated), "model_state_dict": dict(state), **rest} if not rest:
            dims = dims_from_openai(stated, path)
        case _:
            raise CheckpointError("not an OpenAI checkpoint", where=path, expected="dims and model_state_dict")
    return dims, apply_table(TABLE, _stored(archive, state), dims, path)


class _Archive:
    """The entries of the zip, located in the file; torch stores them uncompressed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = FileBytes([path])
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise CheckpointError("not a sound zip archive", where=path, found=error) from error
        pickles = [info.filename for info in infos if info.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or len(infos) > _MOST_ENTRIES:
            raise CheckpointError("not a PyTorch archive", where=path, expected="one data.pkl", found=len(pickles))
        self.prefix = pickles[0].removesuffix("data.pkl")
        self.entries = {info.filename: info for info in infos}
        if len(self.entries) != len(infos):
            raise CheckpointError("an archive entry is stored twice", where=path)
        byteorder = self.entries.get(f"{self.prefix}byteorder")
        if byteorder is not None and self.bytes_of("byteorder", 16) != b"little":
            raise CheckpointError("not little-endian", where=path)

    def locate(self, name: str) -> tuple[int, int]:
        """Offset and size of an entry's bytes in the file."""
        info = self.entries.get(self.prefix + name)
        if info is None:
            raise CheckpointError("an archive entry is missing", where=self.path, expected=name)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise CheckpointError(f"archive entry {name} is compressed", where=self.path, expected="stored as it is")
        header = self.file.read(info.header_offset, _LOCAL_HEADER.size, name).tobytes()
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\x03\x04":
            raise CheckpointError(f"archive entry {name} is not where the archive says", where=self.path)
        return info.header_offset + _LOCAL_HEADER.size + name_length + extra_length, info.file_size

    def bytes_of(self, name: str, most: int) -> bytes:
        """The bytes of a small entry."""
        offset, size = self.locate(name)
        if size > most:
            raise CheckpointError(
                f"archive entry {name} is too large", where=self.path, expected=f"at most {most} bytes", found=size
            )
        return self.file.read(offset, size, name).tobytes()


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _StorageType(NamedTuple):
    """Stands for a torch storage class."""

    dtype: str


class _RebuildTensor:
    """Stands for ``torch._utils._rebuild_tensor_v2``."""

    __slots__ = ()

    def __call__(self, storage: object, offset: object, shape: object, stride: object, *rest: object) -> _Tensor:
        integers = [offset, *shape, *stride] if isinstance(shape, tuple) and isinstance(stride, tuple) else [None]
        if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in integers):
            raise pickle.UnpicklingError("impossible arguments of a tensor")
        return _Tensor(storage, offset, shape, stride)  # type: ignore[arg-type]


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(BytesIO(data))
        self.path = path

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if (module, name) in _STORAGES:
            return _StorageType(_STORAGES[module, name])
        raise CheckpointError(
            f"refused: the pickle names {module}.{name}"[:200],
            where=self.path,
            expected="tensors and plain containers only",
            hint="a file like this can run code when PyTorch loads it: do not trust it",
        )

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", _StorageType() as kind, str(key), str(_), int(count)) if count >= 0:
                return _Storage(key, kind.dtype, count)
            case _:
                raise pickle.UnpicklingError("impossible reference to a storage")


def _load_pickle(archive: _Archive) -> object:
    data = archive.bytes_of("data.pkl", _MOST_PICKLE_BYTES)
    try:
        _check_memo(data)
        return _Unpickler(data, archive.path).load()
    except CheckpointError:
        raise
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        EOFError,
        RecursionError,
        MemoryError,
        OverflowError,
    ) as error:
        raise CheckpointError("not a sound PyTorch pickle", where=archive.path, found=error) from error


def _check_memo(data: bytes) -> None:
    """Refuse memo slots beyond what the pickle's length can fill: the unpickler would allocate up to them."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(data):
            raise pickle.UnpicklingError("impossible memo slot")


def _stored(archive: _Archive, state: Mapping[object, object]) -> dict[str, StoredTensor]:
    stored = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise CheckpointError(
                "the state dict holds more than tensors",
                where=archive.path,
                found=f"a {type(tensor).__name__}",
            )
        stored[name] = _locate_tensor(archive, name, tensor)
    return stored


def _locate_tensor(archive: _Archive, name: str, tensor: _Tensor) -> StoredTensor:
    storage = tensor.storage
    offset, size = archive.locate(f"data/{storage.key}")
    item = ITEM_SIZE.get(storage.dtype, 0)
    if item and (size != storage.count * item or (tensor.offset + math.prod(tensor.shape)) * item > size):
        raise CheckpointError(
            f"{name} leaves its storage",
            where=archive.path,
            expected=f"{storage.count} elements",
            found=f"{size} bytes",
        )
    if tensor.stride != _contiguous(tensor.shape):
        raise CheckpointError(
            f"{name} is not contiguous", where=archive.path, expected=_contiguous(tensor.shape), found=tensor.stride
        )
    return StoredTensor(archive.file, name, offset + tensor.offset * item, storage.dtype, tensor.shape)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
