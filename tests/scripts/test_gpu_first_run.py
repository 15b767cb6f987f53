"""A GPU's first run: its questions are put in order, each in its time, and nothing that was found is lost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from max.dtype import DType

from tests.support.patient import SECONDS
from tests.support.scripts import SCRIPTS, scripts_of
from whisper_max.errors import DeviceError
from whisper_max.measure.verify import Comparison

CHILD = """
import json, os, subprocess, sys, time
results, pids, what = sys.argv[1:]
def find(passed, answer):
    with open(results, "a") as file:
        file.write(json.dumps({"what": what, "answer": answer, "passed": passed}) + "\\n")
if what == "hangs":
    find(True, "begun")
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(pids, "w").write(f"{os.getpid()} {grandchild.pid}")
    time.sleep(600)
elif what == "dies":
    find(True, "half")
    with open(results, "a") as file:
        file.write('{"what": "di')
    raise SystemExit("CUDA error: an illegal access")
elif what == "wrong":
    find(True, "fine"), find(False, "error 0.5")
elif what == "stops":
    find(True, "a driver"), find(False, "no GPU")
    raise SystemExit(3)
elif what == "lacks":
    find(None, "not installed: torch")
elif what == "partly":
    find(True, "7 ms"), find(None, "not installed: whisper")
elif what != "silent":
    find(True, "3 ms")
"""


@pytest.fixture
def first_run():
    with scripts_of("gpu"):
        import gpu_first_run

        yield gpu_first_run


@pytest.fixture
def questions():
    with scripts_of("gpu"):
        from gpu_tools import questions

        yield questions


@pytest.fixture
def put(first_run, tmp_path, monkeypatch):
    """Puts questions, whose children do what their names say. One that hangs has the second that it is given once it
    hangs: how long it takes to begin is the machine's affair."""
    budget = 1.0

    class Child(subprocess.Popen):
        def wait(self, timeout=None):
            if timeout == budget:
                until(lambda: hanging(tmp_path))
            return super().wait(timeout)

    monkeypatch.setattr(first_run, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Child}))

    def run(*names, seconds=20 * SECONDS):
        steps = [first_run.Step(name, f"{name}?", budget if name == "hangs" else SECONDS) for name in names]
        child = [sys.executable, "-c", CHILD, str(tmp_path / first_run.RESULTS), str(tmp_path / "pids")]
        return first_run.run(steps, seconds, tmp_path, lambda step: [*child, step.name])

    return run


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def hanging(folder):
    """The child that hangs and its own child, once both are there."""
    pids = folder / "pids"
    return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []


def statuses(answers):
    return [answer.status for answer in answers]


def test_one_that_hangs_is_cut_with_its_children_and_the_rest_still_runs(put, first_run, tmp_path):
    start = time.monotonic()
    answers = put("good", "hangs", "good")
    assert time.monotonic() - start < SECONDS  # half of what it would have slept
    assert statuses(answers) == [first_run.ANSWERED, first_run.CUT, first_run.ANSWERED]
    assert answers[1].findings == ("hangs: begun", "cut after 1 s")
    assert len(hanging(tmp_path)) == 2
    until(lambda: not any(map(is_running, hanging(tmp_path))))


def is_running(pid):
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_all_that_was_found_is_on_disk_in_order(put, first_run, tmp_path):
    put("good", "dies", "wrong", "silent")
    lines = (tmp_path / first_run.RESULTS).read_text().splitlines()
    said = [json.loads(line) for line in lines if line != '{"what": "di']
    assert len(said) == len(lines) - 1
    steps = [each for each in said if "step" in each]
    assert [each["step"] for each in steps] == ["good", "dies", "wrong", "silent"]
    assert all(each["seconds"] >= 0 and each["budget"] == SECONDS for each in steps)
    assert said[0] == {"what": "good", "answer": "3 ms", "passed": True}


def test_what_becomes_of_a_question(put, first_run):
    answers = put("good", "dies", "wrong", "lacks", "partly", "silent")
    assert statuses(answers) == [
        first_run.ANSWERED, first_run.FAILED, first_run.WRONG, first_run.UNANSWERED, first_run.ANSWERED,
        first_run.UNANSWERED,
    ]  # fmt: skip
    assert answers[1].findings == ("dies: half", "its process ended with 1: CUDA error: an illegal access")
    table = first_run.table_of(answers)
    assert "| good? **answered** | good: 3 ms |" in table
    open_ones = table.partition("What remained unanswered or wrong:")[2].strip().splitlines()
    assert open_ones == [
        "- dies: failed", "- wrong: wrong", "- lacks: not answered", "- silent: not answered",
        "- lacks: lacks: not installed: torch", "- partly: partly: not installed: whisper",
    ]  # fmt: skip
    assert "nothing" in first_run.table_of(answers[:1]).splitlines()[-1]


