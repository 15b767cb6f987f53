"""The help of every command, wrong usage in one line, and the commands that README and docs show."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from whisper_max.cli import build_parser, main
from whisper_max.server.settings import Settings

ROOT = Path(__file__).parents[1]
PARSERS: dict[str, argparse.ArgumentParser] = next(
    dict(action.choices) for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
)
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"(?:python -m whisper_max|whisper-max) ([a-z][^\n#|]*)")
SHORT = re.compile(rf"^((?:{'|'.join(PARSERS)}) [^|\n]+)$", re.MULTILINE)


def shown_commands() -> list[tuple[str, str]]:
    """Page and arguments of each command in README and docs; those without any are named in passing."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        code = "\n".join(block or inline for block, inline in CODE.findall(page.read_text(encoding="utf-8")))
        lines = [*COMMAND.findall(code), *SHORT.findall(code)]
        found += [(page.name, line.strip()) for line in lines if " " in line.strip()]
    return found


@pytest.mark.parametrize("name", PARSERS)
def test_help_describes_every_argument_and_shows_defaults_that_say_something(name: str):
    parser = PARSERS[name]
    text = " ".join(parser.format_help().split())
    assert text.startswith(f"usage: python -m whisper_max {name}")
    assert parser.description is not None
    assert all(action.help for action in parser._actions)
    assert "(default: None)" not in text
    assert "(default: [])" not in text
    for action in parser._actions:
        if action.nargs != 0 and action.default not in (None, []):
            assert f"(default: {action.default})" in text


@pytest.mark.parametrize("name", PARSERS)
def test_an_example_in_the_help_is_right_and_whole(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert (PARSERS[name].epilog or "") in PARSERS[name].format_help()
    for line in COMMAND.findall(PARSERS[name].epilog or ""):
        assert build_parser().parse_args(shlex.split(line)).run.__name__ == f"run_{name}"


def test_flags_of_the_server_show_the_defaults_of_its_settings():
    text = " ".join(PARSERS["serve"].format_help().split())
    settings = Settings()
    for name in ("host", "port", "model", "batch_size", "max_requests", "max_upload", "decode_workers"):
        assert f"(default: {getattr(settings, name)})" in text
    assert "seconds of a recording, decoded (default: 14400)" in text


def test_values_are_called_by_their_kind():
    text = " ".join(PARSERS["transcribe"].format_help().split())
    for shown in ("--word_timestamps True|False ", "--drop_unlikely True|False|None ", "--files_at_once N "):
        assert shown in text


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["transcribe"], "the following arguments are required: AUDIO; see python -m whisper_max transcribe --help"),
        (
            ["transcribe", "a.wav", "--beam_size", "x"],
            "argument --beam_size: expected a whole number or None, found 'x'; see python -m whisper_max transcribe"
            " --help",
        ),
        (
            ["transcribe", "a.wav", "--patience", "x"],
            "argument --patience: expected a number or None, found 'x'; see python -m whisper_max transcribe --help",
        ),
        (
            ["evaluate", "m.jsonl", "--drop_unlikely", "maybe"],
            "argument --drop_unlikely: expected True, False or None, found 'maybe'; see python -m whisper_max evaluate"
            " --help",
        ),
        (
            ["bench", "--model_dir", "no/where"],
            "argument --model_dir: no such folder: no/where; see python -m whisper_max bench --help",
        ),
        (["export"], "the following arguments are required: MODEL, DIR; see python -m whisper_max export --help"),
    ],
)
def test_wrong_usage_is_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(("page", "command"), shown_commands())
def test_a_command_in_the_documentation_is_right(page: str, command: str):
    name, *_ = shlex.split(command)
    assert build_parser().parse_args(shlex.split(command)).run.__name__ == f"run_{name}"
