"""Vocabularies kept in the cache as they were read: to read a tokenizer's JSON takes 0.2 s and 30 MB.

A file holds the SHA-256 of what follows, the length of a JSON text (u32, little-endian), that text, which has the
special tokens and the added words, and the packed tokens. It is named by all that it was made from: the contents of the
files, the number of embeddings, and the code that reads them.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from whisper_max.checkpoint import vocabulary as reader
from whisper_max.checkpoint.vocabulary import Vocabulary, pack_tokens, unpack_tokens
from whisper_max.files.atomic import whole_file
from whisper_max.files.cache import cache_dir

_LENGTH = struct.Struct("<I")
_DIGEST_SIZE = hashlib.sha256().digest_size
_LONGEST_TOKEN = 255


def kept_vocabulary(files: Sequence[Path], n_vocab: int, read: Callable[[], Vocabulary]) -> Vocabulary:
    """What ``read`` makes of some files, from the cache where they have been read before.

    Where the cache can't be read or written, or what is in it is damaged, they are read.

    Args:
        files: those that are read.
        n_vocab: rows of the token embedding, which they were checked against.
        read: reads them.

    Raises:
        CheckpointError: as ``read`` does; nothing is kept then.
    """
    path = _path(files, n_vocab)
    if path is None:
        return read()
    found = _load(path)
    if found is None:
        found = read()
        if max(map(len, found.tokens)) <= _LONGEST_TOKEN:
            with suppress(OSError), whole_file(path) as file:
                file.write(_packed(found))
    return found


def _path(files: Sequence[Path], n_vocab: int) -> Path | None:
    """The place of their vocabulary; None where one can't be read, which the reader will tell."""
    key = hashlib.sha256(f"{n_vocab} {_code()}".encode())
    try:
        for file in files:
            with file.open("rb") as content:  # piece by piece: a tokenizer.json has megabytes
                key.update(f" {file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    except OSError:
        return None
    return cache_dir() / "vocabularies" / key.hexdigest()


@cache
def _code() -> str:
    """The digest of the code that reads vocabularies, which decides what they become."""
    return "".join(hashlib.sha256(Path(str(file)).read_bytes()).hexdigest() for file in (__file__, reader.__file__))


def _packed(vocabulary: Vocabulary) -> bytes:
    text = json.dumps([vocabulary.special_tokens, vocabulary.words]).encode()
    content = _LENGTH.pack(len(text)) + text + pack_tokens(vocabulary.tokens)
    return hashlib.sha256(content).digest() + content


def _load(path: Path) -> Vocabulary | None:
    """The vocabulary in a file; None where there is none, or not as it was written."""
    try:
        packed = memoryview(path.read_bytes())
    except OSError:
        return None
    digest, content = packed[:_DIGEST_SIZE], packed[_DIGEST_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        return None
    start = _LENGTH.size
    end = start + _LENGTH.unpack_from(content)[0]
    special_tokens, words = json.loads(bytes(content[start:end]))
    return Vocabulary(unpack_tokens(content[end:]), special_tokens, words)
