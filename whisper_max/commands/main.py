"""The command line: ``python -m whisper_max transcribe | live | serve | evaluate | bench | ...``; ``--help`` lists all.

Exit status: 0 when all went well, 1 when any file failed, 2 for wrong usage, 130 after Ctrl-C, 141 when standard output
was closed. Transcripts and tables go to standard output; progress and one line for each error go to standard error.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

from whisper_max.commands.console import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, print_error
from whisper_max.commands.flags import TRANSCRIBE_GROUPS, HelpFormatter, Subcommands
from whisper_max.errors import OptionError, OutputError, WhisperMaxError
from whisper_max.version import VERSION

_COMMANDS = (
    *("transcribe", "batch", "align", "live", "evaluate", "bench", "compile", "export", "quantize"),
    *("serve", "demo", "verify", "debug", "models", "inspect", "doctor", "completion"),
)
"""Each is a module of this package, imported where it is needed."""
_STATUSES = """\
exit status:
  0    all went well
  1    a file or a check failed, or the system refused something
  2    wrong usage: an option that is unknown, impossible or contradicts another
  130  interrupted with Ctrl-C
  141  standard output was closed
"""
_SWITCHES = {f"--{option.name}" for _, options in TRANSCRIBE_GROUPS for option in options if option.switch}
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN}  # to an open file
_NUMBERS = re.compile(r"-\d[\d.]*(?:,-?\d[\d.]*)+")  # several, the first below 0


class Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(EXIT_USAGE, f"error: {message}; see {self.prog} --help\n")


class CommandParser(Parser):
    """The parser of a command: options have their whole names, and its help says their defaults."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **settings)


def build_parser(prog: str = "python -m whisper_max", commands: Sequence[str] = _COMMANDS) -> argparse.ArgumentParser:
    """The parser of subcommands; each sets ``run`` to the function that does it.

    Args:
        prog: how it is called.
        commands: those that it knows.
    """
    parser: argparse.ArgumentParser = Parser(
        prog=prog,
        description="Speech to text: OpenAI Whisper on MAX.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"whisper_max {VERSION}")
    subparsers: Subcommands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for command in commands:
        import_module(f"whisper_max.commands.{command}").add(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments after the program's name; those of this process when None.

    Raises:
        SystemExit: wrong usage, ``--help`` or ``--version``, as argparse does.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell, as with >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the script of a language shows escapes
    try:
        words = _plain_words(sys.argv[1:] if argv is None else argv)
        named = [word for word in words[:1] if word in _COMMANDS]
        parser = build_parser(commands=named or _COMMANDS)
        _check_switches(parser, words)
        args = parser.parse_args(words)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except OptionError as error:
        print_error(error)
        return EXIT_USAGE
    except WhisperMaxError as error:
        print_error(error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader went away, as in `| head`
        _drop_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # what has to do with a recording or a model is an error of ours by now
        if error.filename is None and error.errno in _OF_WRITING:  # of printing
            _drop_output()
            print_error(OutputError("can't be written", where="standard output", found=error.strerror))
        else:
            print_error(WhisperMaxError("refused by the system", where=error.filename, found=error.strerror or error))
        return EXIT_FAILED


def _drop_output() -> None:
    """Let go of standard output: what is still buffered must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain_words(argv: Sequence[str]) -> list[str]:
    """The arguments as argparse understands them, up to a ``--``.

    ``--output-dir=a-b`` becomes ``--output_dir=a-b``, and ``--suppress_tokens -1,50`` one word: the value looks like an
    option.
    """
    end = _end_of_options(argv)
    words: list[str] = []
    for word in argv[:end]:
        if _NUMBERS.fullmatch(word) and words and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(_underscored_flag(word))
    return words + list(argv[end:])


def _end_of_options(words: Sequence[str]) -> int:
    return words.index("--") if "--" in words else len(words)


def _check_switches(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse ``--vad True``, of which argparse takes the value for a recording; switches of ``serve`` have values."""
    for flag, word in pairwise(words[: _end_of_options(words)]):
        if flag in _SWITCHES and word.lower() in ("true", "false") and words[0] != "serve":
            parser.error(f"{flag} takes no value, found {word}: give it alone, or leave it out")


def _underscored_flag(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value
