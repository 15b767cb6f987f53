"""``demo``: tiers and environments, runs in processes of their own, what differs, the rows, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from whisper_max.commands import demo
from whisper_max.commands.demo_screen import Screen, chart, plain, print_differences, tail
from whisper_max.commands.main import main
from whisper_max.errors import OptionError
from whisper_max.measure.demo import differences
from whisper_max.measure.demo.differences import Part, excerpts, n_different, parts
from whisper_max.measure.demo.runs import DONE, FAILED, SKIPPED, Job, Run, alignments, compared_with, go, write_weights
from whisper_max.measure.demo.tiers import REFERENCE_CPU, REFERENCE_GPU, interpreter, tiers, with_reference

JFK = "samples/jfk.flac"
TIERS = tiers(8)
SAID = "and so my fellow Americans"


def job(**changed):
    return Job(**{"samples": Path("samples"), "model": {"model": "base"}, "options": {"language": None}, **changed})


class Told(Job):
    """A job whose processes say some events and end as a real one does."""

    def command(self, tier):
        events = EVENTS[tier.name]
        script = (
            "import json, sys\n"
            f"for event in {events!r}:\n"
            "    print(event if isinstance(event, str) else json.dumps(event), flush=True)\n"
        )
        end = "raise SystemExit('no memory')" if events[-1] == "crash" else "sys.stdin.read()"
        return [sys.executable, "-c", script + end]


def done(text, transcribe):
    return {"done": {"load": 0.5, "transcribe": transcribe, "first": 0.25, "text": text}}


EVENTS = {
    REFERENCE_CPU: [{"stage": "transcribing", "target": "torch"}, done(f"{SAID}, ask not", 20.0)],
    REFERENCE_GPU: [{"missing": "no CUDA device"}],
    "float32": [
        "a line of a library",
        "[1]",
        {"stage": "transcribing"},
        {"segment": " and so", "progress": 2.0},
        done(f"{SAID}, ask not", 4.0),
    ],
    "int8": [{"stage": "transcribing"}, done("and so your fellow Americans, ask", 2.0)],
    "gpu": [{"stage": "loading"}, "crash"],
}


# ---------------------------------------------------------------- tiers


def test_the_reference_comes_first_and_batches_have_their_size():
    assert list(TIERS)[:2] == [REFERENCE_CPU, REFERENCE_GPU]
    assert [tier.batch_size for tier in TIERS.values() if tier.name.endswith("-batch")] == [8, 8, 8]
    assert "batches of 3" in tiers(3)["gpu-batch"].about
    assert ", ".join(TIERS) == demo._NAMES


def test_an_environment_is_a_folder_or_its_interpreter(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert interpreter(str(tmp_path)) == tmp_path / "bin" / "python"
    assert interpreter(sys.executable) == Path(sys.executable)
    for wrong in (tmp_path / "nothing", tmp_path / "bin", Path(__file__)):
        with pytest.raises(OptionError, match="reference: no environment"):
            interpreter(str(wrong))


def test_the_first_environment_that_has_openai_whisper_is_taken(tmp_path, fake_whisper):
    plain_python = tmp_path / "plain"
    plain_python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} "$@"\n')
    plain_python.chmod(0o755)
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    assert with_reference([broken, plain_python]) is None
    assert with_reference([broken, plain_python, Path(sys.executable)]) == Path(sys.executable)


# ---------------------------------------------------------------- runs


def told_job():
    return Told(samples=Path("samples"), model={}, options={}, python=Path(sys.executable))


def ran(*names, duration=10.0):
    runs = [Run(TIERS[name], duration) for name in names]
    for each in runs:
        go(each, told_job())
    return runs


def test_a_run_notes_what_its_process_says():
    (run,) = ran("float32")
    assert (run.stage, run.words, run.position, run.note) == (DONE, f"{SAID}, ask not".split(), 10.0, "")
    assert (run.load, run.transcribe, run.first, run.speed) == (0.5, 4.0, 0.25, 2.5)
    assert run.process.returncode == 0
    if sys.platform == "linux":
        assert 1 << 20 < run.peak < 1 << 30
    assert json.loads(json.dumps(run.to_dict()))["text"] == f"{SAID}, ask not"


def test_what_is_not_here_is_skipped_and_what_breaks_has_failed():
    gpu, broken = ran(REFERENCE_GPU, "gpu")
    assert (gpu.stage, gpu.note, gpu.speed) == (SKIPPED, "no CUDA device", None)
    assert (broken.stage, broken.note) == (FAILED, "no memory (exit status 1)")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "no environment with openai-whisper; name it: --reference"),
        ({"python": Path("/no/python"), "no_reference": "another vocabulary"}, "another vocabulary"),
    ],
)
def test_a_reference_that_can_not_run_says_why(changed, reason):
    run = Run(TIERS[REFERENCE_CPU], 10.0)
    go(run, job(**changed))
    assert (run.stage, run.note, run.process) == (SKIPPED, reason, None)


def test_a_process_that_can_not_start_has_failed():
    run = Run(TIERS[REFERENCE_CPU], 10.0)
    go(run, job(python=Path("/no/python")))
    assert (run.stage, run.note) == (FAILED, "No such file or directory")


def test_each_tier_gets_the_model_its_own_way():
    our_job = json.loads(job(model={"model": "base", "threads": 2}).command(TIERS["int8-batch"])[-1])
    assert our_job["model"] == {"model": "base", "threads": 2, "device": "cpu", "compute_type": "int8"}
    assert our_job["options"] == {"language": None, "batch_size": 8}
    single = json.loads(job().command(TIERS["gpu"])[-1])
    assert (single["model"]["device"], single["options"]) == ("gpu", {"language": None})


def test_the_first_that_is_done_is_compared_with():
    skipped, first, second = ran(REFERENCE_GPU, "float32", "int8")
    assert compared_with([skipped, first, second]) is first
    assert compared_with([skipped]) is None


# ---------------------------------------------------------------- openai-whisper, by a stand-in


@pytest.fixture
def fake_whisper(tmp_path, monkeypatch):
    """Modules that look like PyTorch and openai-whisper to a child, and print as openai-whisper does."""
    packages = tmp_path / "packages"
    (packages / "whisper").mkdir(parents=True)
    (packages / "whisper" / "__init__.py").write_text("")
    (packages / "torch.py").write_text(
        textwrap.dedent("""
        class cuda:
            is_available = staticmethod(lambda: False)
        set_num_threads = lambda n: None
        from_numpy = lambda array: array
        """)
    )
    (packages / "whisper" / "model.py").write_text(
        textwrap.dedent("""
        class ModelDimensions:
            def __init__(self, **dims):
                self.dims = dims
        class Whisper:
            def __init__(self, dims):
                pass
            def load_state_dict(self, state, strict):
                assert sorted(state) == ["a.weight", "b"] and state["b"].dtype == "float32", state
            def eval(self):
                return self
            def to(self, device):
                return self
            def transcribe(self, samples, verbose, fp16, language):
                assert (verbose, fp16, language, len(samples)) == (True, False, "en", 3)
                print("Detecting language")
                print("[59:50.000 --> 01:00:07.600]  And so my")
                print("[01:00:07.600 --> 01:00:10.600]  fellow")
                return {"text": " And so my fellow"}
        """)
    )
    for name in ("openai_whisper", "torch"):
        info = packages / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    return packages


@pytest.fixture
def reference_job(tmp_path):
    np.zeros(3, np.float32).tofile(tmp_path / "samples")
    weights = tmp_path / "weights"
    weights.mkdir()
    exact, inexact = np.array([1.0], np.float32), np.array([0.1], np.float32)
    write_weights(type("Checkpoint", (), {"tensors": {"a.weight": exact, "b": inexact}})(), weights)
    assert [np.load(weights / f"{name}.npy").dtype for name in ("a.weight", "b")] == ["float16", "float32"]
    return job(
        samples=tmp_path / "samples",
        options={"language": "en"},
        python=Path(sys.executable),
        weights=weights,
        dims={"n_mels": 80},
    )


def test_openai_whisper_is_given_our_weights_and_its_lines_are_heard(fake_whisper, reference_job):
    run = Run(TIERS[REFERENCE_CPU], 3610.6)
    go(run, reference_job)
    assert (run.stage, run.note) == (DONE, "")
    assert (run.target, run.words) == ("openai-whisper 1, torch 1", ["And", "so", "my", "fellow"])
    assert run.first is not None
    gpu = Run(TIERS[REFERENCE_GPU], 3610.6)
    go(gpu, reference_job)
    assert (gpu.stage, gpu.note) == (SKIPPED, "PyTorch finds no CUDA device")


def test_lines_of_openai_whisper_tell_how_far_it_is(fake_whisper, reference_job):
    command = reference_job.command(TIERS[REFERENCE_CPU])
    said = subprocess.run(command, capture_output=True, text=True, input="", timeout=600, check=True).stdout
    events = [json.loads(line) for line in said.splitlines()]
    told = [(each["segment"], each["progress"]) for each in events if "segment" in each]
    assert told == [("  And so my", 3607.6), ("  fellow", 3610.6)]


# ---------------------------------------------------------------- what differs


def aligned(expected, found):
    return parts(expected.split(), found.split())


def test_words_that_differ_are_counted_each_once():
    assert n_different(aligned("a b c d", "a b c d")) == 0
    assert n_different(aligned("a b c d", "a x c")) == 2
    assert n_different(aligned("", "a b")) == 2
    assert n_different(aligned("Ask not", "ask not,")) == 2


def test_an_excerpt_has_words_around_and_what_is_close_is_one():
    expected = "a b c d X e f g h i j k l m n o p Y q Z r s t u"
    found = "a b c d x e f g h i j k l m n o p y q z r s t u"
    first, second = excerpts(aligned(expected, found))
    assert plain(first) == "b c d [-X-] {+x+} e f g"
    assert plain(second) == "n o p [-Y-] {+y+} q [-Z-] {+z+} r s t"
    assert list(excerpts(aligned("a b", "a b"))) == []
    assert [plain(each) for each in excerpts(aligned("a b", "a"))] == ["a [-b-]"]
    assert [plain(each) for each in excerpts(aligned("a", "x a"))] == ["{+x+} a"]


def test_a_transcript_can_not_reach_the_terminal():
    assert plain([Part(("a",), ("\x1b[31m",))]) == "[-a-] {+\\x1b[31m+}"


def test_long_texts_are_aligned_in_windows_as_they_are_whole(monkeypatch):
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in rng.integers(0, 300, 700)]
    other = [word if rng.random() > 0.1 else "x" for word in words]
    del other[300:340]
    whole = parts(words, other)
    assert [word for part in whole for word in part.expected] == words
    assert [word for part in whole for word in part.found] == other
    monkeypatch.setattr(differences, "_WINDOW", 200)
    windows = parts(words, other)
    assert [word for part in windows for word in part.expected] == words
    assert [word for part in windows for word in part.found] == other
    assert n_different(windows) == pytest.approx(n_different(whole), abs=3)


@pytest.mark.parametrize("expected", [0, 1, 4000])
def test_a_word_said_thousands_of_times_takes_no_long_time(expected):
    start = time.thread_time()
    (part,) = parts(["you"] * expected, ["thank"] * 7000)
    assert (len(part.expected), len(part.found)) == (expected, 7000)
    assert time.thread_time() - start < 10


# ---------------------------------------------------------------- rows


def drawn(runs, columns):
    console = Console(width=columns, height=40, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(Screen(runs, columns))
    return capture.get().splitlines()


@pytest.mark.parametrize("columns", [80, 200])
def test_rows_fit_the_terminal(columns):
    runs = [*ran(REFERENCE_CPU, REFERENCE_GPU, "float32", "int8", "gpu"), Run(TIERS["int8-batch"], 10.0)]
    runs[0].words *= 40
    runs[-1].stage, runs[-1].note = "loading", "compiling this model " * 20
    lines = drawn(runs, columns)
    assert all(len(line.rstrip()) <= columns for line in lines)
    assert len(lines) == (1 + len(runs) if columns == 200 else 1 + 2 * len(runs))
    text = "\n".join(lines)
    for shown in ("no CUDA device", "no memory", "compiling this model", "0.5", "5.0", "your fellow"):
        assert shown in text


def test_a_tail_has_what_differs_in_colours_but_not_what_is_still_to_come():
    reference, other = ran("float32", "int8")
    line = tail(other, reference, 100)
    assert line.plain == "and so my your fellow Americans, ask"
    assert {line.plain[span.start : span.end]: str(span.style) for span in line.spans} == {
        "my": "red strike",
        "your": "bold yellow",
    }
    assert tail(other, reference, 20).plain == "\N{HORIZONTAL ELLIPSIS}llow Americans, ask"
    assert tail(reference, None, 100).spans == []


def test_a_tail_of_a_long_transcript_is_aligned_with_its_place():
    reference, other = ran("float32", "float32")
    reference.words = [f"w{number}" for number in range(5000)]
    other.words = reference.words[:3000]
    other.words[2995] = "other"
    line = tail(other, reference, 60)
    assert line.plain.endswith("w2994 w2995 other w2996 w2997 w2998 w2999")
    assert len(line.spans) == 2


def test_the_chart_is_as_long_as_the_speeds(capsys):
    lines = list(chart(ran(REFERENCE_CPU, REFERENCE_GPU, "float32", "int8")))
    assert [line.split()[0] for line in lines] == [REFERENCE_CPU, "float32", "int8"]
    assert [line.count("#") for line in lines] == [4, 20, 40]


def test_differences_are_told_by_tier(capsys):
    runs = ran(REFERENCE_CPU, REFERENCE_GPU, "float32", "int8")
    print_differences(runs, alignments(runs))
    assert capsys.readouterr().out.splitlines() == [
        "float32: the words of reference-cpu",
        "int8: 2 of 7 words differ from reference-cpu",
        "  ... and so [-my-] {+your+} fellow Americans, ask [-not-] ...",
    ]


# ---------------------------------------------------------------- the command


@pytest.fixture
def told(monkeypatch):
    """The command with processes that say what ``EVENTS`` has."""
    monkeypatch.setattr(demo, "_job", lambda *_: told_job())


def test_table_chart_differences_and_json(told, tmp_path, capsys):
    names = "int8,float32,reference-cpu,reference-gpu"
    command = ["demo", JFK, "--model", "tiny.en", "--tiers", names, "--json", str(tmp_path / "a.json")]
    assert main([*command, "--plot", str(tmp_path / "a.svg")]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        [REFERENCE_CPU, "done"],
        [REFERENCE_GPU, "skipped"],
        ["float32", "done"],
        ["int8", "done"],
    ]
    assert lines[4].split()[2:6] == ["0.50", "2.00", "5.5", "0.25"]
    assert lines[4].endswith(" 2")
    assert "reference-gpu: skipped: no CUDA device" in lines
    assert "int8: 5.5 x real time" in said.err
    report = json.loads((tmp_path / "a.json").read_text())
    assert (report["kind"], report["compared_with"], report["audio"]) == (
        "demo",
        REFERENCE_CPU,
        {"name": "jfk.flac", "seconds": 11.0},
    )
    assert [tier["differing_words"] for tier in report["tiers"]] == [None, None, 0, 2]
    assert "x real time" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(("names", "status"), [("reference-gpu", 1), ("gpu,float32", 1), ("float32", 0)])
def test_the_status_tells_of_what_failed_or_that_nothing_ran(told, capsys, names, status):
    assert main(["demo", JFK, "--model", "tiny.en", "--tiers", names]) == status


def test_all_at_once(told, monkeypatch, capsys):
    at_once = []
    monkeypatch.setattr(demo, "ThreadPoolExecutor", lambda n: at_once.append(n) or ThreadPoolExecutor(n))
    assert main(["demo", JFK, "--model", "tiny.en", "--tiers", "float32,int8", "--at_once"]) == 0
    assert main(["demo", JFK, "--model", "tiny.en", "--tiers", "float32,int8"]) == 0
    assert at_once == [2, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tiers", "fast"], "tiers: unknown tier: expected reference-cpu, "),
        (["--tiers", ","], "tiers: unknown tier"),
        (["--reference", "/no/where"], "reference: no environment"),
        (["--batch_size", "0"], "batch_size"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(capsys, words, message):
    assert main(["demo", JFK, *words]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_no_process_is_left_when_it_is_interrupted(told, monkeypatch, tmp_path):
    """Ctrl-C while a tier transcribes: its process ends too."""
    script = 'import os, sys, time; print(\'{"stage": "loading"}\', flush=True); time.sleep(60)'
    monkeypatch.setattr(Told, "command", lambda self, tier: [sys.executable, "-c", script])
    runs = [Run(TIERS["float32"], 1.0), Run(TIERS["int8"], 1.0)]
    interrupted = iter([False, True])

    class Pool(ThreadPoolExecutor):
        def map(self, fn, *iterables, timeout=None, chunksize=1):
            for each in iterables[0]:
                self.submit(fn, each)
            while not (runs[0].stage == "loading" and next(interrupted)):
                time.sleep(0.05)
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        demo._go(runs, told_job(), at_once=False)
    assert runs[0].process.returncode is not None
    assert not Path(f"/proc/{runs[0].process.pid}").exists()
    assert runs[1].process is None


@pytest.mark.slow
def test_a_real_tier_and_one_that_is_not_here(tmp_path, capsys):
    command = ["demo", JFK, "--model", "tiny.en", "--tiers", "int8,gpu", "--json", str(tmp_path / "a.json")]
    assert main(command) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    int8, gpu = report["tiers"]
    assert "ask what you can do for your country" in int8["text"]
    assert (int8["stage"], int8["target"].endswith("weights int8")) == ("done", True)
    if gpu["stage"] != "done":
        assert "GPU" in gpu["note"]
    assert os.environ.get("WHISPER_MAX_THREADS") is None