def test_no_time_left_and_no_card(put, first_run):
    assert statuses(put("good", "good", seconds=0.5)) == [first_run.UNANSWERED] * 2
    answers = put("stops", "good", "good")
    assert statuses(answers) == [first_run.WRONG, first_run.UNANSWERED, first_run.UNANSWERED]
    assert answers[0].findings == ("stops: a driver", "stops: no GPU")
    assert answers[2].findings == ("not asked: stops comes first",)
    assert statuses(put("wrong", "good")) == [first_run.WRONG, first_run.ANSWERED]


def test_the_exit_status(first_run, monkeypatch, tmp_path, capsys):
    wanted = [sys.executable, "-c", CHILD, str(tmp_path / first_run.RESULTS), str(tmp_path / "pids")]
    monkeypatch.setattr(first_run, "command_of", lambda step, args: [*wanted, step.name])
    monkeypatch.setattr(
        first_run, "STEPS", (first_run.Step("good", "good?", SECONDS), first_run.Step("wrong", "wrong?", SECONDS))
    )
    arguments = [str(tmp_path), "--output", str(tmp_path)]
    assert first_run.main([*arguments, "--only", "good"]) == 0
    assert first_run.main(arguments) == 1
    assert (tmp_path / first_run.TABLE).read_text() in capsys.readouterr().out
    assert b"== wrong" in (tmp_path / first_run.LOG).read_bytes()


def test_who_ends_a_run_ends_its_question(first_run, tmp_path):
    program = f"""
import sys; sys.path.insert(0, {str(SCRIPTS / "gpu")!r})
import gpu_first_run as run
child = [sys.executable, "-c", {CHILD!r}, {str(tmp_path / "results")!r}, {str(tmp_path / "pids")!r}, "hangs"]
run.command_of = lambda step, args: child
run.STEPS = (run.Step("hangs", "hangs?", 600),)
run.main([{str(tmp_path)!r}, "--output", {str(tmp_path)!r}])
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    until(lambda: hanging(tmp_path))
    process.terminate()
    assert process.wait(SECONDS) == 128 + 15
    assert len(hanging(tmp_path)) == 2
    until(lambda: not any(map(is_running, hanging(tmp_path))))


def test_every_question_can_be_put_and_all_fit(first_run, questions):
    assert [step.name for step in first_run.STEPS] == list(questions.QUESTIONS)
    assert sum(step.budget for step in first_run.STEPS) <= 420 - 15


def ask(questions, name, tmp_path, status=0):
    results = tmp_path / "results.jsonl"
    results.unlink(missing_ok=True)
    assert questions.main([name, str(tmp_path), "--results", str(results)]) == status
    return [json.loads(line) for line in results.read_text().splitlines()]


@pytest.fixture
def host(questions, monkeypatch, tmp_path):
    """A host with a card; its values can be changed."""
    card = SimpleNamespace(
        architecture_name="sm_90a", label="gpu", is_compatible=True, stats={"free_memory": 70 << 30}
    )  # fmt: skip
    state = SimpleNamespace(card=card, count=1, smi="NVIDIA H100, 580.1", users="")
    (tmp_path / "kit.json").write_text('{"made_of": {"max": "26.7.0", "source": "0123abc"}}')
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "384x4-bfloat16-gpu-sm_90a-fast-0123456789abcdef.wmx").touch()
    monkeypatch.setattr(questions, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(questions, "accelerator_count", lambda: state.count)
    monkeypatch.setattr(questions, "Accelerator", lambda index: state.card)
    monkeypatch.setattr(questions, "nvidia_smi", lambda query: state.users if "apps" in query else state.smi)
    return state


def test_a_free_card_is_named(questions, host, tmp_path):
    found = ask(questions, "card", tmp_path)
    assert all(each["passed"] for each in found)
    assert [each["answer"] for each in found] == [
        "max 26.7.0, source 0123abc", "NVIDIA H100, 580.1", "sm_90a, artifacts for sm_90a", "70.0 GiB free",
    ]  # fmt: skip
    host.users = "123, python, 20 MiB"
    assert "by 123, python, 20 MiB: end them" in ask(questions, "card", tmp_path)[-1]["answer"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smi": "", "count": 0}, "no NVIDIA driver; take a host with a GPU"),
        ({"count": 0}, "MAX finds no GPU: found NVIDIA H100, 580.1; MAX 26.7 needs driver 580 or newer"),
        (
            {"architecture_name": "sm_80"},
            "expected sm_80, found sm_90a; compile by gpu_artifacts.py --architecture sm_80",
        ),
        ({"stats": None}, "MAX can't use the GPU: found CUDA error: initialization; a newer driver"),
    ],
)
def test_a_host_without_a_right_card_is_told_in_one_line_and_asked_no_more(questions, host, tmp_path, change, said):
    for name, value in change.items():
        setattr(host if hasattr(host, name) else host.card, name, value)
    if host.card.stats is None:
        host.card = Broken()
    last = ask(questions, "card", tmp_path, status=3)[-1]
    assert last["passed"] is False
    assert said in last["answer"]
    assert "\n" not in last["answer"]


class Broken:
    """A card that can't be opened."""

    @property
    def is_compatible(self):
        raise RuntimeError("CUDA error:\n initialization")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"is_compatible": False}, "says that it doesn't support this GPU: take an H100 or H200"),
        ({"stats": {"free_memory": 1 << 30}}, "1.0 GiB free of the 8 that are needed: end the programs that hold it"),
    ],
)
def test_a_card_that_may_do_is_asked_on(questions, host, tmp_path, change, said):
    for name, value in change.items():
        setattr(host.card, name, value)
    assert [each["answer"] for each in ask(questions, "card", tmp_path) if not each["passed"]] == [said]
    host.card.stats = {}
    assert "unknown" in [each["answer"] for each in ask(questions, "card", tmp_path)]


