"""The options of ``transcribe`` on the command line: openai-whisper's names and defaults, and a few of our own."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_max.errors import OptionError
from whisper_max.output import FORMATS
from whisper_max.text.languages import language_code


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


def language(text: str) -> str | None:
    """A language's code, from its code or English name; ``None`` to detect it."""
    if text == "None":
        return None
    try:
        return language_code(text, where=None)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def output_formats(text: str) -> tuple[str, ...]:
    """Formats with commas between; ``all`` for every one."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in (*FORMATS, "all")]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected {', '.join(FORMATS)} or all, found {unknown[0]!r}")
    return FORMATS if "all" in names else tuple(dict.fromkeys(names))


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
}

_LENGTH = "0 to 1, exponent of the length penalty, arXiv:1609.08144; None: by length alone"
_SILENCE = "skip silence longer than this, in seconds, around text that was probably never said; None: don't"
_STEP = "step to the next temperature; None: no fallback"
_RESUME = "go on where a run was cut off: skip recordings whose transcripts are newer, finish what has a journal"

# int and float as themselves: argparse names them in its messages ("invalid float value: 'x'").
MODEL_OPTIONS = (
    Option("model", str, "base", "name, folder, file or hub id of the model"),
    Option("model_dir", folder, None, "folder to look for weights in", unset="$WHISPER_MAX_WEIGHTS, else weights"),
    Option("device", str, "auto", "auto, cpu, gpu or gpu:N"),
    Option("compute_type", str, "auto", "auto, float32, int8 (CPU), bfloat16 or float16 (GPU)"),
    Option("offline", boolean, False, "never ask the hub", switch=True),
)

OUTPUT_OPTIONS = (
    Option("output_dir", str, ".", "folder to write transcripts to", short="-o"),
    Option("output_format", output_formats, "all", f"any of {', '.join(FORMATS)}, with commas; or all", short="-f"),
    Option("verbose", boolean, True, "print the segments as they come"),
    Option("resume", boolean, False, _RESUME, switch=True),
)

DECODING_OPTIONS = (
    Option("task", str, "transcribe", "transcribe, or translate to English", choices=("transcribe", "translate")),
    Option("language", language, None, "language spoken, by code or English name; None: detect it"),
    Option("language_detection_segments", int, 1, "windows of 30 s to detect the language in"),
    Option("language_detection_threshold", float, 0.5, "a window surer of its language than this decides alone"),
    Option("multilingual", boolean, False, "detect the language of every window", switch=True),
    Option("temperature", float, 0.0, "0: most likely token; above 0: sample"),
    Option("best_of", optional_int, 5, "samples to choose from when the temperature is above 0, at most 64"),
    Option("beam_size", optional_int, None, "hypotheses of the beam search at temperature 0, at most 64; None: greedy"),
    Option("patience", optional_float, None, "patience of the beam search, arXiv:2204.05424; None: 1"),
    Option("length_penalty", optional_float, None, _LENGTH),
    Option("suppress_tokens", str, "-1", "token ids never to be sampled, separated by commas; -1: non-speech symbols"),
    Option("suppress_regex", str, None, "tokens whose whole text matches are never sampled"),
    Option("suppress_numerals", boolean, False, "never sample digits and currency signs", switch=True),
    Option("suppress_blank", boolean, True, "no blank at the start of a window"),
    Option("repetition_penalty", float, 1.0, "above 1: makes tokens that were already said less likely"),
    Option("no_repeat_ngram_size", int, 0, "sequences of so many tokens are never said twice; 0: no limit"),
    Option("prefix", str, None, "text that every window's transcript begins with"),
    Option("hotwords", str, None, "words to expect, put before every window"),
    Option("without_timestamps", boolean, False, "decode without timestamp tokens", switch=True),
    Option("max_initial_timestamp", optional_float, 1.0, "seconds within which the first timestamp must lie"),
    Option("sample_len", optional_int, None, "most tokens in a window; None: half the model's context"),
    Option("seed", int, 0, "of the samples drawn at temperatures above 0"),
    Option("initial_prompt", str, None, "text that precedes the first window, for names and spelling"),
    Option("carry_initial_prompt", boolean, False, "put the initial prompt before every window"),
    Option("condition_on_previous_text", optional_boolean, None, "prompt with the text before; None: if not batched"),
    Option("temperature_increment_on_fallback", temperature_step, 0.2, _STEP),
    Option("compression_ratio_threshold", optional_float, 2.4, "a text that compresses better than this has failed"),
    Option("logprob_threshold", optional_float, -1.0, "an average log probability below this has failed"),
    Option("no_speech_threshold", optional_float, 0.6, "a failed window with more no-speech than this is silence"),
    Option("drop_unlikely", optional_boolean, None, "no text of a window where no temperature helps; None: with --vad"),
    Option("prompt_reset_on_temperature", float, 0.5, "text sampled above this temperature prompts no window"),
    Option("clip_timestamps", str, "0", "start,end,start,end,... in seconds: the parts to transcribe"),
    Option("batch_size", int, 1, "pieces of a recording, cut where nobody speaks, to decode side by side"),
    Option("vad", boolean, False, "transcribe speech only, by voice activity detection", switch=True),
)

# Those of ``VadOptions``, with "vad_" before the name; None leaves the default given there.
VAD_OPTIONS = (
    Option("vad_threshold", float, None, "probability at which speech begins", unset="0.5"),
    Option("vad_neg_threshold", float, None, "probability below which it ends", unset="0.15 less than vad_threshold"),
    Option("vad_min_speech_duration_ms", float, None, "shorter speech is dropped", unset="250"),
    Option("vad_max_speech_duration_s", float, None, "longer speech is cut", unset="no limit"),
    Option("vad_min_silence_duration_ms", float, None, "shorter silence does not part speech", unset="2000"),
    Option("vad_speech_pad_ms", float, None, "kept on both sides of speech", unset="400"),
)

WORD_OPTIONS = (
    Option("word_timestamps", boolean, False, "times for every word"),
    Option("prepend_punctuations", str, "\"'“¿([{-", "punctuation that is joined to the next word"),
    Option("append_punctuations", str, "\"'.。,，!！?？:：”)]}、", "punctuation that is joined to the word before"),
    Option("hallucination_silence_threshold", optional_float, None, _SILENCE),
)

LAYOUT_OPTIONS = (
    Option("highlight_words", boolean, False, "underline each word in srt and vtt as it is spoken"),
    Option("max_line_width", optional_int, None, "characters in a line of subtitles", unset="no limit"),
    Option("max_line_count", optional_int, None, "lines in a subtitle", unset="no limit"),
    Option("max_words_per_line", optional_int, None, "words in a subtitle", unset="no limit"),
)

OTHER_OPTIONS = (
    Option("files_at_once", int, 1, "recordings to decode side by side; each comes out as it does alone"),
    Option("threads", int, 0, "CPU threads; 0: every core that may be used"),
    Option("gpu_memory_utilization", optional_float, None, "share of a GPU's free memory to plan with", unset="0.9"),
    Option("fp16", boolean, None, "openai-whisper's name for --compute_type float16 (True) or float32 (False)"),
)

TRANSCRIBE_GROUPS = (
    ("model", MODEL_OPTIONS),
    ("output", OUTPUT_OPTIONS),
    ("decoding", DECODING_OPTIONS),
    ("voice activity", VAD_OPTIONS),
    ("words", WORD_OPTIONS),
    ("subtitle", LAYOUT_OPTIONS),
    ("other", OTHER_OPTIONS),
)
