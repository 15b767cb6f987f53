"""Artifacts made on purpose: side by side, each listed."""

from __future__ import annotations

import json
from threading import Barrier

import pytest
from max.dtype import DType

from tests.support.patient import SECONDS
from whisper_max.compile import build
from whisper_max.compile.artifact import ArtifactKey, read_artifact
from whisper_max.compile.build import MANIFEST, Build, compile_into
from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError

DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=16, n_audio_state=64, n_audio_head=1, n_audio_layer=1,
    n_vocab=64, n_text_ctx=16, n_text_state=64, n_text_head=1, n_text_layer=1,
)  # fmt: skip


def wanted(*codes):
    return [Build(code, ArtifactKey(DIMS, DType.float32, DType.float32, code, "26.7", "0" * 64)) for code in codes]


def test_as_many_are_compiled_side_by_side_as_asked_for(tmp_path, monkeypatch):
    together = Barrier(2, timeout=SECONDS)

    def compile_artifact(key, report):
        together.wait()
        return key.code.encode()

    monkeypatch.setattr(build, "compile_artifact", compile_artifact)
    codes = ["gpu:sm_80", "gpu:sm_89", "gpu:sm_90a", "gpu:sm_90a:fast"]
    paths = compile_into(tmp_path, wanted(*codes), lambda line: None, n_jobs=2)
    assert [read_artifact(path).decode() for path in paths] == codes
    listed = json.loads((tmp_path / MANIFEST).read_text())
    assert sorted(listed) == sorted(path.name for path in paths)


def test_one_that_fails_is_an_error_and_those_before_it_stay(tmp_path, monkeypatch):
    def compile_artifact(key, report):
        if key.code == "gpu:sm_89":
            raise ArtifactError("compiling failed", where=key.code)
        return b"module"

    monkeypatch.setattr(build, "compile_artifact", compile_artifact)
    builds = wanted("gpu:sm_80", "gpu:sm_89")
    with pytest.raises(ArtifactError, match="gpu:sm_89: compiling failed"):
        compile_into(tmp_path, builds, lambda line: None)
    assert (tmp_path / builds[0].key.file_name).exists()
