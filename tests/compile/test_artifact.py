"""Artifacts on disk: named by what they depend on, and trusted only when whole."""

from __future__ import annotations

import errno
import lzma
import os
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.compile import renewal
from whisper_max.compile.artifact import MAGIC, SHIPPED, artifact_key, graphs_for, read_artifact, write_artifact
from whisper_max.compile.shipped import SHIPPED_CPUS, SHIPPED_STORAGE, listed_graphs, shipped_keys
from whisper_max.compile.speakers import NAME as SPEAKERS
from whisper_max.compile.speakers import build_digest
from whisper_max.compile.speakers import file_name as speakers_file_name
from whisper_max.errors import ArtifactError
from whisper_max.model.digest import Graphs, list_graphs, listed

KEY = artifact_key(MODELS["base"].dims, DType.float32, DType.float16, "cpu:x86-64-v3")


@pytest.mark.parametrize("key", shipped_keys(), ids=lambda key: key.file_name.rpartition("-")[0])
def test_the_shipped_artifact_is_up_to_date(key):
    path = SHIPPED / key.file_name
    assert path.exists(), "the graphs or MAX changed; run scripts/build/build_artifacts.py"
    read_artifact(path)


@pytest.mark.parametrize("graphs", dict.fromkeys(key.graphs for key in shipped_keys()), ids=lambda graphs: graphs.name)
def test_the_digest_that_is_listed_is_what_these_sources_build(graphs):
    assert graphs.digest([SHIPPED]) == graphs.build(), "graphs.json is wrong; run scripts/build/build_artifacts.py"


def test_a_published_size_of_a_cpu_is_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    list_graphs(tmp_path, {graphs.name: "0" * 64 for graphs in listed_graphs()})
    monkeypatch.setattr(Graphs, "build", None)
    for model in MODELS.values():
        for storage in SHIPPED_STORAGE:
            assert artifact_key(model.dims, DType.float32, storage, "cpu:native-x", [tmp_path]).digest == "0" * 64


def test_every_size_ships_for_every_processor():
    processors: dict[str, set[object]] = {}
    for key in shipped_keys():
        processors.setdefault(key.code, set()).add((key.dims, key.storage))
    assert set(processors) == {"cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:neoverse-n1"}
    first, *others = processors.values()
    assert first
    assert all(each == first for each in others)


def renewals():
    """The names of the files by what they are of."""
    return [renewal.file_name(dims, f"cpu:{level}") for dims in renewal.renewed_sizes() for level in SHIPPED_CPUS]


def test_nothing_stale_is_shipped():
    speakers = {speakers_file_name(f"cpu:{level}") for level in SHIPPED_CPUS}
    wanted = {key.file_name for key in shipped_keys()} | speakers | {*renewals()}
    assert {path.name for path in SHIPPED.glob("*.wmx")} == wanted


def test_a_graph_that_renews_windows_ships_for_every_processor():
    for name in renewals():
        read_artifact(SHIPPED / name)


@pytest.mark.parametrize("dims", renewal.renewed_sizes(), ids=renewal.name_of)
def test_the_digest_of_a_graph_that_renews_windows_is_listed(dims):
    listed_digest = listed(SHIPPED)[renewal.name_of(dims)]
    assert listed_digest == renewal.build_digest(dims), "graphs.json is wrong; run scripts/build/build_artifacts.py"


def test_models_of_a_size_share_the_graph_that_renews_windows():
    assert renewal.name_of(MODELS["base"].dims) == renewal.name_of(MODELS["base.en"].dims)
    assert renewal.is_renewed(MODELS["tiny"].dims)
    assert not renewal.is_renewed(MODELS["small"].dims)


def test_the_digest_of_the_speakers_networks_is_listed():
    assert listed(SHIPPED)[SPEAKERS] == build_digest(), "graphs.json is wrong; run scripts/build/build_artifacts.py"


def test_the_shipped_artifacts_are_small():
    """A third of a megabyte each, and with all sizes half of what a wheel may take."""
    sizes = [path.stat().st_size for path in SHIPPED.glob("*.wmx")]
    assert max(sizes) < 450_000
    assert sum(sizes) < 15_000_000


@pytest.mark.parametrize("size", [field.name for field in fields(KEY.dims)])
def test_every_dimension_is_part_of_the_name(size):
    other = replace(KEY.dims, **{size: getattr(KEY.dims, size) + 1})
    assert replace(KEY, dims=other).file_name != KEY.file_name


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": DType.bfloat16},
        {"storage": DType.int8},
        {"code": "cpu:generic"},
        {"max_version": "0"},
        {"digest": "0"},
    ],
)
def test_everything_else_is_part_of_the_name(change):
    assert replace(KEY, **change).file_name != KEY.file_name


@pytest.mark.parametrize("model", ["tiny", "base", "small"])
def test_english_and_multilingual_models_share_an_artifact_of_a_cpu(model):
    def key(suffix, code):
        graphs = graphs_for(MODELS[model + suffix].dims, DType.float32, DType.float32, code)
        return replace(KEY, dims=graphs.dims, storage=graphs.storage, code=code, digest=graphs.name)

    assert key("", "cpu:x86-64-v3").file_name == key(".en", "cpu:x86-64-v3").file_name
    assert key("", "gpu:sm_90a").file_name != key(".en", "gpu:sm_90a").file_name


def test_a_vocabulary_of_more_panels_needs_its_own_artifact():
    dims = [replace(KEY.dims, n_vocab=n_vocab) for n_vocab in (51841, 51872, 51873)]
    names = [artifact_key(each, DType.float32, DType.int8, "cpu:x86-64-v3").file_name for each in dims]
    assert names[0] == names[1] != names[2]


@given(st.binary(max_size=2000))
def test_what_is_written_is_read(tmp_path_factory, module):
    path = tmp_path_factory.mktemp("artifacts") / "new folder" / "a.wmx"
    write_artifact(path, module)
    assert read_artifact(path) == module
    assert os.listdir(path.parent) == ["a.wmx"]


@given(st.data())
def test_a_file_cut_or_changed_anywhere_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("artifacts") / "a.wmx"
    write_artifact(path, b"module" * 50)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError):
        read_artifact(path)


def test_a_file_of_another_kind_is_named_as_such(tmp_path):
    path = tmp_path / "a.wmx"
    path.write_bytes(lzma.compress(b"x"))
    with pytest.raises(ArtifactError, match="not a compiled artifact of whisper_max"):
        read_artifact(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"a\.wmx: can't be read: found No such file"):
        read_artifact(tmp_path / "a.wmx")


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"No space left on device.*WHISPER_MAX_CACHE"):
        write_artifact(tmp_path / "a.wmx", b"module")
    assert os.listdir(tmp_path) == []


def test_the_magic_number_comes_first(tmp_path):
    write_artifact(tmp_path / "a.wmx", b"module")
    assert (tmp_path / "a.wmx").read_bytes().startswith(MAGIC)
