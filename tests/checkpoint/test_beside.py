"""What lies beside the weights must agree, and is read before the weights are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.beside import check_published_size, vocabulary_of_table
from whisper_max.checkpoint.files import KnownDigest, ModelFiles, files_at
from whisper_max.checkpoint.own_format import OwnModel, read_own_format, write_own_format
from whisper_max.checkpoint.vocabulary import (
    Tokens,
    Vocabulary,
    read_tokenizer_json,
    read_vocab_json,
    read_vocabulary_list,
    token_texts,
)
from whisper_max.errors import CheckpointError


@pytest.fixture
def folder(writers, tmp_path):
    """A Hugging Face folder with both kinds of tokenizer files."""
    writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    table = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps(table["model"]["vocab"]))
    (tmp_path / "added_tokens.json").write_text(json.dumps({t["content"]: t["id"] for t in table["added_tokens"]}))
    return tmp_path


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_files_that_agree_are_read(folder, writers):
    assert read_checkpoint(folder).vocabulary.special_tokens == writers.specials


def test_tokenizers_that_disagree_are_refused(folder):
    edit(folder / "added_tokens.json", lambda added: added.update({"<|endoftext|>": 262}))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    assert str(caught.value) == (
        f"{folder / 'tokenizer.json'}: <|endoftext|> has the id 260 here and 262 in vocab.json;"
        " one of the two is of another model: put the right one there, or take the wrong one away"
    )


def test_tokenizers_of_other_texts_are_refused(folder):
    edit(folder / "vocab.json", lambda vocab: vocab.update(th=257, **{"Ġt": 256}))
    with pytest.raises(CheckpointError, match=r"its tokens of text are not those of vocab\.json"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ({"decoder_start_token_id": 260}, r"<\|startoftranscript\|> has the id 260 here and 261 in the tokenizer"),
        ({"lang_to_id": {"<|startoftranscript|>": 7}}, r"<\|startoftranscript\|> has the id 7 here and 261"),
        ({"task_to_id": {"endoftext": 3}}, r"<\|endoftext\|> has the id 3 here and 260"),
    ],
)
@pytest.mark.parametrize("config", ["generation_config.json", "config.json"])
def test_a_config_that_disagrees_is_refused(folder, config, stated, name):
    edit(folder / config, lambda content: content.update(stated))
    with pytest.raises(CheckpointError, match=config.replace(".", r"\.") + ": " + name):
        read_checkpoint(folder)


@pytest.mark.parametrize("stated", [{"lang_to_id": [1]}, {"lang_to_id": {"<|en|>": "x"}}, {"eos_token_id": [260]}])
def test_what_a_config_states_in_another_form_is_left_alone(folder, stated):
    edit(folder / "generation_config.json", lambda content: content.update(stated))
    read_checkpoint(folder)


@pytest.mark.parametrize("says", [True, False])
def test_a_config_says_whether_prompts_name_a_language(folder, says):
    edit(folder / "generation_config.json", lambda content: content.update(is_multilingual=says))
    assert read_checkpoint(folder).vocabulary.multilingual is says


@pytest.mark.parametrize(
    ("config", "stated"),
    [
        ("generation_config.json", {"lang_to_id": {"<|ckb|>": 262, "<|absent|>": 299}}),
        ("config.json", {"lang_ids": [262, "7", 299]}),  # as CTranslate2 has it
    ],
)
def test_a_config_says_which_tokens_are_of_languages(folder, tmp_path, config, stated):
    added = {"id": 262, "content": "<|ckb|>", "special": True}
    edit(folder / "tokenizer.json", lambda content: content["added_tokens"].append(added))
    assert read_checkpoint(folder).vocabulary.languages == ()
    edit(folder / config, lambda content: content.update(stated))
    read = read_checkpoint(folder)
    assert read.vocabulary.languages == ("<|ckb|>",)
    own = tmp_path / "own.safetensors"
    write_own_format(own, OwnModel(read.dims, read.tensors, read.vocabulary, read.alignment_heads, None))
    assert read_own_format(own).vocabulary == read.vocabulary


def test_a_tokenizer_that_can_not_be_read_is_named_before_the_weights_are_hashed(folder, monkeypatch):
    hashed = []
    monkeypatch.setattr("whisper_max.checkpoint.checksum.verify", lambda *args: hashed.append(args))
    files = replace(files_at(folder), checks=(KnownDigest((folder / "model.safetensors",), "0" * 64),))
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not JSON"):
        read_checkpoint(files)
    assert hashed == []
    shutil.copy(folder / "vocab.json", folder / "tokenizer.json")
    (folder / "model.safetensors").write_bytes(b"{" * 40)
    with pytest.raises(CheckpointError):
        read_checkpoint(replace(files, companions={**files.companions, "tokenizer.json": folder / "vocab.json"}))


@pytest.fixture(scope="module")
def published():
    """As many tokens of text as the published vocabularies have."""
    texts = [*(bytes([byte]) for byte in range(256)), *(f"{i:05}".encode() for i in range(256, 50257))]
    return {"english": Vocabulary(Tokens.of(texts[:-1]), {}), "multilingual": Vocabulary(Tokens.of(texts), {})}


@pytest.mark.parametrize(
    ("name", "n_vocab", "n_mels", "message"),
    [
        ("english", 51864, 80, None),
        ("english", 51865, 80, "51865 embeddings, not 51864, and which tokens they are is not stated"),
        ("english", 51871, 80, "51871 embeddings, not 51864"),
        ("multilingual", 51865, 80, None),
        ("multilingual", 51866, 80, "whether row 51865 is a language or an added token is not stated"),
        ("multilingual", 51866, 128, None),
        ("multilingual", 51868, 80, "51868 embeddings, not 51865 or 51866, and which"),
        ("multilingual", 51800, 80, "51800 embeddings, not 51865 or 51866, and which"),
    ],
)
def test_rows_that_may_be_a_language_or_a_token_are_not_guessed(name, n_vocab, n_mels, message, published, writers):
    dims = replace(writers.dims, n_vocab=n_vocab, n_mels=n_mels)
    if message is None:
        check_published_size(published[name], dims, "m")
    else:
        with pytest.raises(CheckpointError, match=f"{message}.*put the model's tokenizer.json beside it"):
            check_published_size(published[name], dims, "m")
    check_published_size(replace(published[name], special_tokens={"<|startoftranscript|>": 50258}), dims, "m")


def test_a_tokenizer_says_which_tokens_the_rows_of_a_table_are(published, writers, tmp_path):
    table = published["multilingual"]
    dims = replace(writers.dims, n_vocab=51868)
    starts = ("<|endoftext|>", "<|startoftranscript|>", "<|de|>", "newword")
    added = [{"id": 50257 + i, "content": text, "special": text[0] == "<"} for i, text in enumerate(starts)]
    tokenizer = {"model": {"vocab": token_texts(table.tokens)}, "added_tokens": added}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    files = ModelFiles("ggml", (tmp_path / "ggml.bin",), {"tokenizer.json": tmp_path / "tokenizer.json"})
    read = vocabulary_of_table(table, files, dims, ("tokenizer.json",))
    assert (read.words, read.special_tokens["<|de|>"]) == ({"newword": 50260}, 50259)
    assert vocabulary_of_table(table, files, replace(dims, n_vocab=51865), ("tokenizer.json",)) is table
    with pytest.raises(CheckpointError, match=r"51868 embeddings.*put the model's tokenizer\.json beside it"):
        vocabulary_of_table(table, replace(files, companions={}), dims, ("tokenizer.json",))
    with pytest.raises(CheckpointError, match=r"its tokens of text are not those of tokenizer\.json"):
        vocabulary_of_table(published["english"], files, dims, ("tokenizer.json",))


def test_an_added_token_that_is_an_ordinary_one_is_named(folder, writers):
    added = {"id": 262, "content": "a", "special": False}
    edit(folder / "tokenizer.json", lambda content: content["added_tokens"].append(added))
    with pytest.raises(CheckpointError, match=r"'a' has two ids: expected 97, .* found 262 among"):
        read_tokenizer_json(folder / "tokenizer.json", 300)


# ---------------------------------------------------------------- words that were added


def test_added_words_in_every_kind_of_file(folder, writers, tmp_path):
    added = {"id": 262, "content": "newword", "special": False}
    pad = {"id": 263, "content": "[PAD]", "special": True}
    edit(folder / "tokenizer.json", lambda content: content["added_tokens"].extend([added, pad]))
    vocabulary = read_tokenizer_json(folder / "tokenizer.json", 300)
    assert (vocabulary.special_tokens, vocabulary.words) == (writers.specials | {"[PAD]": 263}, {"newword": 262})
    edit(folder / "added_tokens.json", lambda content: content.update(newword=262))
    vocabulary = read_vocab_json(folder / "vocab.json", folder / "added_tokens.json", 300)
    assert (vocabulary.special_tokens, vocabulary.words) == (writers.specials, {"newword": 262})
    texts = list(json.loads((folder / "vocab.json").read_text()))
    listed = [*texts, *writers.specials, "<|0.00|>", "newword", "<|0.00|>"]
    (tmp_path / "vocabulary.json").write_text(json.dumps(listed))
    vocabulary = read_vocabulary_list(tmp_path / "vocabulary.json", 300)
    assert vocabulary.special_tokens == writers.specials | {"<|0.00|>": 262}
    assert vocabulary.words == {"newword": 263}


def test_added_words_are_kept_in_our_own_format(folder, tmp_path):
    added = {"id": 262, "content": "newword", "special": False}
    edit(folder / "tokenizer.json", lambda content: content["added_tokens"].append(added))
    edit(folder / "generation_config.json", lambda content: content.update(is_multilingual=False))
    read = read_checkpoint(folder)
    own = tmp_path / "own.safetensors"
    write_own_format(own, OwnModel(read.dims, read.tensors, read.vocabulary, read.alignment_heads, None))
    again = read_own_format(own)
    assert again.vocabulary == read.vocabulary
    assert (again.vocabulary.words, again.vocabulary.multilingual) == ({"newword": 262}, False)
    assert all(np.array_equal(again.tensors[name], read.tensors[name]) for name in read.tensors)
