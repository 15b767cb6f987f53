"""``models`` on the command line: which there are, and where each would come from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from whisper_max.commands.console import EXIT_OK, Table, print_table
from whisper_max.commands.flags import Subcommands
from whisper_max.commands.inspect import lines

_HELP = "the models known by name, and which are on this machine"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser("models", help=_HELP, description=f"Print {_HELP}.")
    parser.add_argument("--json", action="store_true", help="print what is on this machine as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the published models as a table, where each would come from, and what is on this machine."""
    from whisper_max.errors import WhisperMaxError
    from whisper_max.measure.inspect import on_this_machine

    here = list(on_this_machine())
    if args.json:
        print(
            json.dumps([{"error": str(e)} if isinstance(e, WhisperMaxError) else e.to_dict() for e in here], indent=1)
        )
        return EXIT_OK
    _print_published()
    for found in here:
        print()
        print(found if isinstance(found, WhisperMaxError) else "\n".join(lines(found)))
    return EXIT_OK


def _print_published() -> None:
    from whisper_max.checkpoint import list_models

    columns = ("name", "mels>", "blocks>", "width>", "languages", "weights", "hub id")
    rows = []
    for model in list_models():
        dims = model.dims
        name = " = ".join((model.name, *model.aliases))
        blocks = f"{dims.n_audio_layer}+{dims.n_text_layer}"
        languages = str(dims.num_languages) if dims.is_multilingual else "English"
        weights = model.location
        if weights == "hub" and model.extra is not None:
            weights = f"hub, or extra [{model.extra}]"
        if model.error is not None:
            weights = "unreadable"
        rows.append([name, str(dims.n_mels), blocks, str(dims.n_audio_state), languages, weights, model.hub_id])
    heads = [column.removesuffix(">") for column in columns]
    print_table(Table(columns, rows), map(_plain, [heads, *rows]))


def _plain(row: Sequence[str]) -> str:
    name, mels, blocks, width, languages, weights, hub_id = row
    return f"{name:<24}{mels:>5}{blocks:>9}{width:>7}  {languages:<11}{weights:<24}{hub_id}"
