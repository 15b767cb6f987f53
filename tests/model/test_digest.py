"""The digest of what is compiled: what changes it, for which target, and that it is built once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from max.dtype import DType

import whisper_max
from whisper_max.dims import ModelDimensions
from whisper_max.model import digest
from whisper_max.model.digest import LIST, Graphs, list_graphs, remembered
from whisper_max.model.source import ROOM

DIMS = ModelDimensions(
    n_mels=8, n_audio_ctx=16, n_audio_state=64, n_audio_head=1, n_audio_layer=1,
    n_vocab=64, n_text_ctx=16, n_text_state=64, n_text_head=1, n_text_layer=1,
)  # fmt: skip
GRAPHS = Graphs(DIMS, DType.float32, DType.int8, "cpu")

# ---------------------------------------------------------------- what changes it

MEASURE = """
import json
from max.dtype import DType
from whisper_max.dims import ModelDimensions
from whisper_max.model.digest import Graphs
from whisper_max.hardware import gpu_record
gpu_record.CHECKED_SIZES, gpu_record.CHECKED_DTYPES = ("tiny",), (DType.bfloat16,)
dims = ModelDimensions(8, 16, 64, 1, 1, 64, 16, 64, 1, 1)
print(json.dumps({
    "cpu float16": Graphs(dims, DType.float32, DType.float16, "cpu").build(),
    "cpu int8": Graphs(dims, DType.float32, DType.int8, "cpu").build(),
    "gpu": Graphs(dims, DType.bfloat16, DType.bfloat16, "gpu").build(),
    "gpu fast": Graphs(dims, DType.bfloat16, DType.bfloat16, "gpu", True).build(),
    "record": gpu_record.record_path("sm_90a").name,
}))
"""
CPU, GPU = {"cpu float16", "cpu int8"}, {"gpu", "gpu fast", "record"}


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """What is no longer the same after edits of the graph room, each (file, old text, new text)."""

    def measure(*edits, everywhere=lambda text: text) -> dict[str, str]:
        root = tmp_path_factory.mktemp("edited")
        ignored = shutil.ignore_patterns("__pycache__", "artifacts", "web", "data")
        shutil.copytree(Path(whisper_max.__file__).parent, root / "whisper_max", ignore=ignored)
        room = root / "whisper_max" / ROOM.name
        for path in (*room.rglob("*.py"), *room.rglob("*.mojo")):
            path.write_text(everywhere(path.read_text()))
        for name, old, new in edits:
            text = (room / name).read_text()
            assert text.count(old) == 1, (name, old)
            (room / name).write_text(text.replace(old, new))
        found = subprocess.run(
            [sys.executable, "-c", MEASURE],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "WHISPER_MAX_CACHE": str(root / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    before = measure()

    def changed(*edits, **options) -> set[str]:
        after = measure(*edits, **options)
        return {name for name in before if before[name] != after[name]}

    return changed


def other_words(text: str) -> str:
    """The file with every docstring replaced, and a comment and an empty line before every definition."""
    text = re.sub(r'^( *)"""[^"]*"""$', r'\1"""Other words,\n\n\1and more of them."""', text, flags=re.MULTILINE)
    return re.sub(r"^( *)(def|struct|class|@)", r"\n\1# A remark.\n\1\2", text, flags=re.MULTILINE)


def test_docstrings_and_comments_of_every_file_change_nothing(changed):
    texts = [path.read_text() for path in (*ROOM.rglob("*.py"), *ROOM.rglob("*.mojo")) if path.stat().st_size]
    assert [text for text in texts if other_words(text) == text] == []
    assert changed(everywhere=other_words) == set()


def test_edits_of_what_only_a_gpu_runs_leave_every_artifact_of_a_cpu_valid(changed):
    edits = [
        ("gpu/fast.py", "SPLITS = 8", "SPLITS = 4"),
        ("gpu/choose.py", "CHUNK = 256", "CHUNK = 128"),
        ("kernels/token_block.mojo", "comptime KEYS = 8", "comptime KEYS = 4"),
        ("gpu/stock.py", "residual + y", "y + residual"),
        ("gpu/decode_attention.py", "ops.greater(slots.reshape((1, 1, 1, capacity)), lengths)",
         "ops.greater_equal(slots.reshape((1, 1, 1, capacity)), lengths + 1)"),
    ]  # fmt: skip
    assert changed(*edits) == GPU


def test_edits_of_what_only_a_cpu_runs_leave_a_gpus_record_valid(changed):
    edits = [
        ("kernels/linear.mojo", "comptime WIDEN_FROM_ROWS = 32", "comptime WIDEN_FROM_ROWS = 16"),
        ("kernels/int8_attention.mojo", "from std.math import ceildiv", "from std.math import abs, ceildiv"),
        ("panels.py", "PANEL = 32", "PANEL = 64"),
        ("layers.py", "values.insert(1, rows_of(residual))", "values.insert(1, rows_of(residual + 0))"),
    ]  # fmt: skip
    assert changed(*edits) == CPU


def test_a_constant_of_a_kernel(changed):
    edit = ("kernels/int8_attention.mojo", "comptime KEY_BLOCK = 128", "comptime KEY_BLOCK = 256")
    assert changed(edit) == {"cpu int8"}


def test_a_swapped_operand_of_a_graph(changed):
    assert changed(("encoder.py", "n_state, n_state, residual=x", "n_state, n_state, residual=attended")) == CPU | GPU


def test_every_value_of_graphs_is_part_of_their_name():
    others = [
        Graphs(DIMS, DType.bfloat16, DType.int8, "cpu"),
        Graphs(DIMS, DType.float32, DType.float16, "cpu"),
        Graphs(DIMS, DType.float32, DType.int8, "gpu"),
        Graphs(DIMS, DType.float32, DType.int8, "gpu", True),
    ]
    assert len({GRAPHS.name, *(graphs.name for graphs in others)}) == 5
    assert GRAPHS.name == "8x16x64x1x1x64x16x64x1x1-float32-int8-cpu"


# ---------------------------------------------------------------- built once


@pytest.fixture
def builds(tmp_path, monkeypatch):
    """The graphs that were built, in order; each one's digest is 64 times "a"."""
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    built = []

    def build(graphs):
        built.append(graphs)
        return "a" * 64

    monkeypatch.setattr(Graphs, "build", build)
    return built


def test_a_digest_is_built_once_and_remembered(builds):
    assert [GRAPHS.digest(), GRAPHS.digest()] == ["a" * 64] * 2
    assert builds == [GRAPHS]


@pytest.mark.parametrize("function", ["source_digest", "version"])
def test_what_is_remembered_holds_for_one_source_and_one_version_of_max(builds, monkeypatch, function):
    GRAPHS.digest()
    monkeypatch.setattr(digest, function, lambda *_: "other")
    GRAPHS.digest()
    assert builds == [GRAPHS, GRAPHS]


@pytest.mark.parametrize("content", [b"", b"a" * 63, b"\xff" * 64])
def test_a_torn_memory_counts_for_nothing(builds, tmp_path, content):
    GRAPHS.digest()
    (memory,) = (tmp_path / "cache" / "graphs").iterdir()
    memory.write_bytes(content)
    assert GRAPHS.digest() == "a" * 64
    assert len(builds) == 2
    assert memory.read_bytes() == b"a" * 64


def test_a_cache_that_can_not_be_written_costs_time_only(builds, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "file"))
    assert remembered("name", lambda: "b" * 64) == "b" * 64


