"""``bench``: what is timed, the floors, the table and the JSON, with a stand-in in the model's place."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import wave
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import whisper_max
from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.checkpoint.published import MODELS
from whisper_max.commands.bench import number_sizes, table
from whisper_max.commands.main import main
from whisper_max.errors import DeviceError, OptionError
from whisper_max.hardware import threads
from whisper_max.measure.bench import Bench, BenchOptions, write_noise
from whisper_max.measure.costs import Costs, Work
from whisper_max.measure.peaks import Peaks, matmul_rate, measure_peaks, processor, read_rate
from whisper_max.measure.timed import Stages, TimedInference

PEAKS = Peaks(flops=1e11, bandwidth=2e10, threads=2)
VOCABULARY = synthetic_vocabulary()


@pytest.fixture
def noise(tmp_path):
    write_noise(tmp_path / "noise.wav", 3)
    return tmp_path / "noise.wav"


def bench(options, inference=None, **rest):
    inference = inference or FakeInference()
    return Bench(inference, VOCABULARY, Costs(inference.dims), options, **rest)


# ---------------------------------------------------------------- floors


@pytest.mark.parametrize(("model", "encoder", "cross_kv"), [("base", 87.4e9, 9.4e9), ("large-v3", 2274e9, 315e9)])
def test_arithmetic_of_published_models(model, encoder, cross_kv):
    costs = Costs(MODELS[model].dims)
    assert costs.encode(1).flops == pytest.approx(encoder, rel=2e-3)
    assert costs.encode(8).flops == 8 * costs.encode(1).flops
    assert costs.encode(8).n_bytes == costs.encode(1).n_bytes
    assert costs.cross_kv(2).flops == pytest.approx(2 * cross_kv, rel=5e-3)


@pytest.mark.parametrize(("model", "weights", "caches"), [("base", 97e6, 18.4e6), ("large-v3", 1601e6, 246e6)])
def test_a_step_reads_every_weight_once_and_each_windows_caches(model, weights, caches):
    costs = Costs(MODELS[model].dims, weight_bytes=2, cache_bytes=2)
    assert costs.decode(1, 1, 1).n_bytes == pytest.approx(weights + caches, rel=5e-3)
    eight = costs.decode(8, 8, 8)
    assert eight.n_bytes - costs.decode(1, 1, 1).n_bytes == pytest.approx(7 * caches, rel=5e-3)
    assert eight.flops == 8 * costs.decode(1, 1, 1).flops
    half = Costs(MODELS[model].dims, weight_bytes=1, cache_bytes=2).decode(1, 1, 1).n_bytes
    assert half == pytest.approx(weights / 2 + caches, rel=5e-3)


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    assert Work(flops=2e11, n_bytes=2e10).floor(PEAKS) == 2.0
    assert Work(flops=1e10, n_bytes=2e10).floor(PEAKS) == 1.0


# ---------------------------------------------------------------- the machine's peaks


def test_rates_are_of_the_work_done(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("whisper_max.measure.peaks.time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    assert matmul_rate(16, repeats=2) == 2 * 16**3
    assert read_rate(3, 4096, repeats=2) == 4096


def test_peaks_are_measured_with_so_many_threads_in_another_process(monkeypatch):

    seen = {}

    def run(command, env, **_):
        seen.update(command=command[1:], threads=env["OPENBLAS_NUM_THREADS"])
        done = type("Done", (), {"returncode": 0, "stdout": '{"flops": 3.0, "bandwidth": 2.0, "threads": 5}'})
        return done()

    monkeypatch.setattr("subprocess.run", run)
    assert measure_peaks(5) == Peaks(3.0, 2.0, 5)
    assert seen == {"command": ["-m", "whisper_max.measure.peaks", "5"], "threads": "5"}


def test_peaks_that_can_not_be_measured_are_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeviceError, match="exit status 1"):
        measure_peaks(1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512f\n\nmodel name\t: Some CPU\n", "Some CPU (avx2, avx512f)"),
        ("model name : Old CPU\nflags : fpu\n", "Old CPU"),
        ("cpu family : 25\nmodel : 17\nmodel name : EPYC\nflags : avx2\n", "EPYC, family 25 model 17 (avx2)"),
    ],
)
def test_the_processor_is_named_with_what_it_has(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == expected


# ---------------------------------------------------------------- what is timed


def test_a_timed_model_answers_as_the_model_and_notes_each_call():
    stages = Stages(Costs(DIMS))
    timed, plain = TimedInference(FakeInference(), stages), FakeInference()
    mel = fake_mel(3000)[None, :, :3000]
    answers = []
    both: list[Any] = [timed, plain]
    for model in both:
        batch = model.new_batch(2)
        batch.put([0, 1], model.encode(np.concatenate([mel, mel + 1])))
        first = batch.prefill([0, 1], [[50258], [50258, 50259]], [[-1], [-1]])
        second = batch.step(np.array([5, 6], np.int32)).copy()
        batch.keep([0])
        answers.append((first, second, batch.n_windows, batch.n_hyps, batch.align(0, [1, 2], 50257).token_probs))
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {stage: [call.items for call in calls] for stage, calls in stages.calls.items()} == {
        "encoder": [2],
        "cross keys and values": [2],
        "prefill": [3],
        "step": [2],
        "word alignment": [2],
    }
    assert stages.calls["step"][0].work == Costs(DIMS).decode(2, 2, 2)
    assert stages.calls["prefill"][0].work == Costs(DIMS).decode(3, 2, 2)


def test_every_stage_is_there_once_a_size_and_once_a_run(noise):
    ticks = []
    inference = FakeInference()
    measured = bench(BenchOptions(runs=2, batch=3, steps=4), inference, tick=lambda: ticks.append(1))
    rows = measured.stages(noise)
    assert [(row.stage, row.items, len(row.seconds)) for row in rows] == [
        ("decode audio", 1, 2),
        ("log-mel", 1, 2),
        ("encoder", 1, 2),
        ("cross keys and values", 1, 2),
        ("prefill", 3, 2),
        ("step", 1, 8),
        ("prefill", 9, 2),
        ("step", 3, 8),
    ]
    assert inference.largest_batch == 3
    measured.whole(noise, is_speech=False)
    assert len(ticks) == measured.n_ticks


def test_a_whole_run_of_noise_has_as_many_steps_as_asked_for(noise):
    whole = bench(BenchOptions(runs=3, batch=2, steps=5)).whole(noise, is_speech=False)
    assert (whole.n_windows, whole.n_steps, whole.audio_seconds) == (3, 15, 90.0)
    assert {stage: len(calls) for stage, calls in whole.calls.items()} == {
        "decode audio": 1,
        "log-mel": 3,
        "encoder": 3,
        "cross keys and values": 3,
        "prefill": 2,
        "step": 10,
    }
    assert len(whole.seconds) == 3
    assert whole.median == sorted(whole.seconds)[1]
    assert sum(call.seconds for calls in whole.calls.values() for call in calls) < whole.median


def test_a_whole_run_of_speech_does_what_a_transcription_does(noise, tmp_path):
    options: dict[str, Any] = {"language": "en", "temperature": 0.0}
    inference = FakeInference(dataclasses.replace(DIMS, n_mels=80))
    journal = tmp_path / "journal"
    Model(inference, VOCABULARY).transcribe(noise, journal=journal, **options)
    n_windows = len(journal.read_text().splitlines()) - 1  # but its header
    again = FakeInference(inference.dims)
    whole = bench(BenchOptions(runs=1, language="en"), again).whole(noise, is_speech=True)
    assert again.encoded == 2 * inference.encoded
    assert whole.n_windows == inference.encoded == n_windows + 1  # and silence, for the guard
    stages = {"decode audio", "log-mel", "encoder", "cross keys and values", "prefill", "step"}
    assert whole.calls.keys() == stages | {"word alignment"}  # the noise is asked about


def test_speech_is_transcribed_greedily_in_batches_of_the_size_asked_for(noise, monkeypatch):
    seen = []

    def listen(waveform, options):
        seen.append((options.language, options.temperature, options.batch_size))
        return waveform, None

    monkeypatch.setattr("whisper_max.transcribe.opening.listen", listen)
    inference = FakeInference(dataclasses.replace(DIMS, n_mels=80))
    bench(BenchOptions(runs=1, batch=4, language="de"), inference).whole(noise, is_speech=True)
    assert seen == 2 * [("de", 0.0, 4)]


@pytest.mark.parametrize("name", ["runs", "batch", "steps"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(OptionError, match=f"{name}: out of range: expected at least 1, found 0"):
        BenchOptions(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(("dims", "most"), [(DIMS, 445), (ENGLISH_DIMS, 447)])
def test_more_steps_than_places_are_refused(dims, most):
    vocabulary = synthetic_vocabulary(english=dims is ENGLISH_DIMS)
    inference = FakeInference(dims)
    Bench(inference, vocabulary, Costs(dims), BenchOptions(steps=most))
    with pytest.raises(OptionError, match=f"steps: more than the model has places: expected {most}, found {most + 1}"):
        Bench(inference, vocabulary, Costs(dims), BenchOptions(steps=most + 1))


# ---------------------------------------------------------------- the command


@pytest.fixture
def loaded(monkeypatch):
    """A stand-in for ``load_model`` and for the machine's peaks; returns what the model was loaded with."""
    seen = {}

    def load(model, **options):
        seen.update(model=model, **options)
        target = "cpu:x86-64-v3 float32" + (", weights int8" if options["compute_type"] == "int8" else "")
        dims = dataclasses.replace(DIMS, n_mels=80)
        return Model(FakeInference(dims), VOCABULARY, model, target=target)

    monkeypatch.setattr(whisper_max, "load_model", load)
    monkeypatch.setattr(threads, "start_workers", lambda: 2)
    monkeypatch.setattr("whisper_max.measure.peaks.measure_peaks", lambda n: dataclasses.replace(PEAKS, threads=n))
    return seen


