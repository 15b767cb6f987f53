"""What the check of a GPU concludes from its comparisons; nothing is compiled and no GPU is asked."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, create_autospec

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from tests.support.scripts import scripts_of

GOOD = {"linear encoder mlp.0": 1e-6, "encoder attention": 1e-6, "choose": 0.0}


@pytest.fixture
def gate():
    with scripts_of("gpu"):
        import gpu_gate as module

        yield module


def run(gate, what="base", dtype="float32", form="plain", error=None, **errors):
    results = [gate.Result(name, "8", value, 1e-4) for name, value in (GOOD | errors).items()]
    return gate.Run(what, dtype, form, 1.0, tuple(results), error)


@pytest.mark.parametrize("error", [np.nan, np.inf, 1.01e-4])
def test_what_is_too_large_or_no_number_never_passes(gate, error):
    assert not gate.Result("linear", "8", error, 1e-4).passed
    assert not gate.Result("linear", "8", float("nan"), float("inf")).passed
    assert gate.Result("linear", "8", 1e-4, 1e-4).passed
    assert not run(gate, **{"encoder attention": error}).passed
    assert run(gate).passed


@pytest.mark.parametrize("name", ["choose"])
def test_what_the_host_stands_in_for_leaves_the_graphs_right(gate, name):
    runs = [run(gate), run(gate, "tiny", **{name: np.nan})]
    assert all(each.passed for each in runs)
    record = gate.record_of(runs, ["base", "tiny"], ["float32"])
    assert (record.plain, record.fast) == (("float32",), ())
    assert not record.tokens


def test_a_form_is_right_where_all_is_checked_and_right(gate):
    def plain(*runs, names=("base", "tiny")):
        return gate.record_of(runs, names, ["float32", "bfloat16"]).plain

    base, tiny = run(gate), run(gate, "tiny")
    assert plain(base, tiny) == ("float32",)
    assert plain(base) == ()  # out of time before tiny
    assert plain(base, tiny, names=("base", "tiny", "tiny.en")) == ()
    assert plain(base, run(gate, "tiny", error="CUDA error")) == ()
    assert plain(base, run(gate, "tiny", **{"encoder attention": np.nan})) == ()
    assert plain(base, run(gate, "tiny", form="fast")) == ()
    assert plain(base, tiny, run(gate, dtype="bfloat16")) == ("float32",)
    assert plain() == ()


def test_nothing_checked_is_nothing_right(gate):
    record = gate.record_of([], [], ["float32"])
    assert record == gate.GpuRecord((), (), tokens=False)


def test_what_runs_instead(gate):
    right = gate.GpuRecord(("float32",), (), tokens=True)
    none = gate.GpuRecord((), (), tokens=True)
    assert gate.instead("encoder attention", "float32", right) == "softmax form (the plain artifact)"
    assert gate.instead("linear encoder mlp.0", "float32", right) == "the plain artifact"
    assert gate.instead("encoder attention", "bfloat16", right) == "bfloat16 is not used; float32 is"
    assert gate.instead("encoder attention", "float32", none) == "the CPU"
    assert gate.instead("choose", "float32", none) == "the host's rules and searches"


def conclude(gate, tmp_path, *runs, names=("base",)):
    output = tmp_path / "gate.json"
    status = gate.conclude(runs, names, [DType.float32], CPU(), output, seed=1)
    return status, json.loads(output.read_text(), parse_constant=pytest.fail)


def test_all_right(gate, tmp_path, capsys):
    status, figures = conclude(gate, tmp_path, run(gate), run(gate, form="fast"))
    assert status == 0
    assert [each["passed"] for each in figures["runs"]] == [True, True]
    assert figures["record"]["plain"] == figures["record"]["fast"] == ["float32"]
    assert "right: float32" in capsys.readouterr().out


@pytest.mark.parametrize("error", [np.nan, np.inf, 1.0])
@pytest.mark.parametrize("name", GOOD)
def test_one_that_is_wrong_is_named_and_fails(gate, tmp_path, capsys, name, error):
    status, figures = conclude(gate, tmp_path, run(gate), run(gate, form="fast", **{name: error}))
    assert status == 1
    assert f"wrong on this device: {name} in float32, fast" in capsys.readouterr().out
    errors = [result["error"] for result in figures["runs"][1]["results"] if result["name"] == name]
    assert errors == [error if np.isfinite(error) else str(error)]


def test_a_device_that_fails_outright(gate, tmp_path, capsys):
    status, figures = conclude(gate, tmp_path, run(gate), run(gate, form="fast", error="CUDA error"))
    assert (status, figures["record"]["fast"]) == (1, [])
    assert "failed on this device: base float32 fast: CUDA error" in capsys.readouterr().out


@pytest.fixture
def checked(gate, monkeypatch):
    """Runs the script with these results in place of a device's; a name that is spoilt has a NaN."""

    def check_size(size, dtype, form, device, code, folder, seed, spoil):
        errors = {spoil: np.nan} if spoil in GOOD else {}
        return run(gate, size, dtype.name, form, **errors)

    monkeypatch.setattr(gate, "check_size", check_size)
    arguments = ["--device", "cpu", "--models", "tiny-shape", "--dtypes", "float32", "--whole="]
    return lambda *more: gate.main([*arguments, *more])


