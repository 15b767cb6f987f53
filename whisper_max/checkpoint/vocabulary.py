"""Vocabularies: the byte-level BPE tokens of a checkpoint, as bytes, and the special tokens it states."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whisper_max.checkpoint.mistaken import hint_for
from whisper_max.errors import CheckpointError, brief

_SPECIAL = re.compile(r"<\|.*\|>")
_TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")
_MOST_BYTES = 64 << 20  # of a file of text; the tokenizer.json of the published models has 4 MB


@dataclass(frozen=True)
class Tokens(Collection[bytes]):
    """Tokens by their ids, one after the other in one piece of memory: a dict of them takes ten times that.

    ends: where each ends in the text of all.
    """

    text: bytes
    ends: array[int]

    @classmethod
    def of(cls, tokens: Iterable[bytes]) -> Tokens:
        """The same tokens, packed."""
        text, ends = bytearray(), array("I")
        for token in tokens:
            text += token
            ends.append(len(text))
        return cls(bytes(text), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self.ends:
            yield self.text[start:end]
            start = end

    def __contains__(self, token: object) -> bool:
        return any(token == each for each in self)


@dataclass(frozen=True)
class Vocabulary:
    """What the tokenizer is built from.

    tokens: the bytes of every ordinary token by id, from 0 on; the id is the merge rank.
    special_tokens: text of every special token the checkpoint states to its id; empty if it states none.
    words: text of every other token that was added to the ordinary ones, to its id.
    multilingual: whether prompts name a language and a task, where the checkpoint says so.
    languages: text of every token that the checkpoint says is of a language, of which it may have added some.
    """

    tokens: Tokens
    special_tokens: dict[str, int]
    words: dict[str, int] = field(default_factory=dict)
    multilingual: bool | None = None
    languages: tuple[str, ...] = ()

    @property
    def ranks(self) -> dict[bytes, int]:
        """Every ordinary token to its id."""
        return {token: index for index, token in enumerate(self.tokens)}


def by_rank(ranks: Mapping[bytes, int], where: object) -> Tokens:
    """Tokens in the order of their ids.

    Raises:
        CheckpointError: ids with a gap or a repetition.
    """
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise CheckpointError("token ids have gaps or repeat", where=where, expected=f"0 to {len(ranks) - 1}")
    return Tokens.of(sorted(ranks, key=ranks.__getitem__))


def make_vocabulary(
    tokens: Tokens,
    special_tokens: dict[str, int],
    n_vocab: int,
    where: object,
    words: dict[str, int] | None = None,
) -> Vocabulary:
    """A vocabulary checked against the token embedding.

    Raises:
        CheckpointError: a token twice, a byte without a token, more tokens than embeddings.
    """
    distinct = set(tokens)
    if len(distinct) != len(tokens):
        raise CheckpointError("a token is listed twice", where=where)
    absent = [byte for byte in range(256) if bytes([byte]) not in distinct]
    if absent:
        raise CheckpointError("bytes without a token", where=where, expected="all 256", found=256 - len(absent))
    words = words or {}
    added = sorted([*special_tokens.values(), *words.values()])
    if len(set(added)) != len(added) or (added and added[0] < len(tokens)):
        raise CheckpointError("special token ids repeat", where=where, expected=f"distinct, from {len(tokens)} on")
    largest = added[-1] if added else len(tokens) - 1
    if largest >= n_vocab:
        raise CheckpointError(
            "more tokens than embeddings", where=where, expected=f"ids below {n_vocab}", found=largest
        )
    return Vocabulary(tokens, special_tokens, words)


def read_tokenizer_json(path: Path, n_vocab: int) -> Vocabulary:
    """The vocabulary of a Hugging Face ``tokenizer.json``.

    Raises:
        CheckpointError: unreadable, another kind of tokenizer, or not a vocabulary of ``n_vocab`` embeddings.
    """
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise CheckpointError("not a byte-level BPE tokenizer", where=path)
    added = content.get("added_tokens", [])
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise CheckpointError("added_tokens is not a list of tokens", where=path)
    stated = _checked([(token.get("content"), token.get("id")) for token in added], path)
    special = {token["content"] for token in added if token.get("special") is True}
    return _from_texts(model.get("vocab"), stated, special, n_vocab, path)


def read_vocab_json(path: Path, added_path: Path | None, n_vocab: int) -> Vocabulary:
    """The vocabulary of a Hugging Face ``vocab.json`` with its ``added_tokens.json``.

    Raises:
        CheckpointError: as ``read_tokenizer_json``.
    """
    added = {} if added_path is None else _checked(read_json(added_path).items(), added_path)
    return _from_texts(read_json(path), added, set(), n_vocab, path)


def read_vocabulary_list(path: Path, n_vocab: int) -> Vocabulary:
    """The vocabulary of a CTranslate2 ``vocabulary.txt`` or ``vocabulary.json``: one token per embedding, in order.

    Raises:
        CheckpointError: as ``read_tokenizer_json``.
    """
    listed_as_json = path.suffix == ".json"
    tokens = _load_json(path) if listed_as_json else _read_text(path).removesuffix("\n").split("\n")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError("not a list of tokens", where=path)
    texts: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token in texts and not _TIMESTAMP.fullmatch(token):  # converters name spare rows as timestamps once more
            raise CheckpointError("a token is listed twice", where=path)
        texts.setdefault(token, index)
    return _from_texts(texts, {}, set(), n_vocab, path)


def _from_texts(vocab: object, added: dict[str, int], special: set[str], n_vocab: int, where: Path) -> Vocabulary:
    """Split texts into ordinary tokens, up to the first special one, special tokens, and words behind these.

    added: tokens that the checkpoint lists apart. special: those of them that it calls special.
    """
    if not isinstance(vocab, dict):
        raise CheckpointError("no vocabulary inside", where=where)
    texts = _checked(vocab.items(), where)
    for text in texts.keys() & added.keys():
        if texts[text] != added[text]:
            raise CheckpointError(
                f"{brief(text)} has two ids", where=where, expected=f"{texts[text]}, as among the ordinary tokens",
                found=f"{added[text]} among those that were added", hint="take one of the two away",
            )  # fmt: skip
    every = texts | added
    specials = {
        text: index
        for text, index in every.items()
        if (text.startswith("<|") and _SPECIAL.fullmatch(text)) or text in special
    }
    end = min(specials.values(), default=n_vocab)
    apart = set(added) | {text for text, index in texts.items() if index > end}
    words = {text: index for text, index in every.items() if text in apart and text not in specials}
    ordinary = {text: index for text, index in texts.items() if text not in specials and text not in words}
    ranks = {_to_bytes(text, where): index for text, index in ordinary.items()}
    if len(ranks) != len(ordinary):
        raise CheckpointError("a token is listed twice", where=where)
    return make_vocabulary(by_rank(ranks, where), specials, n_vocab, where, words)


def _checked(texts: Iterable[tuple[object, object]], where: Path) -> dict[str, int]:
    """Tokens and their ids, each of its type."""
    checked = {}
    for text, index in texts:
        if not isinstance(text, str) or type(index) is not int or not 0 <= index < 1 << 31:
            raise CheckpointError("not a token and its id", where=where, found=f"{brief(text)}: {brief(index)}")
        checked[text] = index
    return checked


def _characters_of_bytes() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level BPE files (GPT-2's ``bytes_to_unicode``)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_NOT_A_BYTE = "\uffff"
_BYTE_OF = str.maketrans({chr(byte): _NOT_A_BYTE for byte in range(256)} | _characters_of_bytes())


def _to_bytes(text: str, where: Path) -> bytes:
    try:
        return text.translate(_BYTE_OF).encode("latin-1")
    except UnicodeEncodeError as error:
        raise CheckpointError("a token is not byte-level BPE", where=where, found=brief(text)) from error


def token_texts(tokens: Iterable[bytes]) -> dict[str, int]:
    """Ordinary tokens in the printable characters of byte-level BPE files, to their ids."""
    character_of = {byte: character for character, byte in _characters_of_bytes().items()}
    return {"".join(map(character_of.__getitem__, token)): index for index, token in enumerate(tokens)}


def pack_tokens(tokens: Iterable[bytes]) -> bytes:
    """Tokens, each as one length byte and its bytes."""
    return b"".join(bytes([len(token)]) + token for token in tokens)


def unpack_tokens(raw: bytes | memoryview) -> Tokens:
    """What ``pack_tokens`` packed."""
    return Tokens.of(_each_packed(raw))


def _each_packed(raw: bytes | memoryview) -> Iterator[bytes]:
    position = 0
    while position < len(raw):
        end = position + 1 + raw[position]
        yield bytes(raw[position + 1 : end])
        position = end


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in a file.

    Raises:
        CheckpointError: unreadable, not JSON, or no object.
    """
    content = _load_json(path)
    if not isinstance(content, dict):
        raise CheckpointError("not a JSON object", where=path, found=type(content).__name__)
    return content


def _load_json(path: Path) -> object:
    text = _read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = hint_for(text[:64].encode(errors="replace"))
        raise CheckpointError("not JSON", where=path, found=error, hint=hint) from error


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise CheckpointError("too large", where=path, expected=f"at most {_MOST_BYTES} bytes", found=size)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError("not UTF-8 text", where=path, found=error.reason) from error
    except OSError as error:
        raise CheckpointError(f"can't be read ({error.strerror or error})", where=path) from error


def first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that the folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)
