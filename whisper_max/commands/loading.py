"""The model that a command's flags name: the same flags wherever one is loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from whisper_max.commands.console import print_progress
from whisper_max.commands.flags import MODEL_OPTIONS

if TYPE_CHECKING:
    from whisper_max.api import Model


def add_model_options(parser: argparse._ActionsContainer, but: tuple[str, ...] = ()) -> None:
    """Register the flags that ``load_from`` reads, but for some that the command has otherwise."""
    for option in MODEL_OPTIONS:
        if option.name not in but:
            option.add_to(parser)


def load_from(args: argparse.Namespace) -> Model:
    """The model of a command's arguments.

    Raises:
        WhisperMaxError: as ``whisper_max.load_model``.
    """
    import whisper_max

    arguments = model_arguments(args)
    return whisper_max.load_model(arguments.pop("model"), **arguments, progress=print_progress)


def model_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``load_model``, less what is told while it loads."""
    return {
        "model": args.model,
        "device": args.device,
        "compute_type": _compute_type(args),
        "threads": args.threads or None,
        "gpu_memory_utilization": args.gpu_memory_utilization,
        "lora": args.lora,
        "offline": args.offline,
        "weights_dir": args.model_dir,
    }


def _compute_type(args: argparse.Namespace) -> str:
    if args.fp16 is None:
        return str(args.compute_type)
    if args.compute_type != "auto":
        args.parser.error("--fp16 and --compute_type can't be given together")
    return "float16" if args.fp16 and not _is_cpu(args.device) else "float32"


def _is_cpu(device: str) -> bool:
    """Whether a device is the CPU, which has no float16: openai-whisper says so, and computes in float32."""
    from whisper_max.hardware.target import select_target

    if not select_target(device).is_cpu:
        return False
    print_progress("--fp16 True: a CPU has no float16, computing in float32")
    return True
