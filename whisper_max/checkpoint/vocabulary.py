"""Vocabularies: the byte-level BPE tokens of a checkpoint, as bytes, and the special tokens it states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from whisper_max.errors import CheckpointError

_SPECIAL = re.compile(r"<\|.*\|>")


@dataclass(frozen=True)
class Vocabulary:
    """What the tokenizer is built from.

    ranks: the bytes of every ordinary token to its id; ids run from 0 without a gap, and the id is the merge rank.
    special_tokens: text of every special token the checkpoint states to its id; empty if it states none.
    """

    ranks: dict[bytes, int]
    special_tokens: dict[str, int]


def make_vocabulary(ranks: dict[bytes, int], special_tokens: dict[str, int], n_vocab: int, where: object) -> Vocabulary:
    """A vocabulary checked against the token embedding.

    Raises:
        CheckpointError: ids with a gap or a repetition, a byte without a token, more tokens than embeddings.
    """
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise CheckpointError("token ids have gaps or repeat", where=where, expected=f"0 to {len(ranks) - 1}")
    absent = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if absent:
        raise CheckpointError("bytes without a token", where=where, expected="all 256", found=256 - len(absent))
    specials = sorted(special_tokens.values())
    if len(set(specials)) != len(specials) or (specials and specials[0] < len(ranks)):
        raise CheckpointError("special token ids repeat", where=where, expected=f"distinct, from {len(ranks)} on")
    largest = specials[-1] if specials else len(ranks) - 1
    if largest >= n_vocab:
        raise CheckpointError(
            "more tokens than embeddings", where=where, expected=f"ids below {n_vocab}", found=largest
        )
    return Vocabulary(ranks, special_tokens)


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
    specials = {token.get("content"): token.get("id") for token in added}
    return _from_texts(model.get("vocab"), specials, n_vocab, path)


def read_vocab_json(path: Path, added_path: Path | None, n_vocab: int) -> Vocabulary:
    """The vocabulary of a Hugging Face ``vocab.json`` with its ``added_tokens.json``.

    Raises:
        CheckpointError: as ``read_tokenizer_json``.
    """
    specials: dict[object, object] = {}
    if added_path is not None:
        specials.update(read_json(added_path))
    return _from_texts(read_json(path), specials, n_vocab, path)


def read_vocabulary_list(path: Path, n_vocab: int) -> Vocabulary:
    """The vocabulary of a CTranslate2 ``vocabulary.txt`` or ``vocabulary.json``: one token per embedding, in order.

    Raises:
        CheckpointError: as ``read_tokenizer_json``.
    """
    listed_as_json = path.suffix == ".json"
    tokens = _load_json(path) if listed_as_json else _read_text(path).removesuffix("\n").split("\n")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError("not a list of tokens", where=path)
    texts: dict[object, object] = {token: index for index, token in enumerate(tokens)}
    if len(texts) != len(tokens):
        raise CheckpointError("a token is listed twice", where=path)
    return _from_texts(texts, {}, n_vocab, path)


def _from_texts(vocab: object, stated_specials: Mapping[object, object], n_vocab: int, where: Path) -> Vocabulary:
    """Split texts into ordinary tokens, up to the first special one, and special tokens."""
    if not isinstance(vocab, dict):
        raise CheckpointError("no vocabulary inside", where=where)
    specials = _checked(
        {**{text: i for text, i in vocab.items() if _SPECIAL.fullmatch(text)}, **stated_specials}, where
    )
    ordinary = _checked({text: i for text, i in vocab.items() if text not in specials}, where)
    ranks = {_to_bytes(text, where): index for text, index in ordinary.items()}
    if len(ranks) != len(ordinary):
        raise CheckpointError("a token is listed twice", where=where)
    return make_vocabulary(ranks, specials, n_vocab, where)


def _checked(texts: Mapping[object, object], where: Path) -> dict[str, int]:
    checked = {}
    for text, index in texts.items():
        if not isinstance(text, str) or isinstance(index, bool) or not isinstance(index, int):
            raise CheckpointError("not a token and its id", where=where, found=f"{text!r}: {index!r}"[:80])
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
        raise CheckpointError("a token is not byte-level BPE", where=where, found=repr(text)) from error


def pack_tokens(ranks: Mapping[bytes, int]) -> bytes:
    """Tokens in rank order, each as one length byte and its bytes."""
    return b"".join(bytes([len(token)]) + token for token in sorted(ranks, key=ranks.__getitem__))


def unpack_tokens(raw: bytes) -> dict[bytes, int]:
    """What ``pack_tokens`` packed."""
    ranks: dict[bytes, int] = {}
    position = 0
    while position < len(raw):
        end = position + 1 + raw[position]
        ranks[raw[position + 1 : end]] = len(ranks)
        position = end
    return ranks


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
    try:
        return json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError("not JSON", where=path, found=error) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError("not UTF-8 text", where=path, found=error.reason) from error
    except OSError as error:
        raise CheckpointError(f"can't be read ({error.strerror or error})", where=path) from error


def first_existing(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that the folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)
