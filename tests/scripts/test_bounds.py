"""What scripts/bench/bounds.py makes of figures: rates, verdicts, and what it need not measure again."""

import json
from pathlib import Path

import pytest

from tests.support.scripts import scripts_of
from whisper_max.measure.evaluate import ManifestEntry


@pytest.fixture
def bounds():
    pytest.importorskip("jiwer", reason="the extra 'evaluate' is not installed")
    with scripts_of("bench"):
        import bounds as module

        yield module


def entry(name, transcript, seconds=5.0, language="en"):
    return ManifestEntry(Path(name), name, transcript, language, {"seconds": seconds})


ENTRIES = [entry("a.wav", "a boat came in with fish and some salt"), entry("b.wav", "ten")]


def results(ours):
    texts = {"a.wav": " A boat came in with fish and some salt.", "b.wav": " Ten."}
    parts = {"openai-whisper": texts, "ours": texts | ours}
    return {
        f"{who}, {search}": {name: {"text": text} for name, text in of.items()}
        for who, of in parts.items()
        for search in ("greedy", "beam 5")
    }


@pytest.mark.parametrize(
    ("ours", "kept", "row"),
    [
        ({}, True, "| greedy | 0.000 | 0.000 | +0.000 | 2 of 2 | 2 of 2 |"),
        ({"b.wav": " ten"}, True, "| greedy | 0.000 | 0.000 | +0.000 | 1 of 2 | 2 of 2 |"),
        ({"b.wav": " Eleven."}, False, "| greedy | 0.000 | 10.000 | +10.000 | 1 of 2 | 1 of 2 |"),
    ],
)
def test_rates_side_by_side(bounds, capsys, ours, kept, row):
    assert bounds.report_wer(results(ours), "ours", ENTRIES) is kept
    out = capsys.readouterr().out
    assert row in out.splitlines()
    assert ("b.wav, greedy:" in out) == bool(ours)


def test_words_cost_their_median(bounds, capsys):
    runs = {f"a.wav, run {run}": [{"elapsed": 10.0}, {"elapsed": time}] for run, time in enumerate([11, 50, 11.5])}
    assert bounds.report_words({"words": runs}, "words", Path("a.wav"), 3)
    assert "cost 15.0 % (10.0 to 400.0, 3 runs)" in capsys.readouterr().out
    runs["a.wav, run 0"][1]["elapsed"] = 13.0
    assert not bounds.report_words({"words": runs}, "words", Path("a.wav"), 3)


@pytest.mark.parametrize(("elapsed", "text", "kept"), [(6.0, "ten", True), (7.0, "ten", False), (6.0, "two", False)])
def test_batches_gain_speed_and_lose_no_words(bounds, elapsed, text, kept):
    runs = {"b.wav, run 0": [{"elapsed": 10.0, "text": "Ten."}, {"elapsed": elapsed, "text": text}]}
    assert bounds.report_batch({"batch": runs}, "batch", ENTRIES, [Path("b.wav")], 1) is kept


def test_a_rerun_measures_only_what_is_missing(bounds, tmp_path):
    path = tmp_path / "bounds.json"
    assert bounds.Kept(path, "base").once("part", "a.wav", lambda: 1) == 1
    again = bounds.Kept(path, "base")
    assert again.once("part", "a.wav", lambda: 2) == 1
    again.forget(["part"])
    assert again.once("part", "a.wav", lambda: 2) == 2
    assert json.loads(path.read_text()) == {"model": "base", "part": {"a.wav": 2}}
    with pytest.raises(SystemExit, match=r"is of base, not of tiny\.en"):
        bounds.Kept(path, "tiny.en")


def test_recordings_are_english_and_short_enough(bounds):
    entries = [entry("a", "x"), entry("b", "x", 100.0), entry("c", "x", language="de"), entry("d", "x")]
    assert [each.name for each in bounds.english(entries, 60.0, None)] == ["a", "d"]
    assert [each.name for each in bounds.english(entries, 1000.0, 2)] == ["a", "b"]
