"""Where a compiled module comes from: the package, the cache, or the compiler; never from a damaged file."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from max.dtype import DType

from whisper_max.compile import store
from whisper_max.compile.artifact import artifact_key, write_artifact
from whisper_max.compile.store import find_module
from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.hardware.target import Target

DIMS = ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1)
PADDED = ModelDimensions(80, 1500, 64, 1, 1, 51872, 448, 64, 1, 1)  # a vocabulary of whole panels
CODE = "cpu:x86-64-v3"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "artifacts"


@pytest.fixture
def compiler(monkeypatch):
    """A compiler that counts its calls."""
    calls = []

    def compile_module(dims, dtype, storage, code):
        calls.append((dims, dtype, storage, code))
        return b"compiled"

    monkeypatch.setattr(store, "compile_module", compile_module)
    return calls


def find(report=lambda line: None, codes=(CODE,), bundle=None):
    target = Target(None, DType.float32, DType.float16, codes)
    return find_module(DIMS, DType.float16, target, report, bundle)


def put(folder, code=CODE, module=b"put there"):
    write_artifact(folder / artifact_key(DIMS, DType.float32, DType.float16, code).file_name, module)


def test_compiled_once_then_read_back(cache, compiler):
    lines = []
    assert [find(lines.append), find(lines.append)] == [(b"compiled", CODE), (b"compiled", CODE)]
    assert compiler == [(PADDED, DType.float32, DType.float16, CODE)]
    assert lines == ["compiling this model (1+1 blocks of width 64, float32 on float16) for cpu:x86-64-v3: "
                     "happens once, takes 1 to 3 minutes"]  # fmt: skip


def test_a_shipped_artifact_needs_no_compiler_and_no_cache(cache, compiler, tmp_path):
    put(tmp_path / "shipped")
    assert find().module == b"put there"
    assert compiler == []
    assert not cache.exists()


def test_folders_of_the_users_go_before_the_cache_and_that_before_the_package(cache, compiler, tmp_path, monkeypatch):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", os.pathsep.join(map(str, folders)))
    for folder in (tmp_path / "shipped", cache, *reversed(folders)):
        put(folder, module=str(folder).encode())
        assert find().module == str(folder).encode()
    assert compiler == []


def test_code_for_this_very_processor_goes_before_portable_code(cache, compiler, tmp_path):
    codes = ("cpu:native-x", "cpu:x86-64-v4", CODE)
    for code in reversed(codes):
        put(cache, code, code.encode())
        assert find(codes=codes) == (code.encode(), code)


def test_what_is_in_no_place_is_compiled_for_a_portable_processor(cache, compiler):
    assert find(codes=("cpu:native-x", "cpu:x86-64-v4", CODE)).code == "cpu:x86-64-v4"
    assert [call[-1] for call in compiler] == ["cpu:x86-64-v4"]


def test_a_folder_of_the_users_that_has_nothing_is_said_before_compiling(cache, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", str(tmp_path))
    lines = []
    find(lines.append)
    assert lines[0] == f"{tmp_path}: no artifact for this model, this processor and this version of whisper_max and MAX"


def test_a_folder_of_the_users_that_is_not_there(cache, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", str(tmp_path / "typo"))
    with pytest.raises(ArtifactError, match="typo: no such folder; correct WHISPER_MAX_ARTIFACTS"):
        find()


def test_a_damaged_artifact_of_the_users_is_an_error_and_stays(cache, compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", str(tmp_path))
    path = tmp_path / artifact_key(DIMS, DType.float32, DType.float16, CODE).file_name
    path.write_bytes(b"WMAXART1 and no more")
    with pytest.raises(ArtifactError, match="the compiled artifact is damaged"):
        find()
    assert path.exists()


def test_a_bundle_is_the_only_place(cache, compiler, tmp_path):
    put(cache)
    put(tmp_path / "shipped")
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ArtifactError, match="bundle: no compiled graphs for this model and processor"):
        find(bundle=tmp_path / "bundle")
    put(tmp_path / "bundle", module=b"the bundle's")
    assert find(bundle=tmp_path / "bundle").module == b"the bundle's"
    assert compiler == []


def test_without_a_compiler(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("max.__path__", [str(tmp_path / "site" / "max")])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "site" / "modular" / "bin").mkdir(parents=True)
    (tmp_path / "site" / "modular" / "bin" / "mojo").touch()
    with pytest.raises(ArtifactError, match=r"no compiler is installed.*whisper_max export"):
        find()


@pytest.mark.parametrize("content", [b"", b"WMAXART1", b"WMAXART1" + bytes(200), b"not an artifact at all"])
def test_a_torn_artifact_is_rebuilt(cache, compiler, content):
    path = cache / artifact_key(DIMS, DType.float32, DType.float16, CODE).file_name
    cache.mkdir()
    path.write_bytes(content)
    lines = []
    assert find(lines.append).module == b"compiled"
    assert lines[0].endswith("; removing it")
    assert find().module == b"compiled"
    assert len(compiler) == 1


def test_a_failed_compilation_is_reported_and_nothing_is_kept(cache, monkeypatch):
    def failing(dims, dtype, storage, code):
        raise ArtifactError("compiling failed", where=code, found="no luck")

    monkeypatch.setattr(store, "compile_module", failing)
    with pytest.raises(ArtifactError, match="no luck"):
        find()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("folder", ["file", "~nobody-of-this-name/cache"])
def test_without_a_cache_it_is_compiled_each_time_and_says_so(compiler, tmp_path, monkeypatch, folder):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHISPER_MAX_CACHE", folder)
    for count in (1, 2):
        lines = []
        assert find(lines.append).module == b"compiled"
        assert [line for line in lines if "can't be kept" in line] == lines[1:]
        assert len(lines) == 2
        assert len(compiler) == count
    assert os.listdir(tmp_path) == ["file"]


def test_a_damaged_artifact_in_a_cache_that_can_not_be_written(cache, compiler, monkeypatch):
    put(cache)
    (path,) = cache.iterdir()
    path.write_bytes(b"damaged")

    def refusing(real):
        def refuse(path, *args, **options):
            if path.is_relative_to(cache.parent):
                raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))
            return real(path, *args, **options)

        return refuse

    for name in ("unlink", "mkdir", "open"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    assert find().module == b"compiled"


def test_a_file_system_without_locks(cache, compiler, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert find().module == b"compiled"
    assert find().module == b"compiled"
    assert len(compiler) == 1


def test_of_two_at_once_one_compiles_and_the_other_waits(cache, monkeypatch):
    calls, started, release = [], threading.Event(), threading.Event()

    def slow(dims, dtype, storage, code):
        calls.append(code)
        started.set()
        release.wait(600)
        return b"compiled"

    monkeypatch.setattr(store, "compile_module", slow)
    results, lines = [], []
    first = threading.Thread(target=lambda: results.append(find()))
    first.start()
    started.wait(600)

    def report(line):
        lines.append(line)
        release.set()

    results.append(find(report))
    first.join()
    assert results == [(b"compiled", CODE)] * 2
    assert calls == [CODE]
    assert lines == ["another process is compiling this model; waiting for it"]


def test_waiting_is_reported(cache, monkeypatch):
    monkeypatch.setattr(store, "_REPORT_EVERY", 0.01)
    reported = threading.Event()

    def slow(dims, dtype, storage, code):
        assert reported.wait(600)
        return b"compiled"

    monkeypatch.setattr(store, "compile_module", slow)
    find(lambda line: line.startswith("still compiling") and reported.set())


def test_a_compiler_that_fails_says_why(tmp_path):
    arguments = ["{}", CODE, "--output", str(tmp_path / "o.mef")]
    result = subprocess.run(
        [sys.executable, "-m", "whisper_max.compile.compiler", *arguments],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert result.returncode != 0
    assert "ModelDimensions" in result.stderr
