"""What stands beside the weights: the vocabulary, alignment heads and ids that other files state, which must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from whisper_max.checkpoint.files import SAFETENSORS, ModelFiles
from whisper_max.checkpoint.heads import Heads, possible_heads
from whisper_max.checkpoint.kept_vocabulary import kept_vocabulary
from whisper_max.checkpoint.published import MODELS
from whisper_max.checkpoint.shipped import shipped_vocabulary
from whisper_max.checkpoint.vocabulary import (
    Vocabulary,
    read_json,
    read_tokenizer_json,
    read_vocab_json,
    read_vocabulary_list,
)
from whisper_max.dims import ModelDimensions, dims_from_huggingface
from whisper_max.errors import CheckpointError, brief

HUGGINGFACE_TOKENIZERS = ("tokenizer.json", "vocab.json")
CTRANSLATE2_TOKENIZERS = ("tokenizer.json", "vocabulary.json", "vocabulary.txt", "vocab.json")
_PUBLISHED_ROWS = {50256: (51864,), 50257: (51865, 51866)}
"""Tokens of text of the published vocabularies, and how many embeddings models of theirs have."""
_STATED = {
    "eos_token_id": "<|endoftext|>",
    "decoder_start_token_id": "<|startoftranscript|>",
    "no_timestamps_token_id": "<|notimestamps|>",
}


def vocabulary_beside(files: ModelFiles, dims: ModelDimensions, tokenizers: tuple[str, ...]) -> Vocabulary:
    """The vocabulary of the first of these files that is there, else the published one that fits.

    Raises:
        CheckpointError: unreadable, or two files state different ids.
    """
    there = [name for name in tokenizers if name in files.companions]
    if not there:
        vocabulary = shipped_vocabulary(dims.n_vocab, files.source)
    else:
        paths = [files.companions[name] for name in (*there, "added_tokens.json") if name in files.companions]
        read = partial(_read_all, files.companions, there, dims.n_vocab)
        vocabulary = kept_vocabulary(paths, dims.n_vocab, read)
    check_published_size(vocabulary, dims, files.source)
    return _with_configs(vocabulary, files.companions)


def check_small_files(companions: Mapping[str, Path]) -> None:
    """Refuse a Hugging Face model that can't be used, by the files that are there before its weights.

    Raises:
        CheckpointError: not a Whisper model, quantised in a way that can't be read, or a tokenizer that can't.
    """
    path = companions.get("config.json")
    if path is not None and "model_type" in (config := read_json(path)):
        dims = huggingface_dims(config, path)
        vocabulary_beside(ModelFiles(SAFETENSORS, (path,), companions), dims, HUGGINGFACE_TOKENIZERS)


def huggingface_dims(config: Mapping[str, object], path: Path) -> ModelDimensions:
    """The dims of a Hugging Face config.

    Raises:
        CheckpointError: as ``dims_from_huggingface``; weights that are quantised by a library of PyTorch.
    """
    quantised = config.get("quantization_config")
    if quantised is not None:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise CheckpointError(
            f"quantised for PyTorch ({brief(method)})", where=path, hint="take the model that it was made from"
        )
    return dims_from_huggingface(config, path)


def vocabulary_of_table(
    vocabulary: Vocabulary, files: ModelFiles, dims: ModelDimensions, tokenizers: tuple[str, ...]
) -> Vocabulary:
    """The vocabulary of a file that holds a table of texts; where that leaves rows open, as a tokenizer beside it says.

    Raises:
        CheckpointError: rows are left open, and there is no tokenizer, or one of other texts.
    """
    beside = next((files.companions[name] for name in tokenizers if name in files.companions), None)
    if beside is None or _leaves_open(vocabulary, dims) is None:
        check_published_size(vocabulary, dims, files.source)
        return vocabulary
    stated = vocabulary_beside(files, dims, tokenizers)
    if stated.tokens != vocabulary.tokens:
        raise CheckpointError(
            f"its tokens of text are not those of {beside.name}", where=files.source, hint="put the model's there"
        )
    return stated


def check_published_size(vocabulary: Vocabulary, dims: ModelDimensions, where: object) -> None:
    """Refuse to guess where the number of embeddings alone would have to tell an added token from a language.

    Raises:
        CheckpointError: no special tokens are stated, and the rows are not those of a published model.
    """
    what = _leaves_open(vocabulary, dims)
    if what is not None:
        raise CheckpointError(what, where=where, hint="put the model's tokenizer.json beside it")


def _leaves_open(vocabulary: Vocabulary, dims: ModelDimensions) -> str | None:
    """What a vocabulary of published texts, without special tokens, does not tell of a model; None if it tells all."""
    rows = _PUBLISHED_ROWS.get(len(vocabulary.tokens))
    if rows is None or "<|startoftranscript|>" in vocabulary.special_tokens:
        return None
    if dims.n_vocab not in rows:
        published = " or ".join(map(str, rows))
        return f"the model has {dims.n_vocab} embeddings, not {published}, and which tokens they are is not stated"
    if dims.n_vocab == 51866 and dims.n_mels == 80:
        return "whether row 51865 is a language or an added token is not stated"
    return None


def alignment_heads_beside(files: ModelFiles, dims: ModelDimensions) -> tuple[Heads | None, int]:
    """The alignment heads that a config states, else those published for this model, and how many it has not.

    None where no head is known.
    """
    for config in ("generation_config.json", "config.json"):
        if config not in files.companions:
            continue
        stated = read_json(files.companions[config]).get("alignment_heads")
        if stated is not None:
            heads, n_impossible = possible_heads(stated, dims)
            return heads or None, n_impossible
    published = MODELS.get(files.name or "")
    return (published.alignment_heads if published is not None and published.dims == dims else None), 0


def _read_all(companions: Mapping[str, Path], names: Sequence[str], n_vocab: int) -> Vocabulary:
    """The vocabulary of the first of these files; the others must agree with it."""
    vocabulary = _read(companions, names[0], n_vocab)
    for name in names[1:]:
        _check_agree(vocabulary, companions[names[0]], _read(companions, name, n_vocab), name)
    return vocabulary


def _read(companions: Mapping[str, Path], name: str, n_vocab: int) -> Vocabulary:
    path = companions[name]
    if name == "tokenizer.json":
        return read_tokenizer_json(path, n_vocab)
    if name == "vocab.json":
        return read_vocab_json(path, companions.get("added_tokens.json"), n_vocab)
    return read_vocabulary_list(path, n_vocab)


def _check_agree(vocabulary: Vocabulary, where: Path, other: Vocabulary, name: str) -> None:
    """Refuse two files that give a token two ids, or an id two tokens."""
    ours, theirs = ({**each.special_tokens, **each.words} for each in (vocabulary, other))
    for token in sorted(ours.keys() & theirs.keys()):
        if ours[token] != theirs[token]:
            raise _disagreement(where, token, ours[token], name, theirs[token])
    if vocabulary.tokens != other.tokens:
        raise CheckpointError(f"its tokens of text are not those of {name}", where=where, hint="keep the right one")


def _with_configs(vocabulary: Vocabulary, companions: Mapping[str, Path]) -> Vocabulary:
    """The vocabulary, once the configs are known to agree with it, multilingual and with languages as they say."""
    for config in ("generation_config.json", "config.json"):
        if config not in companions:
            continue
        content, path = read_json(companions[config]), companions[config]
        for name, token in _stated_ids(content):
            known = vocabulary.special_tokens.get(name, token)
            if known != token:
                raise _disagreement(path, name, token, "the tokenizer", known)
        multilingual = content.get("is_multilingual")
        if isinstance(multilingual, bool):
            vocabulary = replace(vocabulary, multilingual=multilingual)
        vocabulary = replace(vocabulary, languages=vocabulary.languages or _stated_languages(content, vocabulary))
    return vocabulary


def _stated_languages(config: Mapping[str, object], vocabulary: Vocabulary) -> tuple[str, ...]:
    """The tokens of languages, by name in a Hugging Face config, by id in CTranslate2's; those that there are."""
    tokens = vocabulary.special_tokens | vocabulary.words
    by_name, by_id = config.get("lang_to_id"), config.get("lang_ids")
    names = set(by_name) if isinstance(by_name, dict) else set()
    ids = {each for each in by_id if type(each) is int} if isinstance(by_id, list) else set()
    return tuple(name for name, token in tokens.items() if name in names or token in ids)


def _stated_ids(config: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """The tokens of text that a Hugging Face config gives ids."""
    for key, name in _STATED.items():
        if type(token := config.get(key)) is int:
            yield name, token
    for key in ("lang_to_id", "task_to_id"):
        table = config.get(key)
        for name, token in table.items() if isinstance(table, dict) else ():
            if type(token) is int:
                yield (name if key == "lang_to_id" else f"<|{name}|>"), token


def _disagreement(where: Path, token: str, ours: object, other: str, theirs: object) -> CheckpointError:
    return CheckpointError(
        f"{token[:80]} has the id {brief(ours)} here and {brief(theirs)} in {other}",
        where=where,
        hint="one of the two is of another model: put the right one there, or take the wrong one away",
    )
