"""``doctor`` on the command line: what is amiss on this machine, and what to do about it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from whisper_max.commands.console import EXIT_FAILED, EXIT_OK, Cell, Table, is_terminal, print_progress, print_table
from whisper_max.commands.flags import MODEL_OPTIONS, Subcommands

if TYPE_CHECKING:
    from whisper_max.measure.doctor import Check

_HELP = "check this machine, and say what to do about what is amiss"
_OF_GRAPHS = ("device", "compute_type")


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "doctor",
        help=_HELP,
        description=f"{_HELP.capitalize()}.",
        epilog="example: python -m whisper_max doctor --graphs --device gpu",
    )
    parser.add_argument(
        "--graphs", action="store_true", help="also compile a graph of one block, run it and check what it gives"
    )
    for option in MODEL_OPTIONS:
        if option.name in _OF_GRAPHS:
            option.add_to(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print one line for each check as it is made, on a terminal a table; fail where the graph of one block does."""
    changed = [name for name in _OF_GRAPHS if getattr(args, name) != args.parser.get_default(name)]
    if changed and not args.graphs:
        args.parser.error(f"--{changed[0]} needs --graphs")
    from whisper_max.measure.doctor import check_graphs, report

    checks: list[Check] = []
    for check in report():
        checks.append(check)
        if not is_terminal():
            print(check.line(), flush=True)
    if args.graphs:
        checks.append(check_graphs(args.device, args.compute_type, print_progress))
        if not is_terminal():
            print(checks[-1].line(), flush=True)
    if is_terminal():
        print_table(Table(("", "check", "found", "what to do"), [_row(check) for check in checks]), ())
    return EXIT_FAILED if args.graphs and checks[-1].advice is not None else EXIT_OK


def _row(check: Check) -> list[str | Cell]:
    mark = Cell("ok", "green") if check.advice is None else Cell("warn", "yellow")
    return [mark, check.name, check.value, check.advice or ""]
