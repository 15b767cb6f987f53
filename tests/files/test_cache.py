"""Where the cache folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

import whisper_max
from whisper_max.checkpoint.hub import cached_files
from whisper_max.files.cache import cache_dir, why_unwritable
from whisper_max.measure.doctor import report

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WHISPER_MAX_CACHE": "/w", "XDG_CACHE_HOME": "/x", "HOME": "/u"}, "/w"),
        ({"WHISPER_MAX_CACHE": "~/w", "HOME": "/u"}, "/u/w"),
        ({"WHISPER_MAX_CACHE": "", "XDG_CACHE_HOME": "/x", "HOME": "/u"}, "/x/whisper_max"),
        ({"WHISPER_MAX_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/u"}, "/u/.cache/whisper_max"),
    ],
)
def test_the_cache_folder(variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)


def test_without_a_home_folder_there_is_none(no_home, monkeypatch):
    assert not cache_dir().exists()
    with pytest.raises(OSError, match="Not a directory"):
        cache_dir().mkdir(parents=True)
    assert why_unwritable() == "this user has no home folder"
    monkeypatch.setenv("WHISPER_MAX_CACHE", "~somebody/cache")
    assert why_unwritable() == "this user has no home folder"


def test_why_nothing_can_be_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "not" / "made" / "yet"))
    assert why_unwritable() is None
    (tmp_path / "not").write_bytes(b"")
    assert why_unwritable() == f"{tmp_path}/not: Not a directory"
    (tmp_path / "not").unlink()
    monkeypatch.setattr("os.access", lambda *_: False)  # a file system for reading only
    assert why_unwritable() == f"{tmp_path} can't be written"


def test_loading_goes_on_without_and_says_so_once(no_home, monkeypatch):
    lines: list[str] = []
    text = whisper_max.load_model("tiny.en", device="cpu", progress=lines.append).transcribe(SAMPLE).text
    assert "ask not what your country can do for you" in text
    (line,) = lines
    assert line.startswith("no cache (this user has no home folder): ")


def test_the_hub_has_nothing_and_takes_nothing_without_a_home(no_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cached_files("owner/name") is None
    assert [check.name for check in report()]  # doctor
    assert list(tmp_path.iterdir()) == []
