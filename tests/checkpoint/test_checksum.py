"""Checksums are checked, remembered, and never remembered for a changed file."""

from __future__ import annotations

import hashlib
import os

import pytest

from whisper_max.checkpoint import checksum
from whisper_max.checkpoint.checksum import sha256_of, verify
from whisper_max.errors import CheckpointError
from whisper_max.files.cache import cache_dir


@pytest.fixture
def parts(tmp_path):
    paths = [tmp_path / "model.part1", tmp_path / "model.part2"]
    for path, content in zip(paths, (b"one ", b"two"), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def computed(monkeypatch) -> list[object]:
    """The files whose digest was computed, not remembered."""
    calls: list[object] = []
    compute = checksum._compute
    monkeypatch.setattr(checksum, "_compute", lambda paths: (calls.append(paths), compute(paths))[1])
    return calls


def test_parts_are_hashed_as_one_file(parts):
    assert sha256_of(parts) == hashlib.sha256(b"one two").hexdigest()
    verify(parts, hashlib.sha256(b"one two").hexdigest())


def test_a_digest_is_remembered(parts, computed):
    assert sha256_of(parts) == sha256_of(parts)
    assert len(computed) == 1


def test_a_changed_file_is_hashed_again(parts, computed):
    first = sha256_of(parts)
    parts[1].write_bytes(b"2wo")  # the same size
    os.utime(parts[1], ns=(1, 1))
    assert sha256_of(parts) == hashlib.sha256(b"one 2wo").hexdigest() != first
    assert len(computed) == 2


def test_a_replaced_file_is_hashed_again(parts, computed):
    stat = parts[0].stat()
    sha256_of(parts)
    other = parts[0].with_name("other")
    other.write_bytes(b"ONE ")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(parts[0])
    assert sha256_of(parts) == hashlib.sha256(b"ONE two").hexdigest()
    assert len(computed) == 2


def test_a_torn_memory_is_not_trusted(parts, computed):
    expected = sha256_of(parts)
    (memory,) = (cache_dir() / "checksums").iterdir()
    memory.write_text(expected[:-1])
    assert sha256_of(parts) == expected
    assert len(computed) == 2


def test_a_cache_that_can_not_be_written_costs_only_time(parts, computed, monkeypatch, tmp_path):
    (tmp_path / "a-file").write_bytes(b"")
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "a-file"))
    assert sha256_of(parts) == sha256_of(parts)
    assert len(computed) == 2


@pytest.mark.parametrize("damage", [b"\xff" * 64, b"A" * 64, b"0" * 65, b"\xd9\xa0" * 32])
def test_a_damaged_memory_is_replaced(parts, computed, damage):
    expected = sha256_of(parts)
    (memory,) = (cache_dir() / "checksums").iterdir()
    memory.write_bytes(damage)
    assert [sha256_of(parts), sha256_of(parts)] == [expected, expected]
    assert len(computed) == 2


def test_a_memory_of_another_digest_accuses_nobody(parts, computed):
    expected = sha256_of(parts)
    (memory,) = (cache_dir() / "checksums").iterdir()
    memory.write_text("0" * 64)
    verify(parts, expected)
    assert sha256_of(parts) == expected
    assert len(computed) == 2


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink("/proc/self/mem", path), os.mkfifo])
def test_a_memory_that_can_not_be_read_is_not_the_weights_fault(parts, computed, make):
    expected = sha256_of(parts)
    (memory,) = (cache_dir() / "checksums").iterdir()
    memory.unlink()
    make(memory)
    assert sha256_of(parts) == expected


def test_without_a_home_folder_it_is_computed(parts, computed, no_home):
    assert sha256_of(parts) == sha256_of(parts) == hashlib.sha256(b"one two").hexdigest()
    assert len(computed) == 2


def test_a_mismatch_is_an_error_and_forgotten(parts, computed):
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            verify(parts, "0" * 64, "fetch it again")
    found = hashlib.sha256(b"one two").hexdigest()
    assert str(caught.value) == (
        f"{parts[0]}: the file is damaged or not what its name says: expected sha256 {'0' * 64}, found {found}; "
        "fetch it again"
    )
    assert len(computed) == 2


def test_a_file_that_is_gone(parts):
    parts[1].unlink()
    with pytest.raises(CheckpointError, match="can't be read"):
        sha256_of(parts)
