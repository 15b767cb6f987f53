"""The help of every command, wrong usage in one line, and the commands that README and docs show."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from whisper_max.commands import console
from whisper_max.commands.main import build_parser, main
from whisper_max.server.settings import Settings
from whisper_max.version import VERSION

ROOT = Path(__file__).parents[2]
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
        assert build_parser().parse_args(shlex.split(line)).run.__module__ == f"whisper_max.commands.{name}"


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
    assert build_parser().parse_args(shlex.split(command)).run.__module__ == f"whisper_max.commands.{name}"


@pytest.mark.parametrize("name", ["transcribe", "live", "evaluate", "verify", "bench", "serve"])
def test_every_command_that_loads_a_model_takes_the_same_flags(name: str):
    wanted = {"--model_dir", "--offline", "--compute_type", "--threads"} | ({"--device"} if name != "bench" else set())
    given = {flag for action in PARSERS[name]._actions for flag in action.option_strings}
    assert wanted <= given


def test_the_help_tells_what_the_exit_statuses_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = dict(re.findall(r"^  (\d+) +(\w.*)$", capsys.readouterr().out, re.MULTILINE))
    statuses = {console.EXIT_OK, console.EXIT_FAILED, console.EXIT_USAGE}
    statuses |= {console.EXIT_INTERRUPTED, console.EXIT_BROKEN_PIPE}
    assert set(map(int, told)) == statuses


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version(flag: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main([flag])
    assert capsys.readouterr().out == f"whisper_max {VERSION}\n"


@pytest.mark.parametrize(("shell", "begins"), [("bash", "complete -o"), ("zsh", "#compdef whisper-max")])
def test_a_shell_can_complete_commands_and_options(shell: str, begins: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("shtab", reason="the extra 'completion' is not installed")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert begins in script
    assert all(f"--{name}" in script for name in ("beam_size", "output_format", "strict_fields"))


def test_bash_takes_the_script_and_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("shtab", reason="the extra 'completion' is not installed")
    main(["completion", "bash"])
    script = tmp_path / "script.sh"
    script.write_text(capsys.readouterr().out)
    ask = (
        f"source {script}; COMP_WORDS=(whisper-max tran); COMP_CWORD=1; "
        "$(complete -p whisper-max | sed 's/.*-F \\([^ ]*\\).*/\\1/') whisper-max tran whisper-max; "
        "echo ${COMPREPLY[@]}"
    )
    ended = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=600, check=False)
    assert ended.stdout.split() == ["transcribe"], ended.stderr


def test_completion_names_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'whisper-max[completion]'" in capsys.readouterr().err


TABLE = console.Table(("name", "size>"), [["a\x1b[31m[b]", console.Cell("12", "green")]])


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int):
    """Let standard output, as it is in a test that captures it, pass for a terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_tables_and_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    on_terminal(monkeypatch, 60)
    console.print_table(TABLE, ["plain"])
    drawn = capsys.readouterr().out
    assert "\x1b[32m  12\x1b[0m" in drawn
    assert "a\\x1b[31m[b]" in drawn  # nothing that a name holds reaches the terminal, or is taken for markup
    assert "plain" not in drawn
    monkeypatch.setenv("NO_COLOR", "1")
    console.print_table(TABLE, ["plain"])
    assert "\x1b[3" not in (bare := capsys.readouterr().out)
    assert "12" in bare
    monkeypatch.setenv("TERM", "dumb")
    console.print_table(TABLE, ["plain"])
    assert capsys.readouterr().out == "plain\n"


def test_nothing_is_cut_off_where_a_terminal_is_narrow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    on_terminal(monkeypatch, 20)
    console.print_table(console.Table(("name", "path"), [["N" * 12, "P" * 17]]), [])
    drawn = capsys.readouterr().out
    assert (drawn.count("N"), drawn.count("P")) == (12, 17)
    assert all(len(line) <= 20 for line in re.sub(r"\x1b\[\d*m", "", drawn).splitlines())


def test_a_pipe_gets_the_plain_lines(capsys: pytest.CaptureFixture[str]):
    console.print_table(TABLE, ["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_a_terminal_gets_what_a_pipe_gets(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    on_terminal(monkeypatch, 400)
    assert main([command]) == 0
    drawn = capsys.readouterr().out.split()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert main([command]) == 0
    plain = capsys.readouterr().out.split()
    assert set(plain) - {"->"} <= {re.sub(r"\x1b\[\d*m", "", each) for each in drawn}


def test_a_plot_has_a_name_that_says_what_it_is(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["bench", "--plot", "speed.png"])
    assert "--plot: expected a name that ends in .svg or .html, found 'speed.png'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo a.wav", "evaluate m.jsonl", "bench"])
def test_a_dash_is_no_file_of_that_name(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([*command.split(), "--json", "-"])
    assert "--json: expected a name, found '-'" in capsys.readouterr().err
