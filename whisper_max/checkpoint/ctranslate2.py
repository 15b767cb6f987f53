"""The CTranslate2 ``model.bin``: a list of named variables, then a list of aliases.

Layout (little-endian), as CTranslate2's ``ModelSpec._serialize`` writes it: u32 binary version, string spec name,
u32 revision, u32 count; per variable a string name, u8 rank, u32 per dimension, u8 dtype, u32 byte count, data;
u32 alias count, per alias two strings. A string is a u16 length that counts its closing zero byte. Quantised matrices
have a scale beside them, ``NAME_scale``: 127 / the largest magnitude of each output, or one float for int16.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import isfinite, prod

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.names.ctranslate2 import ALIASES, HEADS, IGNORED, OPTIONAL_SETTINGS, SETTINGS, TABLE
from whisper_max.checkpoint.table import apply_table, summarise
from whisper_max.checkpoint.tensors import QuantizedTensor, ScaledTensor, Stored, StoredTensor, Tensors, checked_scale
from whisper_max.dims import ModelDimensions, dims_from_ctranslate2
from whisper_max.errors import CheckpointError

BINARY_VERSION = 6
SPEC_NAME = "WhisperSpec"
SPEC_REVISION = 3
DTYPES = {0: "float32", 1: "int8", 2: "int16", 3: "int32", 4: "float16", 5: "bfloat16"}
QUANTISED = {"int8": "<i1", "int16": "<i2"}
_SCALAR_FORMATS = {"float32": "f", "int8": "b", "int16": "h", "int32": "i"}
_MOST_VARIABLES = 1 << 16
_MOST_DIMENSIONS = 4


def read_ctranslate2(file: FileBytes) -> tuple[ModelDimensions, Tensors]:
    """Dims and tensors of a CTranslate2 Whisper model.

    Raises:
        CheckpointError: not a Whisper ``model.bin`` of a known version, damaged, or with tensors other than a Whisper
            model has.
    """
    scalars, stored = _read_variables(file)
    dims = dims_from_ctranslate2(
        {name: tensor.shape for name, tensor in stored.items()},
        n_audio_head=_scalar(scalars, HEADS[0], file),
        n_text_head=_scalar(scalars, HEADS[1], file),
        where=file.where,
    )
    _check_settings(scalars, file)
    return dims, apply_table(TABLE, stored, dims, file.where)


class _Cursor:
    """Reads the header fields one after the other."""

    def __init__(self, file: FileBytes) -> None:
        self.file = file
        self.offset = 0

    def number(self, code: str, what: str) -> int:
        layout = struct.Struct("<" + code)
        (value,) = layout.unpack(self.file.read(self.offset, layout.size, what).tobytes())
        self.offset += layout.size
        return int(value)

    def string(self, what: str) -> str:
        length = self.number("H", what)
        raw = self.file.read(self.offset, length, what).tobytes()
        self.offset += length
        text, zero, rest = raw.partition(b"\0")
        if not zero or rest or not text.isascii():
            raise CheckpointError(f"{what} is not a string", where=self.file.where, found=repr(raw[:40]))
        return text.decode("ascii")

    def skip(self, count: int, what: str) -> int:
        """Step over ``count`` bytes of data and return where they begin."""
        self.file.read(self.offset, count, what)
        self.offset += count
        return self.offset - count


def _read_variables(file: FileBytes) -> tuple[dict[str, int | float], dict[str, Stored]]:
    cursor = _Cursor(file)
    _expect(cursor.number("I", "the version"), BINARY_VERSION, "binary version", file)
    _expect(cursor.string("the model kind"), SPEC_NAME, "model kind", file)
    _expect(cursor.number("I", "the revision"), SPEC_REVISION, "revision", file)
    count = cursor.number("I", "the variable count")
    if count > _MOST_VARIABLES:
        raise CheckpointError("impossible variable count", where=file.where, found=count)
    scalars: dict[str, int | float] = {}
    stored: dict[str, Stored] = {}
    narrow: dict[str, NDArray[np.signedinteger]] = {}
    for _ in range(count):
        _read_variable(cursor, scalars, stored, narrow)
    _read_aliases(cursor)
    for name, values in narrow.items():
        stored[name] = _with_scale(name, values, scalars, stored, file)
    return scalars, stored


def _read_variable(
    cursor: _Cursor,
    scalars: dict[str, int | float],
    stored: dict[str, Stored],
    narrow: dict[str, NDArray[np.signedinteger]],
) -> None:
    file = cursor.file
    name = cursor.string("a variable's name")
    if name in scalars or name in stored or name in narrow:
        raise CheckpointError(f"{name} is stored twice", where=file.where)
    rank = cursor.number("B", name)
    if rank > _MOST_DIMENSIONS:
        raise CheckpointError(f"{name} has an impossible rank", where=file.where, found=rank)
    shape = tuple(cursor.number("I", name) for _ in range(rank))
    code = cursor.number("B", name)
    dtype = DTYPES.get(code)
    if dtype is None:
        raise CheckpointError(f"{name} has an unknown dtype", where=file.where, expected="0 to 5", found=code)
    offset = cursor.skip(cursor.number("I", name), name)
    nbytes = cursor.offset - offset
    if rank == 0:
        scalars[name] = _read_scalar(file, name, dtype, offset, nbytes)
        return
    if dtype in QUANTISED:
        item = np.dtype(QUANTISED[dtype])
        if prod(shape) * item.itemsize != nbytes:
            raise CheckpointError(f"{name} has the wrong size", where=file.where, expected=prod(shape), found=nbytes)
        narrow[name] = file.read(offset, nbytes, name).view(item).reshape(shape)
        return
    tensor = StoredTensor(file, name, offset, dtype, shape)
    if tensor.nbytes != nbytes:
        raise CheckpointError(f"{name} has the wrong size", where=file.where, expected=tensor.nbytes, found=nbytes)
    stored[name] = tensor


def _with_scale(
    name: str,
    values: NDArray[np.signedinteger],
    scalars: dict[str, int | float],
    stored: dict[str, Stored],
    file: FileBytes,
) -> Stored:
    """A quantised matrix with its scale, which CTranslate2 stores beside it, as what the values are to be divided by.

    int8 has one for each output, int16 one for the matrix.
    """
    scale, divisor = stored.pop(f"{name}_scale", None), scalars.pop(f"{name}_scale", None)
    if values.dtype == np.int16 and isinstance(divisor, float) and isfinite(divisor) and divisor > 0:
        return ScaledTensor(name, values.view(np.int16), np.float32(divisor), file=file)
    if values.dtype == np.int8 and isinstance(scale, StoredTensor) and scale.shape == values.shape[:1]:
        return QuantizedTensor(name, values.view(np.int8), np.float32(1) / checked_scale(scale), file=file)
    raise CheckpointError(f"{name} is {values.dtype} without a scale for it", where=file.where)


def _read_scalar(file: FileBytes, name: str, dtype: str, offset: int, nbytes: int) -> int | float:
    code = _SCALAR_FORMATS.get(dtype)
    if code is None or struct.calcsize(code) != nbytes:
        raise CheckpointError(f"{name} is not a {dtype} scalar", where=file.where, found=f"{nbytes} bytes")
    value: int | float = struct.unpack("<" + code, file.read(offset, nbytes, name).tobytes())[0]
    return value


def _read_aliases(cursor: _Cursor) -> None:
    count = cursor.number("I", "the alias count")
    if count > _MOST_VARIABLES:
        raise CheckpointError("impossible alias count", where=cursor.file.where, found=count)
    aliases = {cursor.string("an alias"): cursor.string("an alias") for _ in range(count)}
    if not aliases.items() <= ALIASES.items():
        raise CheckpointError("unexpected aliases", where=cursor.file.where, expected=ALIASES, found=summarise(aliases))
    if cursor.offset != cursor.file.size:
        raise CheckpointError(
            "bytes follow the last variable",
            where=cursor.file.where,
            expected=f"{cursor.offset} bytes",
            found=cursor.file.size,
        )


def _expect(found: int | str, expected: int | str, what: str, file: FileBytes) -> None:
    if found != expected:
        raise CheckpointError(
            f"not a Whisper model.bin that can be read: another {what}",
            where=file.where,
            expected=expected,
            found=found,
        )


def _scalar(scalars: Mapping[str, int | float], name: str, file: FileBytes) -> int:
    value = scalars.get(name)
    if not isinstance(value, int):
        raise CheckpointError(f"{name} is missing or no integer", where=file.where, found=value)
    return value


def _check_settings(scalars: Mapping[str, int | float], file: FileBytes) -> None:
    """Every scalar is known, and those that change the arithmetic have Whisper's value."""
    unexpected = set(scalars) - set(SETTINGS) - set(HEADS) - set(IGNORED)
    if unexpected:
        raise CheckpointError(f"unexpected settings: {summarise(unexpected)}", where=file.where)
    for name, value in SETTINGS.items():
        if name in OPTIONAL_SETTINGS and name not in scalars:
            continue
        if scalars.get(name) != value:
            raise CheckpointError(f"unusual {name}", where=file.where, expected=value, found=scalars.get(name))
