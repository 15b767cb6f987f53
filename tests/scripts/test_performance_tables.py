"""The tables of docs/performance.md and docs/measured are what the JSON gives; the points of the cost curves."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.scripts import scripts_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def scripts():
    with scripts_of("bench"):
        import performance_tables
        from benchmarks import child, curves, encoders, kernels, report, stages, systems

        modules = (child, curves, encoders, kernels, report, stages, systems)
        yield SimpleNamespace(
            tables=performance_tables, **{module.__name__.rpartition(".")[2]: module for module in modules}
        )


def summary(seconds, wer=5.0, runs=3):
    spread = {"median": seconds, "min": seconds - 1, "max": seconds + 1}
    figures = dict.fromkeys(("load", "first_text", "first", "process", "peak_mb"), spread)
    return {"runs": runs, "versions": {"max": "26.7.0"}, **figures, "texts": 1, "wer": wer, "note": ""}


@pytest.fixture
def result():
    return {
        "kind": "systems",
        "audio": "a.wav",
        "model": "base",
        "rounds": 3,
        "seconds": 60.0,
        "machine": {"platform": "L", "processor": "P", "python": "3", "threads": 2},
        "conversions": {"ggml-f16.bin": 1.25},
        "missing": {"openai-whisper-cuda": "no CUDA device"},
        "summaries": {"openai-whisper": summary(20.0), "ours-float32": summary(5.0, wer=None)},
    }


# ---------------------------------------------------------------- the document


def test_the_documents_tables_are_what_the_results_give(scripts):
    docs = REPOSITORY / "docs"
    places = 0
    for path in scripts.tables.pages(docs):
        page = path.read_text(encoding="utf-8")
        to_charts = "" if path.parent == docs / "measured" else "measured/"
        assert scripts.tables.with_tables(page, docs / "measured", to_charts) == page
        places += len(scripts.tables.PLACE.findall(page))
        assert len(scripts.tables.PLACE.findall(page)) == page.count("<!-- table: ")
    assert places > 5


def test_a_place_is_filled_from_its_json_or_says_that_there_is_none(scripts, result, tmp_path):
    document = "a\n<!-- table: systems x.json -->\nold\n<!-- end of table -->\nb\n"
    missing = scripts.tables.with_tables(document, tmp_path)
    assert missing == document.replace("old", "\nNot measured yet: no `x.json`.\n")
    (tmp_path / "x.json").write_text(json.dumps(result))
    filled = scripts.tables.with_tables(missing, tmp_path)
    assert filled == document.replace("old", f"\n{scripts.report.table(result)}\n\n![x](x.svg)\n")
    assert scripts.tables.with_tables(filled, tmp_path) == filled


def test_an_unknown_table_is_an_error(scripts, result, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(result))
    with pytest.raises(KeyError, match="pies"):
        scripts.tables.with_tables("<!-- table: pies x.json -->\n<!-- end of table -->", tmp_path)


# ---------------------------------------------------------------- the tables


def test_the_table_of_kernels_holds_each_against_the_peak_that_bounds_it(scripts):
    names = ("name", "bound", "nanoseconds", "operations", "bytes")
    figures = [
        ("peak: reading memory", "memory", 2e6, 0, 40_000_000),
        ("peak: vnni", "vnni", 1e6, 400_000_000, 0),
        ("int8 layer", "vnni", 2e6, 600_000_000, 1000),
        ("int8 decoder block", "memory", 1e6, 1000, 15_000_000),
    ]
    result = {"machine": {"model": "17"}, "figures": [dict(zip(names, figure, strict=True)) for figure in figures]}
    assert scripts.kernels.table(result) == (
        "model 17; one core, its processor time, the fastest of many runs.\n\n"
        "| kernel (rows x depth x columns) | ms | bound | Gop/s or GB/s | of the peak |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| peak: reading memory | 2.000 | memory | 20.0 | 100% |\n"
        "| peak: vnni | 1.000 | vnni | 400.0 | 100% |\n"
        "| int8 layer | 2.000 | vnni | 300.0 | 75% |\n"
        "| int8 decoder block | 1.000 | memory | 15.0 | 75% |"
    )


def test_encoders_are_told_the_quickest_first(scripts):
    found = {"slow": [0.4, 0.6, 0.5], "ours-int8": [0.25, 0.26, 0.24]}
    machine = {"processor": "P", "threads": 2}
    assert scripts.encoders.table({"machine": machine, "models": {"small": found}}).splitlines() == [
        "One window at a time; P, 2 threads.",
        "",
        "| model's shape | system | ms a window, median (least) | times as long as ours-int8 |",
        "| --- | --- | --- | --- |",
        "| small | ours-int8 | 250 (240) | 1.00 |",
        "| small | slow | 500 (400) | 2.00 |",
    ]


def test_the_table_of_systems(scripts, result):
    assert scripts.report.table(result) == (
        "a.wav, 60 s of speech, base; P, 2 threads, Python 3; medians of 3 rounds in turn.\n\n"
        "| system | load s | first text s | transcribe s (min-max) | x real time | process s | peak MB | WER % |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| openai-whisper | 20.00 | 20.00 | 20.00 (19.00-21.00) | 3.0 | 20.00 | 20 | 5.00 |\n"
        "| ours-float32 | 5.00 | 5.00 | 5.00 (4.00-6.00) | 12.0 | 5.00 | 5 | - |\n"
        "\nNot here: openai-whisper-cuda (no CUDA device).\n"
        "\nVersions: max 26.7.0.\n"
        "\nMaking the peers' formats, once and apart: ggml-f16.bin 1.2 s."
    )


def test_one_round_has_no_spread(scripts, result):
    result["summaries"] = {"ours-int8": summary(5.0, runs=1)}
    table = scripts.report.table(result)
    assert "one round, which says nothing of the spread." in table
    assert "| 5.00 | 12.0 |" in table


def test_the_four_tiers_say_what_was_not_measured(scripts, result):
    assert scripts.report.tiers(result).splitlines()[2:] == [
        "| reference, CPU | openai-whisper | 20.00 | 3.0 | 1.00 | 20 | 5.00 |",
        "| reference, GPU | openai-whisper-cuda | not measured (no CUDA device) | | | | |",
        "| MAX | ours-float32 | 5.00 | 12.0 | 4.00 | 5 | - |",
        "| MAX fast | ours-int8-batch8 | not measured | | | | |",
    ]
    del result["summaries"]["openai-whisper"]
    assert "| MAX | ours-float32 | 5.00 | 12.0 | - | 5 | - |" in scripts.report.tiers(result)
    assert set(scripts.systems.TIERS.values()) <= set(scripts.systems.SYSTEMS)


def test_the_tables_of_stages(scripts):
    step = {"stage": "step", "items": 1, "median": 0.01, "min": 0.009, "floor": 0.005, "n_bytes": 1e8, "flops": 1e8}
    mel = {"stage": "log-mel", "items": 1, "median": 0.02, "min": 0.019}
    result = {
        "options": {"model": "base"},
        "target": "cpu:x float32",
        "audio": {"name": "a.wav", "seconds": 60.0},
        "machine": {"processor": "P", "threads": 2},
        "versions": {"max": "26"},
        "peaks": {"flops": 1e11, "bandwidth": 2e10},
        "stages": [mel, step],
        "whole": {
            **{"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3, "windows": 2, "steps": 8, "everything else": 1.5},
            "stages": {"step": {"calls": 4, "seconds": 0.5, "floor": 0.25}},
        },
    }
    assert scripts.stages.table(result).splitlines()[4:] == [
        "| log-mel | 20.00 (19.00) | - | - |  |",
        "| step, 1 window | 10.00 (9.00) | 5.00 | 2.0 | 100 tokens/s, 10.00 ms/token, 10.0 GB/s |",
    ]
    assert scripts.stages.whole_table(result).splitlines() == [
        "base on cpu:x float32; a.wav, 60 s: 2.00 s (median of 3, 1.00-3.00), 30.0 x real time, 2 windows, 8 tokens.",
        "",
        "| stage | calls | s | floor s | % of all |",
        "| --- | --- | --- | --- | --- |",
        "| step | 4 | 0.50 | 0.25 | 25.0 |",
        "| everything else | | 1.50 | - | 75.0 |",
    ]


# ---------------------------------------------------------------- the curves


def test_along_a_curve_only_one_thing_differs_and_no_point_comes_twice(scripts):
    point = scripts.curves.Point
    points = scripts.curves.points_of(["int8"], [30.0, 1.0, 10.0], [1, 4], [1, 2], 10.0, 2)
    assert points == [
        point("int8", 1.0, 1, 2),
        point("int8", 10.0, 1, 2),
        point("int8", 10.0, 4, 2),
        point("int8", 10.0, 1, 1),
        point("int8", 30.0, 1, 2),
    ]
    assert [each.system for each in points[1:3]] == ["ours-int8", "ours-int8-batch4"]


def curve(scripts, points):
    run = {"first": 9.0, "warm": 6.0, "load": 1.0, "peak_mb": 100.0, "versions": {"max": "26"}}
    machine = {"processor": "P", "python": "3"}
    usual = {"kind": "curves", "audio": "a.wav", "model": "base", "minutes": 10.0, "threads": 2, "machine": machine}
    return {**usual, "points": [point.measured(run) for point in points]}


def test_points_are_read_back_and_tabled_by_curve(scripts):
    points = scripts.curves.points_of(["int8"], [1.0, 30.0], [1, 4], [1], 10.0, 2)
    result = curve(scripts, points)
    assert [scripts.curves.Point.of(each) for each in result["points"]] == points
    rows = [line for line in scripts.curves.table(result).splitlines() if line.startswith("| ") and "int8" in line]
    assert rows == [
        "| 1 | int8 | 6.00 | 10.0 | 100 |",
        "| 10 | int8 | 6.00 | 100.0 | 100 |",
        "| 30 | int8 | 6.00 | 300.0 | 100 |",
        "| 1 | int8 | 6.00 | 100.0 | 100 |",
        "| 4 | int8 | 6.00 | 100.0 | 100 |",
        "| 1 | int8 | 6.00 | 100.0 | 100 |",
        "| 2 | int8 | 6.00 | 100.0 | 100 |",
    ]


def test_a_run_goes_on_where_the_json_ends(scripts, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="the group benchmark is not installed")
    pytest.importorskip("psutil", reason="the group benchmark is not installed")
    import cost_curves

    measured = []

    def run_child(name, audio, _python, asked):
        measured.append((name, audio.name, asked.threads))
        if name.endswith("batch4"):
            return {"failed": "no room"}
        return {"first": 30.0, "load": 1.0, "peak_mb": 100.0, "versions": {"max": "26"}, "text": ""}

    monkeypatch.setattr(cost_curves, "run_child", run_child)
    monkeypatch.setattr(cost_curves, "write_recording", lambda *_: None)
    monkeypatch.setattr(cost_curves, "usable_threads", lambda: 2)
    monkeypatch.setattr(cost_curves, "cache_dir", lambda: tmp_path / "cache")
    out = tmp_path / "measured" / "curves.json"
    command = ["cost_curves.py", "--audio", "talk.flac", "--json", str(out), "--compute_types", "int8"]
    few = ["--lengths", "1", "--batches", "--threads"]
    monkeypatch.setattr(sys, "argv", [*command, *few])
    assert cost_curves.main() == 0
    assert measured == [("ours-int8", "talk.flac_1min.wav", 2)]
    monkeypatch.setattr(sys, "argv", [*command, "--lengths", "1", "10", "--batches", "4", "--threads", "1"])
    assert cost_curves.main() == 1
    assert measured[1:] == [
        ("ours-int8", "talk.flac_10min.wav", 2),
        ("ours-int8-batch4", "talk.flac_10min.wav", 2),
        ("ours-int8", "talk.flac_10min.wav", 1),
    ]
    assert len(json.loads(out.read_text())["points"]) == 3
    assert "no room" in capsys.readouterr().out
    assert {path.name for path in out.parent.iterdir()} == {"curves.json", "curves.png", "curves.svg"}
    monkeypatch.setattr(sys, "argv", [*command, *few, "--model", "tiny.en"])
    with pytest.raises(SystemExit, match="of another model: base"):
        cost_curves.main()


def test_ours_runs_in_batches_of_any_size(scripts):
    assert scripts.systems.system_of("ours-int8-batch3").note == "pieces in batches of 3"
    assert scripts.systems.system_of("openai-whisper") is scripts.systems.SYSTEMS["openai-whisper"]
    for name in ("ours-int8-batch0", "ours-int4-batch2", "openai-whisper-batch2"):
        with pytest.raises(KeyError):
            scripts.systems.system_of(name)


def test_charts_are_drawn_of_every_kind(scripts, result, tmp_path):
    pytest.importorskip("matplotlib", reason="the group benchmark is not installed")
    whole = {"stages": {"step": {"seconds": 0.5, "floor": None}, "encoder": {"seconds": 0.5, "floor": 0.1}}}
    bench = {"options": {"model": "base"}, "target": "cpu:x", "whole": whole}
    points = scripts.curves.points_of(["int8"], [1.0, 30.0], [1, 4], [1], 10.0, 2)
    results = {"systems": result, "bench": bench, "curves": curve(scripts, points)}
    assert results.keys() == scripts.tables.CHARTS.keys()
    for kind, each in results.items():
        scripts.tables.CHARTS[kind](each, tmp_path / kind)
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
        first = (tmp_path / f"{kind}.svg").read_text()
        scripts.tables.CHARTS[kind](each, tmp_path / kind)
        assert (tmp_path / f"{kind}.svg").read_text() == first
