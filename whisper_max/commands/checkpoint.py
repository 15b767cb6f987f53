"""The checkpoint that a command reads without loading a model: its flags, and the names of targets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.commands.console import print_progress
from whisper_max.commands.flags import MODEL_OPTIONS

if TYPE_CHECKING:
    from whisper_max.checkpoint import Checkpoint

TARGET_HELP = "cpu:x86-64-v3, cpu:x86-64-v4, cpu:neoverse-n1, cpu:native, cuda:sm_90a, hip:gfx942...; several at once"
COMPUTE_TYPES = "auto, float32 or int8 on a CPU; auto, bfloat16, float16 or float32 on a GPU"


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """Register the flags that ``checkpoint_from`` reads."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_OPTIONS[0].help)
    for option in MODEL_OPTIONS:
        if option.name in ("model_dir", "offline"):
            option.add_to(parser)


def checkpoint_from(args: argparse.Namespace) -> Checkpoint:
    """The checkpoint of a command's arguments.

    Raises:
        WhisperMaxError: there is none, or it can't be read.
    """
    from whisper_max.checkpoint import read_checkpoint, resolve

    folder = Path(args.model_dir) if args.model_dir else None
    return read_checkpoint(resolve(args.model, offline=args.offline, weights_dir=folder, announce=print_progress))