def test_what_is_listed_beside_artifacts_is_not_built(builds, tmp_path):
    list_graphs(tmp_path, {GRAPHS.name: "c" * 64})
    assert GRAPHS.digest([tmp_path / "nowhere", tmp_path]) == "c" * 64
    assert builds == []
    assert not (tmp_path / "cache").exists()


def test_a_list_holds_after_prose_has_changed_and_not_after_code_or_max_have(builds, tmp_path, monkeypatch):
    list_graphs(tmp_path, {GRAPHS.name: "c" * 64})
    monkeypatch.setattr(digest, "source_digest", lambda: "other")
    assert GRAPHS.digest([tmp_path]) == "c" * 64
    with monkeypatch.context() as patch:
        patch.setattr(digest, "version", lambda name: "0")
        assert GRAPHS.digest([tmp_path]) == "a" * 64
    monkeypatch.setattr(digest, "code_digest", lambda: "other")
    assert GRAPHS.digest([tmp_path]) == "a" * 64


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"graphs": []}', "\udcff"])
def test_a_damaged_list_counts_for_nothing(builds, tmp_path, content):
    (tmp_path / LIST).write_text(content, errors="surrogateescape")
    assert GRAPHS.digest([tmp_path]) == "a" * 64


def test_a_list_grows_and_forgets_what_is_of_other_code(tmp_path, monkeypatch):
    list_graphs(tmp_path, {"one": "1"})
    list_graphs(tmp_path, {"two": "2"})
    assert json.loads((tmp_path / LIST).read_text())["graphs"] == {"one": "1", "two": "2"}
    monkeypatch.setattr(digest, "source_digest", lambda: "other")
    monkeypatch.setattr(digest, "code_digest", lambda: "other")
    list_graphs(tmp_path, {"three": "3"})
    assert json.loads((tmp_path / LIST).read_text())["graphs"] == {"three": "3"}