def test_the_script_says_what_it_found(checked, tmp_path, capsys):
    assert checked("--output", str(tmp_path / "gate.json")) == 0
    assert "tiny-shape float32 fast: right, 3 comparisons" in capsys.readouterr().out
    assert checked("--output", str(tmp_path / "gate.json"), "--spoil", "encoder attention") == 1
    assert "encoder attention" in capsys.readouterr().out
    assert checked("--output", str(tmp_path / "gate.json"), "--budget", "0") == 1
    assert "not checked, out of time: tiny-shape float32 fast" in capsys.readouterr().out


def test_an_operation_that_is_none_cannot_be_spoilt(checked, tmp_path):
    with pytest.raises(SystemExit, match="no operation is called 'atention'"):
        checked("--output", str(tmp_path / "gate.json"), "--spoil", "atention")


def test_a_spoilt_or_unwritten_result_is_no_number(gate):
    from gpu_tools.checks import Checker

    checker = object.__new__(Checker)
    checker.spoil, checker.tolerance = "layer_norm", 1e-4
    values, rows = np.ones((100, 4), np.float32), np.arange(3)  # only some rows are compared
    assert checker._compare("linear", (100,), values, rows, values[rows].astype(np.float64)).error == 0
    spoilt = checker._compare("layer_norm", (100,), values, rows, values[rows].astype(np.float64))
    assert np.isnan(spoilt.error)
    assert np.isfinite(values).all()
    unwritten = np.where(np.arange(400).reshape(100, 4) == 250, np.nan, values).astype(np.float32)
    assert not checker._compare("linear", (100,), unwritten, rows, values[rows].astype(np.float64)).passed


def test_choices_are_held_against_the_hosts(gate):
    from gpu_tools.choices import N_ROWS, choose_tokens

    dims = gate.dims_of("tiny-shape")
    given = []
    graph = SimpleNamespace(execute=lambda *inputs: given.append(inputs))  # chooses nothing
    place = SimpleNamespace(put=np.array, get=np.array)
    found, expected = choose_tokens(graph, dims, place, np.random.default_rng(0))
    assert found.shape == expected.shape == (N_ROWS, dims.n_text_ctx)
    assert not found.any()
    assert expected.any(axis=1).all()
    first = expected[:, 0]
    begin = dims.n_vocab - dims.n_vocab // 4
    assert ((first >= begin) & (first <= begin + 20)).all()  # a transcript begins with a timestamp of the first 0.4 s
    assert len(given) > 1


def test_only_recordings_in_english_that_are_there_are_compared(gate, tmp_path):
    from gpu_tools.whole import Clip, find_clips

    assert find_clips(tmp_path, 8) == []
    entries = [
        {"path": "noise.wav", "speech": "none"}, {"path": "a.wav", "language": "en", "transcript": "Yes."},
        {"path": "gone.wav", "language": "en"}, {"path": "b.wav", "language": "de"},
        {"path": "c.wav", "language": "en"},
    ]  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n\n" for entry in entries))
    for name in ("noise", "a", "b", "c"):
        (tmp_path / f"{name}.wav").touch()
    assert find_clips(tmp_path, 8) == [Clip(tmp_path / "a.wav", "Yes."), Clip(tmp_path / "c.wav", None)]
    assert len(find_clips(tmp_path, 1)) == 1


def test_words_are_counted_without_case_and_marks(gate):
    from gpu_tools.whole import word_error_rate

    assert word_error_rate(["And so, my fellow", "ask"], ["and so my fellow!", "Ask"]) == 0
    assert word_error_rate(["one two three four"], ["one too four"]) == 50
    assert word_error_rate([""], ["more"]) == 100


@pytest.mark.parametrize("failure", [None, "CUDA error: an illegal access"])
def test_real_models_follow_the_sizes_and_may_fail(gate, monkeypatch, tmp_path, failure):
    from gpu_tools import whole

    asked = []

    def compare(name, target, clips, weights_dir, offline):
        asked.append((name, target.dtype.name, target.code, target.tokens))
        if failure is not None:
            raise RuntimeError(failure)
        return [gate.Result(f"{name}: encoder", "1 clips", 1e-6, 1e-4)]

    monkeypatch.setattr(whole, "compare_models", compare)
    monkeypatch.setattr(whole, "find_clips", lambda folder, most: [folder])
    runs = [run(gate, choose=1.0), run(gate, form="fast", **{"encoder attention": np.nan})]
    args = SimpleNamespace(audio=tmp_path, clips=1, forms=["fast", "plain"], weights_dir=None)
    device = SimpleNamespace(is_host=False)
    found = list(gate.check_whole(["tiny.en"], [DType.float32], runs, device, "gpu:sm_90a", args, float("inf")))
    assert asked == [("tiny.en", "float32", "gpu:sm_90a", False)]  # not the form that failed, nor the device's tokens
    assert [(each.what, each.form, each.passed, each.error) for each in found] == [
        ("tiny.en", "plain", failure is None, failure)
    ]


