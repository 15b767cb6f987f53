"""Vocabularies that are kept in the cache as they were read."""

from __future__ import annotations

from pathlib import Path

import pytest

from whisper_max.checkpoint.kept_vocabulary import kept_vocabulary
from whisper_max.checkpoint.vocabulary import Tokens, Vocabulary
from whisper_max.errors import CheckpointError

READ = Vocabulary(Tokens.of([b"a", b"\xff\0", b"b" * 255]), {"<|endoftext|>": 3}, {"Ä\n": 4})


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / "tokenizer.json", tmp_path / "vocabulary.txt"]
    for path in paths:
        path.write_text(path.name)
    return paths


def not_read() -> Vocabulary:
    raise AssertionError("read again")


def test_it_is_read_once(files):
    assert kept_vocabulary(files, 5, lambda: READ) == READ
    assert kept_vocabulary(files, 5, not_read) == READ


def test_it_is_read_again_where_anything_else_was_read(files):
    kept_vocabulary(files, 5, lambda: READ)
    for paths, n_vocab in ((files, 6), (files[:1], 5), (files[::-1], 5)):
        with pytest.raises(AssertionError, match="read again"):
            kept_vocabulary(paths, n_vocab, not_read)
    files[1].write_text("changed")
    with pytest.raises(AssertionError, match="read again"):
        kept_vocabulary(files, 5, not_read)


@pytest.mark.parametrize("damage", [lambda packed: b"", lambda packed: packed[:-1], lambda packed: packed[:-1] + b"\0"])
def test_what_is_damaged_is_read_and_kept_again(files, tmp_path, damage):
    kept_vocabulary(files, 5, lambda: READ)
    (kept,) = (tmp_path / "cache" / "vocabularies").iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert kept_vocabulary(files, 5, lambda: READ) == READ
    assert kept_vocabulary(files, 5, not_read) == READ


def test_what_does_not_fit_is_not_kept(files, tmp_path):
    long = Vocabulary(Tokens.of([b"a" * 256]), {})
    assert kept_vocabulary(files, 5, lambda: long) == long
    assert not (tmp_path / "cache").exists()


def test_an_error_is_not_kept(files, tmp_path):
    def fail() -> Vocabulary:
        raise CheckpointError("not JSON")

    for _ in range(2):
        with pytest.raises(CheckpointError, match="not JSON"):
            kept_vocabulary(files, 5, fail)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_time_only(files, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert kept_vocabulary(files, 5, lambda: READ) == READ
    assert kept_vocabulary([tmp_path / "missing"], 5, lambda: READ) == READ
