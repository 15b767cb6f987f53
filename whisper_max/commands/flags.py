"""The options of ``transcribe`` on the command line: openai-whisper's names and defaults, and a few of our own."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from whisper_max.audio.vad_options import VadOptions
from whisper_max.errors import OptionError
from whisper_max.files.remote import Place, place
from whisper_max.options import OptionField, options_of
from whisper_max.output import FORMATS, WriterOptions
from whisper_max.text.languages import spoken_language
from whisper_max.transcribe.options import TranscribeOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add_subparsers`` returns."""


@dataclass(frozen=True)
class Option:
    """One option: what argparse needs.

    switch: it takes no value and is False unless given. unset: what holds where the option is not given, when that is
    not its default, None.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    choices: Sequence[str] | None = None
    short: str | None = None
    switch: bool = False
    unset: str | None = None

    @property
    def shown_default(self) -> str:
        """The default as help and guide show it."""
        return str(self.default) if self.unset is None else self.unset

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Register the option with argparse."""
        flags = [f"--{self.name}"] if self.short is None else [f"--{self.name}", self.short]
        if self.switch:
            parser.add_argument(*flags, action="store_true", help=self.help)
            return
        metavar = None if self.choices else _METAVARS.get(self.parse, self.name.rsplit("_", 1)[-1].upper())
        help = self.help if self.unset is None else f"{self.help} (default: {self.unset})"
        parser.add_argument(
            *flags, type=self.parse, default=self.default, choices=self.choices, help=help, metavar=metavar
        )


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, except those that say nothing: of a switch, of what is unset. Examples are not wrapped."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.nargs == 0 or action.default is None or action.default == []
        return action.help if says_nothing else super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("example") else super()._fill_text(text, width, indent)


def boolean(text: str) -> bool:
    """``True`` or ``False``, in any case."""
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")
    return values[text.lower()]


def optional_boolean(text: str) -> bool | None:
    """``True``, ``False`` or ``None``."""
    try:
        return None if text == "None" else boolean(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"expected True, False or None, found {text!r}") from error


def optional_int(text: str) -> int | None:
    """A whole number, or ``None``."""
    try:
        return None if text == "None" else int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a whole number or None, found {text!r}") from error


def optional_float(text: str) -> float | None:
    """A number, or ``None``."""
    try:
        return None if text == "None" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number or None, found {text!r}") from error


def optional_text(text: str) -> str | None:
    """A text, or ``None``."""
    return None if text == "None" else text


def temperature_step(text: str) -> float | None:
    """A step from one temperature to the next, or ``None``; a fine one would decode a window thousands of times."""
    step = optional_float(text)
    if step is not None and not _LEAST_STEP <= step < math.inf:
        raise argparse.ArgumentTypeError(f"expected {_LEAST_STEP} or more, or None, found {text!r}")
    return step


def folder(text: str) -> str:
    """The path of a folder that is there."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"no such folder: {text}")
    return text


def output_file(text: str) -> Place:
    """Where a file is to be written: a path, or a URL of a store."""
    if text == "-":  # standard output elsewhere: here it would be a file that hardly anybody wants
        raise argparse.ArgumentTypeError("expected a name, found '-'; ./- if a file of that name is meant")
    try:
        return place(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def language(text: str) -> str | None:
    """A language's code, from its code, tag or English name; ``None`` or ``auto`` to detect it."""
    if text == "None":
        return None
    try:
        return spoken_language(text, where=None)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def adapters(text: str) -> tuple[str, ...]:
    """LoRA adapters with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def plot_file(text: str) -> Place:
    """Where a picture is to be written: its suffix says which kind."""
    path = output_file(text)
    if not path.name.lower().endswith(PLOT_SUFFIXES):
        raise argparse.ArgumentTypeError(f"expected a name that ends in {' or '.join(PLOT_SUFFIXES)}, found {text!r}")
    return path


def add_plot_option(parser: argparse._ActionsContainer, what: str) -> None:
    """Register ``--plot`` with a command. what: it draws."""
    parser.add_argument(
        "--plot",
        type=plot_file,
        metavar="FILE",
        help=f"draw {what}: a picture (.svg) or a page with the numbers (.html)",
    )


def output_formats(text: str) -> tuple[str, ...]:
    """Formats with commas between; ``all`` for every one."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in (*FORMATS, "all")]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected {', '.join(FORMATS)} or all, found {unknown[0]!r}")
    return FORMATS if "all" in names else tuple(dict.fromkeys(names))


PLOT_SUFFIXES = (".svg", ".html")
_LEAST_STEP = 0.01  # 101 temperatures from 0 to 1
_METAVARS: dict[Callable[[str], Any], str] = {
    boolean: "True|False",
    optional_boolean: "True|False|None",
    int: "N",
    optional_int: "N",
    float: "NUMBER",
    optional_float: "NUMBER",
    temperature_step: "NUMBER",
    folder: "DIR",
    adapters: "ADAPTER[,...]",
}

