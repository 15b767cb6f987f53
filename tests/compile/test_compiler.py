"""The compiling process: what it leaves, and what is said where it dies."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
from max.dtype import DType

from whisper_max.compile.compiler import compile_module
from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.hardware.processors import compiler_target

DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=16, n_audio_state=64, n_audio_head=1, n_audio_layer=1,
    n_vocab=64, n_text_ctx=16, n_text_state=64, n_text_head=1, n_text_layer=1,
)  # fmt: skip
EM_AARCH64 = 183
"""The processor in the header of an ELF file."""
DIE = 'echo "terminate called without an active exception" >&2; kill -ABRT $$'
WRITE = 'for output; do :; done; printf compiled > "$output"'  # which is the last argument


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Puts shell scripts in the child's place, one a run; returns the runs there were."""

    def put(*scripts):
        runs = tmp_path / "runs"
        runs.touch()
        cases = "\n".join(f"{number}) {script};;" for number, script in enumerate(scripts, start=1))
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho run >> {runs}\ncase $(wc -l < {runs}) in\n{cases}\nesac\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return lambda: len(runs.read_text().splitlines())

    return put


def compile_it():
    return compile_module(DIMS, DType.float32, DType.float32, "cpu:x86-64-v3")


def test_a_compiler_that_aborts_runs_once_more(child):
    runs = child(DIE, WRITE)
    assert compile_it() == b"compiled"
    assert runs() == 2


def test_code_for_x86_is_refused_at_once_on_arm(child, monkeypatch):
    runs = child(WRITE)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ArtifactError, match="v3: can't be compiled on this machine: expected x86_64, found aarch64"):
        compile_it()
    assert runs() == 0


@pytest.mark.parametrize(
    ("name", "machine", "told"),
    [
        ("neoverse-n1", "x86_64", "triple=aarch64-unknown-linux-gnu;cpu=neoverse-n1"),
        ("neoverse-n1", "aarch64", "neoverse-n1"),
        ("x86-64-v3", "x86_64", "x86-64-v3"),
    ],
)
def test_the_compiler_is_told_of_another_family(monkeypatch, name, machine, told):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert compiler_target(name) == told


def test_where_the_compiler_takes_no_float16_another_machine_is_named(child):
    child("""echo "error: The f16 data type is not supported on device 'cpu:0'" >&2; exit 1""")
    with pytest.raises(ArtifactError, match=r"f16 data type is not supported.*on an x86-64 machine"):
        compile_it()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for Arm on an x86-64 machine")
def test_code_for_arm_is_made_on_x86():
    """With float16 in the graph, which MAX refuses where it runs on Arm."""
    module = compile_module(DIMS, DType.float32, DType.int8, "cpu:neoverse-n1", only=["reorder"])
    objects = [module[at : at + 20] for at in range(len(module)) if module.startswith(b"\x7fELF", at)]
    assert objects
    assert {int.from_bytes(header[18:20], "little") for header in objects} == {EM_AARCH64}


def test_a_compiler_that_aborts_again_is_reported(child):
    runs = child(DIE, DIE, WRITE)
    with pytest.raises(ArtifactError, match=r"x86-64-v3: compiling failed: found terminate called without"):
        compile_it()
    assert runs() == 2


def test_a_compiler_that_fails_does_not_run_again(child):
    runs = child("echo 'error: no such operation' >&2; exit 1", WRITE)
    with pytest.raises(ArtifactError, match=r"compiling failed: found error: no such operation"):
        compile_it()
    assert runs() == 1


def test_a_compiler_that_writes_nothing_has_failed(child):
    child("exit 0")
    with pytest.raises(ArtifactError, match="compiling failed: found no message"):
        compile_it()


def test_each_compilation_has_a_cache_of_its_own(child):
    """A module holds whole objects of the cache, with the kernels of earlier ones: it would depend on these."""
    write = 'for output; do :; done; printf "$MODULAR_CACHE_DIR" > "$output"'
    child(write, write)
    caches = [Path(compile_it().decode()) for _ in range(2)]
    assert caches[0] != caches[1]
    assert all(cache.is_absolute() and not cache.parent.exists() for cache in caches)
