"""A file that could not be written at the end is refused before anything takes long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import whisper_max
from whisper_max.commands.main import main


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "manifest.jsonl", "--json", "file/out.json"],
        ["bench", "--json", "file/out.json"],
        ["live", "-o", "file/out.srt"],
        ["compile", "tiny", "--target", "cpu:x86-64-v3", "-o", "file"],
        ["evaluate", "manifest.jsonl", "--json", "folder"],
    ],
)
def test_it_is_refused_at_once(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("whisper_normalizer", reason="the extra evaluate is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    entry = {"path": "a.wav", "transcript": "a", "language": "en"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(entry) + "\n")

    def not_reached(*_args: object, **_options: object) -> None:
        raise AssertionError("it takes long")

    monkeypatch.setattr(whisper_max, "load_model", not_reached, raising=False)
    monkeypatch.setattr("whisper_max.compile.build.compile_artifact", not_reached)
    assert main(command) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {command[-1]}: can't be written: found ")
    assert len(shown.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "manifest.jsonl"]
