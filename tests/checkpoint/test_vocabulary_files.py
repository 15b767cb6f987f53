"""Vocabularies from every kind of file, and the two that are shipped."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from whisper_max.checkpoint.shipped import shipped_vocabulary
from whisper_max.checkpoint.vocabulary import (
    Tokens,
    make_vocabulary,
    read_tokenizer_json,
    read_vocab_json,
    read_vocabulary_list,
)
from whisper_max.errors import CheckpointError


@pytest.fixture
def texts(writers) -> list[str]:
    """The tiny vocabulary's ordinary tokens in the characters that byte-level BPE files use."""
    characters = writers.byte_characters()
    return ["".join(characters[byte] for byte in word) for word in writers.words]


@pytest.fixture
def ranks(writers) -> dict[bytes, int]:
    return {word: index for index, word in enumerate(writers.words)}


def test_vocab_json_and_added_tokens(texts, ranks, writers, tmp_path):
    vocab, added = tmp_path / "vocab.json", tmp_path / "added_tokens.json"
    vocab.write_text(json.dumps({text: i for i, text in enumerate(texts)} | {"<|endoftext|>": 260}))
    added.write_text(json.dumps({"<|startoftranscript|>": 261}))
    vocabulary = read_vocab_json(vocab, added, 300)
    assert (vocabulary.ranks, vocabulary.special_tokens) == (ranks, writers.specials)
    assert read_vocab_json(vocab, None, 300).special_tokens == {"<|endoftext|>": 260}


@pytest.mark.parametrize("name", ["vocabulary.txt", "vocabulary.json"])
def test_a_list_of_tokens(name, texts, ranks, writers, tmp_path):
    tokens = [*texts, *writers.specials]
    path = tmp_path / name
    text = json.dumps(tokens) if name.endswith("json") else "\n".join(tokens) + "\n"
    path.write_text(text, encoding="utf-8")
    vocabulary = read_vocabulary_list(path, 300)
    assert (vocabulary.ranks, vocabulary.special_tokens) == (ranks, writers.specials)


@pytest.mark.parametrize(
    ("model", "added", "message"),
    [
        ({"type": "Unigram", "vocab": {}}, [], "not a byte-level BPE tokenizer"),
        ({"type": "BPE"}, [], "no vocabulary inside"),
        ({"type": "BPE", "vocab": {"a": "0"}}, [], "not a token and its id: found 'a': '0'"),
        ({"type": "BPE", "vocab": {"a": True}}, [], "not a token and its id: found 'a': True"),
        ({"type": "BPE", "vocab": {"a": 10**400}}, [], "not a token and its id: found 'a': a value of type int"),
        ({"type": "BPE", "vocab": {}}, [{"content": []}], "not a token and its id: found a value of type list: None"),
        (
            {"type": "BPE", "vocab": {}},
            [{"content": {}, "id": 1}],
            "not a token and its id: found a value of type dict: 1",
        ),
        ({"type": "BPE", "vocab": {"a b": 0}}, [], "a token is not byte-level BPE: found 'a b'"),
        ({"type": "BPE", "vocab": {"日": 0}}, [], "a token is not byte-level BPE: found '日'"),
        ({"type": "BPE", "vocab": {"a": 0, "b": 2}}, [], "token ids have gaps or repeat: expected 0 to 1"),
        ({"type": "BPE", "vocab": {"a": 0}}, [], "bytes without a token: expected all 256, found 1"),
        ({"type": "BPE", "vocab": {"a": 0}}, {"id": 1}, "added_tokens is not a list of tokens"),
        ({"type": "BPE", "vocab": {"a": 0}}, [{"id": 1}], "not a token and its id: found None: 1"),
    ],
)
def test_tokenizers_that_are_not_whispers(model, added, message, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": model, "added_tokens": added}))
    with pytest.raises(CheckpointError) as caught:
        read_tokenizer_json(path, 300)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("specials", "n_vocab", "message"),
    [
        ({}, 259, "v: more tokens than embeddings: expected ids below 259, found 259"),
        ({"<|a|>": 300}, 300, "v: more tokens than embeddings: expected ids below 300, found 300"),
        ({"<|a|>": 260, "<|b|>": 260}, 300, "v: special token ids repeat: expected distinct, from 260 on"),
        ({"<|a|>": 259}, 300, "v: special token ids repeat: expected distinct, from 260 on"),
    ],
)
def test_vocabularies_that_do_not_fit_the_model(specials, n_vocab, message, ranks):
    with pytest.raises(CheckpointError) as caught:
        make_vocabulary(Tokens.of(ranks), specials, n_vocab, "v")
    assert str(caught.value) == message


def test_a_token_that_is_listed_twice(texts, tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_text("\n".join([*texts, texts[5]]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="a token is listed twice"):
        read_vocabulary_list(path, 300)


@pytest.mark.parametrize(
    ("n_vocab", "count", "known"),
    [
        (51864, 50256, {b"!": 0, b" the": 262, b" gazed": 50255}),
        (51865, 50257, {b"!": 0, b" the": 264, b"": 50256}),
        (51866, 50257, {b"!": 0, b" the": 264, b"": 50256}),
    ],
)
def test_the_shipped_vocabularies(n_vocab, count, known):
    vocabulary = shipped_vocabulary(n_vocab, "model.pt")
    assert len(vocabulary.ranks) == count
    assert vocabulary.special_tokens == {}
    assert {token: vocabulary.ranks[token] for token in known} == known


def test_a_vocabulary_takes_little_memory():
    tracemalloc.start()
    try:
        vocabulary = shipped_vocabulary(51865, "model.pt")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * len(vocabulary.tokens)


def test_no_shipped_vocabulary_fits():
    with pytest.raises(CheckpointError) as caught:
        shipped_vocabulary(300, Path("model.pt"))
    assert str(caught.value) == (
        "model.pt: no vocabulary beside the weights, and no published one fits: expected n_vocab 51864, 51865, 51866, "
        "found 300; put the model's tokenizer.json beside it"
    )
