"""Int8 weights that are kept in the cache as the graphs read them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from whisper_max.engine import kept_weights as module
from whisper_max.engine.kept_weights import Weights, kept_weights

MADE: Weights = {
    "a.weight": np.arange(-100, 100, dtype=np.int8).reshape(5, 10, 4),
    "a.scale": np.linspace(0, 1, 1500, dtype=np.float32),
    "a.offset": np.arange(3, dtype=np.int32),
}


def not_made() -> Weights:
    raise AssertionError("made again")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    return tmp_path / "weights"


def keep(content: str = "some", make: Callable[[], Weights] = lambda: MADE) -> tuple[Weights, list[str]]:
    """The weights and what was reported, once all is written."""
    lines: list[str] = []
    found = kept_weights(content, lines.append, make)
    for thread in threading.enumerate():
        if thread.name == "keep weights":
            thread.join()
    return found, lines


def assert_equal(found: Weights) -> None:
    assert found.keys() == MADE.keys()
    for name, array in MADE.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_they_are_made_once_and_mapped_from_then_on(folder):
    found, lines = keep()
    assert found is MADE
    assert lines == [f"keeping the int8 weights for the next time: {next(folder.iterdir())} (0 MiB)"]
    found, lines = keep(make=not_made)
    assert_equal(found)
    assert lines == []
    assert all(array.ctypes.data % 64 == 0 for array in found.values())


def test_what_is_mapped_may_be_written_and_stays_on_the_disk_as_it_was(folder):
    keep()
    found, _ = keep(make=not_made)
    found["a.weight"][:] = 1
    assert_equal(keep(make=not_made)[0])


def test_they_are_made_again_of_other_contents(folder):
    keep()
    with pytest.raises(AssertionError, match="made again"):
        keep("other", not_made)


def test_other_code_makes_them_again_and_leaves_no_file_of_the_old(folder, monkeypatch):
    keep()
    keep("other")
    monkeypatch.setattr(module, "_code", lambda: "new")
    with pytest.raises(AssertionError, match="made again"):
        keep(make=not_made)
    keep()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("cut", [0, 7, 30, 4096, -1])
def test_a_file_that_is_cut_is_made_again(folder, cut):
    keep()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    assert keep()[0] is MADE
    assert path.read_bytes() == whole


def test_where_it_cannot_be_kept_it_is_made_each_time(folder, monkeypatch):
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("no folder")
    assert keep() == (MADE, [])
    folder.unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert keep() == (MADE, [])
    assert list(folder.iterdir()) == []
