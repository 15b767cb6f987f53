"""whisper.cpp's ggml ``.bin``: dims, mel filters, vocabulary and tensors in one file.

Layout (little-endian i32 unless said), as whisper.cpp's ``models/convert-pt-to-ggml.py`` writes it: magic, eleven
hparams; mel filters as rows, columns and f32 values; token count, then length and bytes per token; to the end of the
file, per tensor: rank, name length, type, dimensions (innermost first), name, data.
"""

from __future__ import annotations

import re
import struct

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.ggml_blocks import KINDS, BlockTensor
from whisper_max.checkpoint.names.ggml import COLUMNS, TABLE, TYPES
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import Stored, StoredTensor, Tensors
from whisper_max.checkpoint.vocabulary import Vocabulary, by_rank, make_vocabulary
from whisper_max.dims import ModelDimensions, dims_from_ggml
from whisper_max.errors import CheckpointError

MAGIC = 0x67676D6C
HPARAMS = (
    "n_vocab",
    "n_audio_ctx",
    "n_audio_state",
    "n_audio_head",
    "n_audio_layer",
    "n_text_ctx",
    "n_text_state",
    "n_text_head",
    "n_text_layer",
    "n_mels",
    "ftype",
)
_MOST_NAME_BYTES = 256
_MOST_DIMENSIONS = 4
_SPECIAL = re.compile(rb"<\|.*\|>")


def read_ggml(file: FileBytes) -> tuple[ModelDimensions, Tensors, Vocabulary]:
    """Dims, tensors and vocabulary of a whisper.cpp model.

    Raises:
        CheckpointError: not such a file, damaged, or with tensors other than a Whisper model has.
    """
    cursor = _Cursor(file)
    magic, *hparams = cursor.numbers(1 + len(HPARAMS), "the header")
    if magic != MAGIC:
        raise CheckpointError("not a ggml file", where=file.where, expected=f"{MAGIC:#x}", found=f"{magic:#x}")
    dims = dims_from_ggml(dict(zip(HPARAMS, hparams, strict=True)), file.where)
    rows, columns = cursor.numbers(2, "the mel filters")
    cursor.skip(4 * _natural(rows, cursor) * _natural(columns, cursor), "the mel filters")
    vocabulary = _read_vocabulary(cursor, dims)
    stored: dict[str, Stored] = {}
    while cursor.offset < file.size:
        tensor = _read_tensor(cursor)
        if tensor.name in stored:
            raise CheckpointError(f"{tensor.name} is stored twice", where=file.where)
        stored[tensor.name] = tensor
    return dims, apply_table(TABLE, stored, dims, file.where), vocabulary


class _Cursor:
    """Reads the fields one after the other."""

    def __init__(self, file: FileBytes) -> None:
        self.file = file
        self.offset = 0

    def skip(self, count: int, what: str) -> int:
        """Step over ``count`` bytes and return where they begin."""
        self.file.read(self.offset, count, what)
        self.offset += count
        return self.offset - count

    def bytes(self, count: int, what: str) -> bytes:
        return self.file.read(self.skip(count, what), count, what).tobytes()

    def numbers(self, count: int, what: str) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.bytes(4 * count, what))


def _natural(number: int, cursor: _Cursor) -> int:
    if number < 0:
        raise CheckpointError("a negative size", where=cursor.file.where, found=number)
    return number


def _read_vocabulary(cursor: _Cursor, dims: ModelDimensions) -> Vocabulary:
    (count,) = cursor.numbers(1, "the vocabulary")
    if not 0 <= count <= dims.n_vocab:
        raise CheckpointError(
            "impossible vocabulary", where=cursor.file.where, expected=f"at most {dims.n_vocab} tokens", found=count
        )
    ranks: dict[bytes, int] = {}
    specials: dict[str, int] = {}
    words: dict[str, int] = {}
    for index in range(count):
        (length,) = cursor.numbers(1, "the vocabulary")
        token = cursor.bytes(length, "the vocabulary")
        if _SPECIAL.fullmatch(token):
            specials[token.decode(errors="replace")] = index
        elif specials:
            words[token.decode(errors="replace")] = index
        else:
            ranks[token] = index
    where = cursor.file.where
    return make_vocabulary(by_rank(ranks, where), specials, dims.n_vocab, where, words)


def _read_tensor(cursor: _Cursor) -> Stored:
    rank, name_length, code = cursor.numbers(3, "a tensor's header")
    if not 1 <= rank <= _MOST_DIMENSIONS or not 1 <= name_length <= _MOST_NAME_BYTES:
        raise CheckpointError("an impossible tensor header", where=cursor.file.where, found=f"rank {rank}")
    shape = cursor.numbers(rank, "a tensor's header")[::-1]
    name = cursor.bytes(name_length, "a tensor's name").decode(errors="replace")
    if code in KINDS:
        blocks = BlockTensor(cursor.file, name, cursor.offset, KINDS[code], shape)
        cursor.skip(blocks.nbytes, name)
        return blocks
    if code not in TYPES:
        known = ", ".join([*TYPES.values(), *(kind.name for kind in KINDS.values())])
        raise CheckpointError(f"{name} has an unknown type", where=cursor.file.where, expected=known, found=code)
    tensor = StoredTensor(cursor.file, name, cursor.offset, TYPES[code], shape)
    cursor.skip(tensor.nbytes, name)
    return tensor.reshaped(shape[:1]) if name in COLUMNS and shape[1:] == (1,) else tensor
