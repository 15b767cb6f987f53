"""``debug``: the window, what is compared with what, which stage is named; and the command with the real tiny.en."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import whisper_max
from whisper_max.checkpoint.published import MODELS
from whisper_max.commands.debug import other_model
from whisper_max.commands.main import build_parser, main
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.measure.debug import (
    INT8_BLOCK,
    TOLERANCES,
    check_comparable,
    compare,
    compute_type_of,
    describe,
    open_window,
    relative_error,
    tolerance_for,
)

JFK = "samples/jfk.flac"
FLOAT32, INT8 = "cpu:x86-64-v4 float32", "cpu:x86-64-v4 float32, weights int8"


def arguments(*words):
    return build_parser().parse_args(["debug", JFK, *words])


# ---------------------------------------------------------------- the window


def test_a_window_is_what_transcription_would_be_given():
    window = open_window(JFK, 9.0, 80)
    assert (window.start, window.duration, window.n_frames) == (9.0, 2.0, 200)
    assert window.mel.shape == (80, 3000)
    assert window.mel[:, :200].any()
    assert not window.mel[:, 200:].any()


@pytest.mark.parametrize("start", [11.0, 1e9, -1.0])
def test_a_window_outside_the_recording_is_refused(start):
    with pytest.raises(OptionError, match=r"start: not inside the recording: expected 0 to 11\.00"):
        open_window(JFK, start, 80)


# ---------------------------------------------------------------- what is compared


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("int8", {"compute_type": "int8", "fp16": None}),
        ("gpu:1", {"device": "gpu:1"}),
        ("CPU", {"device": "CPU"}),
        ("tiny.en", {"model": "tiny.en", "lora": ()}),
        ("./int8", {"model": "./int8", "lora": ()}),
    ],
)
def test_against_is_a_compute_type_a_device_or_a_model(what, changed):
    args = arguments("--against", what, "--model", "base", "--device", "cpu")
    other = other_model(args)
    assert {name: value for name, value in vars(other).items() if value != getattr(args, name)} == {
        name: value for name, value in changed.items() if value != getattr(args, name)
    }


def test_models_of_other_sizes_are_refused_with_what_differs():
    dims = MODELS["base"].dims
    check_comparable(dims, replace(dims))
    with pytest.raises(
        CheckpointError, match="against: not the same sizes: expected n_vocab 51865, found n_vocab 51864"
    ):
        check_comparable(dims, MODELS["base.en"].dims)


@pytest.mark.parametrize(
    ("target", "compute_type"),
    [(FLOAT32, "float32"), (INT8, "int8"), ("gpu:sm_90a bfloat16, weights bfloat16", "bfloat16")],
)
def test_the_compute_type_of_a_target(target, compute_type):
    assert compute_type_of(target) == compute_type


def test_the_less_exact_of_two_gives_the_tolerance():
    assert tolerance_for("ln_post", FLOAT32, FLOAT32) == TOLERANCES["float32"]
    assert tolerance_for("ln_post", FLOAT32, INT8) == TOLERANCES["int8"]
    assert tolerance_for("encoder.block.3", INT8, FLOAT32) == INT8_BLOCK
    assert tolerance_for("encoder.block.3", FLOAT32, "gpu:sm_90a float16, weights float16") == TOLERANCES["float16"]


# ---------------------------------------------------------------- which stage is named


def fake_stages(**changed):
    values = {name: np.ones((3, 4), np.float32) for name in ("conv_stem", "ln_post", "logits.prefill")}
    values["logits.prefill"][:, 1] = 2.0
    return values | changed


def test_the_first_stage_out_of_tolerance_is_named_although_a_later_one_is_worse():
    other = fake_stages(ln_post=np.full((3, 4), 1.01, np.float32))
    other["logits.prefill"] = other["logits.prefill"].copy()
    other["logits.prefill"][2] = [9, 0, 0, 0]
    ticks = []
    found = compare(fake_stages(), iter(other.items()), lambda stage: 1e-4, lambda: ticks.append(1))
    assert found.first is not None
    assert found.first.stage == "ln_post"
    assert found.first.error == pytest.approx(0.01, rel=1e-4)
    assert max(found.comparisons, key=lambda each: each.error).stage == "logits.prefill"
    assert found.same_tokens == (2, 3)
    assert len(ticks) == 3


def test_equal_models_have_no_first_stage():
    found = compare(fake_stages(), iter(fake_stages().items()), lambda stage: 0.0)
    assert found.first is None
    assert found.same_tokens == (3, 3)


def test_what_is_not_a_number_is_never_within_tolerance():
    found = compare(fake_stages(), iter(fake_stages(conv_stem=np.full((3, 4), math.nan)).items()), lambda stage: 1e9)
    assert found.first is not None
    assert found.first.stage == "conv_stem"


def test_relative_error_of_zeros():
    zeros = np.zeros(3, np.float32)
    assert relative_error(zeros, zeros) == 0
    assert relative_error(zeros + 1, zeros) == math.inf


def test_a_stage_is_described_without_what_is_not_finite():
    found = describe("x", np.array([1.0, 3.0, math.nan, math.inf]))
    assert (found.mean, found.deviation, found.least, found.most, found.n_not_finite) == (2, 1, 1, 3, 2)
    nothing = describe("x", np.full(2, math.nan))
    assert math.isnan(nothing.mean)
    assert nothing.n_not_finite == 2


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--start", "-1"], "--start: expected seconds, 0 or more"),
        (["--start", "nan"], "--start: expected seconds, 0 or more"),
        (["--start", "12"], "start: not inside the recording"),
        (["--tolerance", "0.1"], "--tolerance needs --against"),
        (["--tolerance", "-1", "--against", "int8"], "expected a number, 0 or more"),
    ],
)
def test_wrong_usage_is_one_line_before_a_model_is_looked_for(capsys, tmp_path, words, message):
    status: object
    try:
        status = main(["debug", JFK, *words, "-o", str(tmp_path), "--model", "not/there"])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.fixture(scope="module")
def tiny():
    return whisper_max.load_model("tiny.en", device="cpu")


@pytest.fixture
def loads(monkeypatch, tiny):
    """``load_model`` without loading tiny.en anew for each test."""
    load = whisper_max.load_model
    plain = {"model": "tiny.en", "compute_type": "auto"}

    def cached(model, **options):
        return tiny if {"model": model, "compute_type": options["compute_type"]} == plain else load(model, **options)

    monkeypatch.setattr(whisper_max, "load_model", cached)


@pytest.mark.slow
def test_one_model_is_drawn_and_told(loads, tiny, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert main(["debug", JFK, "--model", "tiny.en", "--device", "cpu", "-o", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"tiny.en on {tiny.target}, jfk.flac from 0.00 to 11.00 s"
    assert printed[1].startswith("en: And so my fellow Americans")
    assert [line.split()[0] for line in printed[3:]][:7] == [
        *("conv_stem", "conv_stem+positional_embedding", "encoder.block.0", "encoder.block.1", "encoder.block.2"),
        *("encoder.block.3", "ln_post"),
    ]
    names = {path.name for path in out.iterdir()}
    assert names == {"mel.svg", "stages.svg", "cross_attention.svg", "index.html", "stages.json"}
    for name in names - {"index.html", "stages.json"}:
        ET.fromstring((out / name).read_text())
    found = json.loads((out / "stages.json").read_text())
    assert (found["model"], found["language"], found["comparison"]) == ("tiny.en", "en", None)
    by_name = {stage["name"]: stage for stage in found["stages"]}
    assert by_name["logits.prefill"]["mean"] == pytest.approx(by_name["logits.step"]["mean"], abs=1e-3)
    assert all(stage["n_not_finite"] == 0 for stage in found["stages"])


@pytest.mark.slow
def test_int8_is_within_its_own_tolerance_and_out_of_float32s(loads, tmp_path, capsys):
    command = ["debug", JFK, "--model", "tiny.en", "--device", "cpu", "-o", str(tmp_path), "--against", "int8"]
    assert main([*command, "--tolerance", "1e-4"]) == 1
    assert "the first stage out of tolerance is conv_stem: relative error" in capsys.readouterr().out
    found = json.loads((tmp_path / "stages.json").read_text())["comparison"]
    assert found["first_out_of_tolerance"] == "conv_stem"
    assert all(1e-4 < each["error"] < tolerance_for(each["stage"], INT8) for each in found["stages"])
    ET.fromstring((tmp_path / "comparison.svg").read_text())


@pytest.mark.slow
def test_models_of_other_sizes_and_silence(loads, tmp_path, capsys):
    command = ["debug", JFK, "--model", "tiny.en", "--device", "cpu", "-o", str(tmp_path), "--against", "base"]
    assert main(command) == 1
    assert "error: against: not the same sizes: expected n_audio_state 384" in capsys.readouterr().err
    soundfile.write(tmp_path / "silence.wav", np.zeros(800), 16000)
    assert (
        main(["debug", str(tmp_path / "silence.wav"), "--model", "tiny.en", "--device", "cpu", "-o", str(tmp_path)])
        == 0
    )
