"""``python -m whisper_max.compat run PROGRAM``: a program written for another Whisper package, as it is.

Exit status: the program's own; 2 where it can't be found or is not in Python.
"""

from __future__ import annotations

import argparse
import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from whisper_max.compat.aliases import PEERS, install
from whisper_max.errors import OptionError

_EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program in this process, with the adapters under the peers' names.

    Args:
        argv: the arguments after ``whisper_max.compat``; those of this process when None.

    Raises:
        SystemExit: wrong usage, and whatever the program ends with.
    """
    parser = argparse.ArgumentParser(
        prog="python -m whisper_max.compat", description=f"Whisper MAX for programs that import {' or '.join(PEERS)}."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run a program unchanged", usage="%(prog)s [-m] PROGRAM [ARGUMENT]...")
    run.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module, as for python -m")
    run.add_argument("program", metavar="PROGRAM", help="a Python file, or an installed program by name")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="handed to the program")
    args = parser.parse_args(argv)
    try:
        install()
        path = None if args.module else _script(args.program)
    except OptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_USAGE
    sys.argv = [args.program if path is None else str(path), *args.arguments]
    if path is None:
        runpy.run_module(args.program, run_name="__main__", alter_sys=True)
    else:
        if path.is_file():  # a folder's is inserted by runpy, as python does
            sys.path.insert(0, str(path.resolve().parent))
        runpy.run_path(str(path), run_name="__main__")
    return 0


def _script(program: str) -> Path:
    """The file of a program: a path, or a name that the shell would find.

    Raises:
        OptionError: there is none, or it is not in Python.
    """
    found = program if Path(program).exists() else shutil.which(program)
    if found is None:
        raise OptionError("no such file, and no installed program", where="PROGRAM", found=program)
    path = Path(found)
    if path.is_file() and path.suffix not in (".pyz", ".zip"):
        try:
            compile(path.read_bytes(), found, "exec")
        except (SyntaxError, ValueError) as error:
            raise OptionError("not a Python program", where=found, found=error) from error
    return path


if __name__ == "__main__":
    sys.exit(main())