_STEP = "step to the next temperature; None: no fallback"
_RESUME = "go on where a run was cut off: skip recordings whose transcripts are newer, finish what has a journal"

# int and float as themselves: argparse names them in its messages ("invalid float value: 'x'").
MODEL_OPTIONS = (
    Option("model", str, "base", "name, folder, file or hub id of the model"),
    Option("model_dir", folder, None, "folder to look for weights in", unset="$WHISPER_MAX_WEIGHTS, else weights"),
    Option("device", str, "auto", "auto, cpu, gpu or gpu:N"),
    Option("compute_type", str, "auto", "auto, float32, int8 (CPU), bfloat16 or float16 (GPU)"),
    Option("threads", int, 0, "CPU threads; 0: every core that may be used"),
    Option("gpu_memory_utilization", optional_float, None, "share of a GPU's free memory to plan with", unset="0.9"),
    Option("fp16", boolean, None, "openai-whisper's name for --compute_type float16 (True, on a GPU) or float32"),
    Option("lora", adapters, (), "LoRA adapters to merge, with commas: folder or hub id, =0.5 for half", unset="none"),
    Option("offline", boolean, False, "never ask the hub", switch=True),
)

OUTPUT_OPTIONS = (
    Option("output_dir", str, ".", "folder to write transcripts to, or its URL", short="-o"),
    Option("output_format", output_formats, "all", f"any of {', '.join(FORMATS)}, with commas; or all", short="-f"),
    Option("verbose", boolean, True, "print the segments as they come"),
    Option("resume", boolean, False, _RESUME, switch=True),
)


def of_fields(holder: type[DataclassInstance], names: Collection[str] = ()) -> tuple[Option, ...]:
    """The options among the fields of a dataclass that the command line has; those of some names only, if any."""
    offered = (each for each in options_of(holder) if "command" in each.doors)
    return tuple(_of_field(each) for each in offered if not names or each.name in names)


def _of_field(about: OptionField) -> Option:
    parse = _PARSERS.get(about.kinds, str)
    switch = about.kinds == ("bool",) and about.default is False and about.name not in _WITH_A_VALUE
    option = Option(about.name, parse, about.default, about.help, about.choices, switch=switch, unset=about.unset)
    return replace(option, **_OTHERWISE.get(about.name, {}))


def _of_vad(about: OptionField) -> Option:
    """None, so that the default in ``VadOptions`` counts."""
    unset = about.unset or f"{about.default:g}"
    return Option(f"vad_{about.name}", float, None, about.help, unset=unset)


_PARSERS: dict[tuple[str, ...], Callable[[str], Any]] = {
    ("bool",): boolean,
    ("bool", "None"): optional_boolean,
    ("int",): int,
    ("int", "None"): optional_int,
    ("float",): float,
    ("float", "None"): optional_float,
    ("int", "str", "None"): optional_text,
}
# True or False, as openai-whisper's, or beside one that is.
_WITH_A_VALUE = (
    *("word_timestamps", "carry_initial_prompt", "highlight_words", "karaoke", "strict", "align_segments"),
)
_OTHERWISE: dict[str, dict[str, Any]] = {
    "language": {"parse": language},
    "best_of": {"default": 5},
    "temperature": {"parse": float, "default": 0.0},  # the first; the step to the next is an option of its own
}
_FALLBACK = Option("temperature_increment_on_fallback", temperature_step, 0.2, _STEP)
_OF_WORDS = (
    "word_timestamps",
    "align_segments",
    "prepend_punctuations",
    "append_punctuations",
    "hallucination_silence_threshold",
)

WORD_OPTIONS = of_fields(TranscribeOptions, _OF_WORDS)
DECODING_OPTIONS = (*(each for each in of_fields(TranscribeOptions) if each.name not in _OF_WORDS), _FALLBACK)
VAD_OPTIONS = tuple(_of_vad(each) for each in options_of(VadOptions))
LAYOUT_OPTIONS = of_fields(WriterOptions)

OTHER_OPTIONS = (Option("files_at_once", int, 1, "recordings to decode side by side; each comes out as it does alone"),)

TRANSCRIBE_GROUPS = (
    ("model", MODEL_OPTIONS),
    ("output", OUTPUT_OPTIONS),
    ("decoding", DECODING_OPTIONS),
    ("voice activity", VAD_OPTIONS),
    ("words", WORD_OPTIONS),
    ("subtitle", LAYOUT_OPTIONS),
    ("other", OTHER_OPTIONS),
)