def test_artifacts_of_the_same_number_fit(monkeypatch, questions):
    from gpu_tools.variants import fitting

    assert fitting("sm_90", {"sm_80", "sm_90a"}) == "sm_90a"
    for found in ("sm_9", "sm_900", "gfx942"):
        with pytest.raises(DeviceError, match="pack and send again"):
            fitting(found, {"sm_90a"})
    with pytest.raises(DeviceError, match="found none"):
        fitting("sm_90", set())


def test_what_the_kit_lacks_is_no_answer(questions, host, tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "keys_of", lambda *of: [])
    found = ask(questions, "load", tmp_path)
    assert [(each["passed"], each["answer"]) for each in found] == [
        (None, "tiny.en: no artifact in the kit"), (None, "base: no artifact in the kit"),
    ]  # fmt: skip


def test_a_form_that_fails_leaves_the_others(questions):
    forms = [SimpleNamespace(label="fast"), SimpleNamespace(label="plain")]
    ground = SimpleNamespace(forms=lambda size: forms)

    def answers(form):
        yield questions.Finding("a", "1 ms")
        if form.label == "fast":
            raise RuntimeError("CUDA error:\n an illegal access")
        yield questions.Finding("", "2 ms")

    found = [(each.what, each.answer, each.passed) for each in questions.each_form(ground, "base", answers)]
    assert found == [
        ("fast, a", "1 ms", True), ("fast", "failed: CUDA error: an illegal access", False),
        ("plain, a", "1 ms", True), ("plain", "2 ms", True),
    ]  # fmt: skip
    assert len(list(questions.each_form(ground, "base", answers, questions.best))) == 2


def test_the_best_form_of_each_dtype_is_the_first(questions):
    named = ("bfloat16 fast", "bfloat16 plain", "float32 plain")
    forms = [SimpleNamespace(label=name, target=SimpleNamespace(dtype=name.split()[0])) for name in named]
    assert [form.label for form in questions.best_by_dtype(forms)] == ["bfloat16 fast", "float32 plain"]
    assert questions.best_by_dtype([]) == []


@pytest.mark.parametrize(
    ("said", "is_host", "passed"),
    [([], False, [True, True]), (["can't be recorded"], False, [False, True]), ([], True, [None, True])],
)
def test_launches_do_not_count_as_replays(questions, monkeypatch, said, is_host, passed):
    def time_decoding(subject, batches, n_tokens, group, report, *, record):
        if record:
            list(map(report, said))
        return [{"windows": 1, "step_s": [0.002]}]

    monkeypatch.setattr(questions, "time_decoding", time_decoding)
    subject = SimpleNamespace(place=SimpleNamespace(device=SimpleNamespace(is_host=is_host)))
    found = list(questions.time_token(subject, 8))
    assert [(each.what, each.passed) for each in found] == [("replayed", passed[0]), ("launched", passed[1])]
    assert found[1].answer == "2 ms"