def test_the_benchmark_takes_the_graphs_that_a_gpu_runs(gate, monkeypatch):
    from gpu_tools import timing

    from whisper_max.compile import store

    find = create_autospec(store.find_module, return_value=(b"module", "gpu:sm_90a:fast"))
    monkeypatch.setattr(timing, "find_module", find)
    for name in ("InferenceSession", "CPU", "read", "tiled_tensors", "prepare_weights"):
        monkeypatch.setattr(timing, name, MagicMock())
    device, dims = SimpleNamespace(is_host=False), gate.dims_of("tiny-shape")
    timing.Subject(dims, DType.bfloat16, device, "gpu:sm_90a:fast", Path("unused"))
    (found_dims, storage, target, _), _ = find.call_args
    assert (found_dims, storage, target.codes) == (dims, DType.bfloat16, ("gpu:sm_90a:fast",))
    assert (target.device, target.dtype, target.storage) == (device, DType.bfloat16, DType.bfloat16)


def test_the_checks_of_a_gpu_are_named_by_what_is_compiled(gate, monkeypatch):
    from gpu_tools import modules

    dims = gate.dims_of("tiny-shape")

    def name(code, dtype=DType.bfloat16):
        return modules.checks_artifact(dims, dtype, code, Path()).name

    names = [name("gpu:sm_90a:fast"), name("gpu:sm_90a"), name("gpu:sm_80"), name("gpu:sm_90a", DType.float16)]
    assert names[0].startswith("checks-128-bfloat16-gpu-sm_90a-fast-")
    assert len({each.rpartition("-")[2] for each in names}) == 4
    assert name("gpu:sm_90a") == names[1]
    monkeypatch.setattr(modules, "version", lambda package: "0")
    assert name("gpu:sm_90a") != names[1]


@pytest.mark.parametrize("wrong", [None, "reorder", "no_speech", "cross_kv"])
def test_the_smallest_graphs_are_held_against_numpy(gate, wrong):
    from gpu_tools.random_model import random_tensors
    from gpu_tools.smallest import check_smallest

    from whisper_max.engine.runtime import Placement

    dims = gate.dims_of("tiny-shape")
    tensors = random_tensors(dims, DType.float32, np.random.default_rng(0))

    def reorder(rows, slots, *caches):
        n_slots = slots[0] - (wrong == "reorder")
        for target, source in zip(caches[: len(caches) // 2], caches[len(caches) // 2 :], strict=True):
            target[:, :, :n_slots] = source[rows][:, :, :n_slots]

    def no_speech(logits, token):
        exponentials = np.exp(logits)
        return exponentials[:, token[0]] / exponentials.sum(-1 if wrong != "no_speech" else None)

    def cross_kv(xa, keys, values):
        for name, side in (("key", keys), ("value", values)):
            block = f"decoder.blocks.0.cross_attn.{name}"
            product = xa @ tensors[f"{block}.weight"].T + tensors.get(f"{block}.bias", 0)
            side[:] = product.reshape(*xa.shape[:2], dims.n_text_head, -1).transpose(0, 2, 1, 3)
        if wrong == "cross_kv":
            values[0, 0, 0, 0] = np.nan

    def graph(work):
        def execute(*inputs):
            return [Buffer.from_numpy(np.asarray(work(*(each.to_numpy() for each in inputs)), np.float32))]

        return SimpleNamespace(execute=execute)

    graphs = {"reorder": graph(reorder), "no_speech": graph(no_speech), "cross_kv": graph(cross_kv)}
    subject = SimpleNamespace(graphs=graphs | {"choose": graph(lambda *inputs: 0)}, dims=dims)
    subject.place = Placement(CPU(), DType.float32)
    results = {each.name: each.passed for each in check_smallest(subject, tensors, DType.float32)}
    assert results == {name: name != wrong for name in graphs} | {"choose": False}  # which chose nothing


def test_tokens_must_be_the_same_in_float32_and_words_nearly_so_elsewhere(gate):
    from gpu_tools.whole import Heard, compare_heard

    expected = [Heard([[1, 2]], "one two"), Heard([[3]], "three")]
    other = [Heard([[1, 9]], "one two"), Heard([[3]], "three")]
    misheard = [Heard([[1, 9]], "one nine"), Heard([[3]], "three")]

    def passed(dtype, found):
        return [each.passed for each in compare_heard("base", dtype, ["one two", None], expected, found)]

    assert passed("float32", expected) == passed("bfloat16", other) == [True, True]
    assert passed("float32", other) == [False, True]
    assert passed("bfloat16", misheard) == [True, False]


@pytest.mark.parametrize(("option", "expected"), [("dtypes", "float16, float32"), ("forms", "fast, plain")])
def test_a_name_that_does_not_exist_is_told(gate, capsys, option, expected):
    with pytest.raises(SystemExit, match="2"):
        gate.main([f"--{option}", "float31"])
    assert re.search(rf"--{option}: no such \w+: expected one of .*{expected}, found float31", capsys.readouterr().err)