def test_noise_is_said_to_be_noise_and_the_json_has_all(loaded, tmp_path, capsys):
    out = tmp_path / "a" / "bench.json"
    command = ["bench", "--model", "tiny", "--compute-type", "int8", "--threads", "2", "--runs", "1", "--steps", "3"]
    assert main([*command, "--batch", "2", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert printed == table(report) + "\n"
    assert "white noise, a fixed number of steps; nothing is transcribed, 60.0 s" in printed
    assert "matrix product 100 GFLOP/s, reading memory 20.0 GB/s" in printed
    assert "int8 layers may be quicker" in printed
    assert (loaded["model"], loaded["compute_type"], loaded["threads"], loaded["device"]) == ("tiny", "int8", 2, "cpu")
    assert report["machine"]["threads"] == 2
    assert report["versions"] == {"max": version("max"), "numpy": np.__version__}
    assert report["options"] == {
        "model": "tiny",
        "compute_type": "int8",
        "threads": 2,
        "batch": 2,
        "runs": 1,
        "steps": 3,
        "language": None,
    }
    assert report["whole"]["steps"] == 6
    step = report["stages"][-1]
    assert (step["stage"], step["items"]) == ("step", 2)
    costs = Costs(dataclasses.replace(DIMS, n_mels=80), 1, 1)
    assert step["floor"] == costs.decode(2, 2, 2).floor(PEAKS)
    parts = sum(stage["seconds"] for stage in report["whole"]["stages"].values())
    assert parts + report["whole"]["everything else"] == pytest.approx(report["whole"]["median"])


@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_stages_and_whole_runs_are_drawn(loaded, tmp_path, capsys, suffix):
    out = tmp_path / "a" / f"bench.{suffix}"
    assert main(["bench", "--runs", "1", "--steps", "3", "--plot", str(out)]) == 0
    drawn = out.read_text()
    whole = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("whole run"))
    for name in ("Stages, each alone", "step, 1 window", "cross keys and values", "everything else", whole):
        assert name in drawn


def test_a_terminal_has_the_same_figures(loaded, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "bench.json"
    assert main(["bench", "--runs", "1", "--steps", "3", "--json", str(out)]) == 0
    printed = set(re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).split())
    assert set(table(json.loads(out.read_text())).split()) <= printed


def test_a_recording_is_transcribed(loaded, noise, capsys):
    assert main(["bench", "--runs", "1", "--audio", str(noise), "--language", "en"]) == 0
    printed = capsys.readouterr().out
    assert "noise.wav, 90.0 s" in printed
    assert "int8" not in printed
    assert loaded["threads"] is None


def test_the_table_says_how_far_a_stage_is_from_its_floor():
    step = {"stage": "step", "items": 2, "calls": 4, "median": 0.01, "min": 0.009, "max": 0.02}
    work = {"flops": 1e8, "n_bytes": 1e8, "floor": 0.005}
    step |= work
    plain = {"stage": "log-mel", "items": 1, "calls": 4, "median": 0.02, "min": 0.019, "max": 0.02}
    encoder = {**plain, "stage": "encoder", **work, "floor": 0.001}
    stages = {"step": {"calls": 4, "items": 8, "seconds": 0.5, "floor": 0.25}}
    times = {"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3, "windows": 2, "steps": 8}
    report = {
        "whisper_max": "1",
        "machine": {"processor": "P", "threads": 2},
        "versions": {"max": "26"},
        "options": {"model": "base"},
        "target": "cpu:x float32",
        "audio": {"name": "a.wav", "seconds": 60.0},
        "peaks": {"flops": 1e11, "bandwidth": 2e10},
        "stages": [plain, encoder, step],
        "whole": {**times, "stages": stages, "everything else": 1.5},
    }
    lines = table(report).splitlines()
    assert lines[-8:] == [
        "log-mel                                20.00     19.00         -        -",
        "encoder, 1 window                      20.00     19.00      1.00     20.0  5 GFLOP/s",
        "step, 2 windows                        10.00      9.00      5.00      2.0"
        "  200 tokens/s, 5.00 ms/token, 10.0 GB/s",
        "",
        "whole run: 2.00 s (median of 3, 1.00-3.00), 30.0 x real time; 2 windows, 8 tokens",
        "of which                               calls         s     floor        %",
        "step                                       4      0.50      0.25     25.0",
        "everything else                                   1.50         -     75.0",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "0"], "runs: out of range"),
        (["--batch", "0"], "batch: out of range"),
        (["--steps", "446"], "steps: more than the model has places: expected 445, found 446"),
        (["--audio", "README.md"], "README.md"),
        (["--language", "en"], "--language needs --audio"),
    ],
)
def test_bad_options_end_with_one_line_and_a_status(loaded, capsys, arguments, message):
    try:
        status = main(["bench", *arguments])
    except SystemExit as stopped:
        status = stopped.code  # type: ignore[assignment]
    assert status == (1 if "--audio" in arguments else 2)
    assert message in capsys.readouterr().err


def test_widths_follow_the_target():
    model = Model(FakeInference(), VOCABULARY, target="cpu:x86-64-v4 float32, weights int8")
    assert number_sizes(model) == (1, 1)
    assert number_sizes(dataclasses.replace(model, target="cpu:x86-64-v4 float32")) == (2, 4)


def test_a_model_is_shown_by_what_tells_it_from_others():
    model = Model(FakeInference(), VOCABULARY, "base", target="cpu:x86-64-v4 float32")
    assert repr(model) == "Model(name='base', weights=(), target='cpu:x86-64-v4 float32')"


def test_noise_is_the_same_every_time(tmp_path):
    write_noise(tmp_path / "a", 1)
    write_noise(tmp_path / "b", 1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with wave.open(str(tmp_path / "a")) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (16000, 480000, 1)