def test_a_stage_that_is_no_number_is_wrong(questions):
    def stages(*errors):
        return [Comparison(f"stage {number}", error, 1e-4, "relative") for number, error in enumerate(errors)]

    assert questions.worst(stages(1e-5, 4e-4), 5).passed
    found = questions.worst(stages(1e-5, 6e-4, np.nan), 5)
    assert not found.passed
    assert "1 of 3 stages" in found.answer
    assert "first wrong stage 1" in found.answer
    assert not questions.worst(stages(np.nan), 1e9).passed


class Recorder:
    """A graph that gives its token, can be recorded, or refuses one of the calls."""

    def __init__(self, refused=None, idle=False):
        self.refused, self.idle, self.output = refused, idle, np.zeros(1)
        self.called = []

    def execute(self, tokens):
        return [tokens.copy()]

    def _call(self, name):
        self.called.append(name)
        if name == self.refused:
            raise RuntimeError(f"{name} is not supported\nmore")

    def capture(self, key, tokens):
        self._call("capture")
        self.output[:] = tokens
        return [self.output]

    def debug_verify_replay(self, key, tokens):
        self._call("debug_verify_replay")

    def replay(self, key, tokens):
        self._call("replay")
        if not self.idle:
            self.output[:] = tokens

    def _await_device_graphs(self):
        self._call("await")

    def release_captured_graph(self, key):
        self.called.append("release")


@pytest.mark.parametrize(
    ("graph", "passed"),
    [
        (Recorder(), [True, True, True, True, True]),
        (Recorder(idle=True), [True, True, True, True, False]),
        (Recorder(refused="capture"), [False]),
        (Recorder(refused="debug_verify_replay"), [True, False, True, True, True]),
        (Recorder(refused="replay"), [True, True, False, False, False]),
        (Recorder(refused="await"), [True, True, True, False, True]),
    ],
)
def test_recording_a_step(questions, graph, passed):
    subject = SimpleNamespace(place=SimpleNamespace(get=lambda values: values), wait=lambda: None)
    tokens = np.zeros(1)
    found = list(questions.record_one("step", graph, [tokens], subject, lambda token: tokens.fill(token)))
    assert [each.passed for each in found] == passed
    if graph.refused:
        refused = next(each for each in found if not each.passed)
        assert refused.answer == f"failed: {graph.refused} is not supported more"
    assert "release" in graph.called or graph.refused == "capture"
    assert graph.called.index("replay") < graph.called.index("await") if "await" in graph.called else passed == [False]


@pytest.mark.parametrize(("heard", "beside", "passed"), [("yes", "yes", [True] * 2), ("no", "yes", [False] * 2)])
def test_the_clips_tokens_are_held_against_those_in_the_kit(questions, monkeypatch, tmp_path, heard, beside, passed):
    (tmp_path / "clips").mkdir()
    np.savez(tmp_path / "clips" / "clips.npz", clip0=np.array([-32768, 16384], np.int16), clip1=np.zeros(2, np.int16))
    said = {"tokens": [[1, 2]], "text": "yes"}
    clips = {"clips": [{"path": "a", "text": "Yes."}, {"path": "b", "text": None}], "heard": {"base": [said, said]}}
    (tmp_path / "clips" / "clips.json").write_text(json.dumps(clips))
    monkeypatch.setattr(questions, "hear", lambda model, samples: questions.Heard([[1, 2]], heard))
    given = []

    def transcribe_many(samples, **options):
        given.extend(samples)
        return [SimpleNamespace(index=number, value=lambda: SimpleNamespace(text=beside)) for number in (1, 0)]

    loaded = SimpleNamespace(transcribe_many=transcribe_many)
    form = SimpleNamespace(label="base bfloat16", target=SimpleNamespace(dtype=DType.bfloat16), model=lambda: loaded)
    ground = SimpleNamespace(kit=tmp_path, scale=questions.SCALES["gpu"], forms=lambda size: [form])
    assert [each.passed for each in questions.tokens(ground)] == passed
    np.testing.assert_array_equal(given[0], np.array([-1, 0.5], np.float32))
