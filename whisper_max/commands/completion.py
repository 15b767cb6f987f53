"""``completion`` on the command line: what a shell completes commands and options by."""

from __future__ import annotations

import argparse
from typing import Any

from whisper_max.commands.console import EXIT_OK
from whisper_max.commands.flags import Subcommands
from whisper_max.errors import OptionError

_SHELLS = ("bash", "zsh", "tcsh")
_HELP = "print what a shell completes whisper-max by"
_FILES = {"AUDIO", "FILE", "OUT", "MANIFEST"}
_FOLDERS = {"DIR"}


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "completion",
        help=_HELP,
        description=f"{_HELP.capitalize()}; it needs the extra completion.",
        epilog="example: whisper-max completion bash",
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        OptionError: the extra ``completion`` is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        hint = "install the extra: pip install 'whisper-max[completion]'"
        raise OptionError("is not installed", where="completion", hint=hint) from error
    from whisper_max.commands.main import build_parser

    parser = build_parser("whisper-max")
    _tell_files(parser, {name: shtab.FILE for name in _FILES} | {name: shtab.DIRECTORY for name in _FOLDERS})
    print(shtab.complete(parser, shell=args.shell))
    return EXIT_OK


def _tell_files(parser: argparse.ArgumentParser, kinds: dict[str, Any]) -> None:
    """Mark the arguments of a parser, and of its commands, that are files or folders."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _tell_files(command, kinds)
        elif action.metavar in kinds:
            vars(action)["complete"] = kinds[str(action.metavar)]
