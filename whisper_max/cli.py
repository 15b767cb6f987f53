"""The command line: ``python -m whisper_max transcribe | live | serve | evaluate | bench | ...``; ``--help`` lists all.

Exit status: 0 when all went well, 1 when any file failed, 2 for wrong usage, 130 after Ctrl-C, 141 when standard output
was closed. Transcripts and tables go to standard output; progress and one line for each error go to standard error.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from whisper_max.cli_bench import add_bench
from whisper_max.cli_compile import add_compile
from whisper_max.cli_evaluate import add_evaluate
from whisper_max.cli_live import add_live
from whisper_max.cli_options import MODEL_OPTIONS, TRANSCRIBE_GROUPS, HelpFormatter
from whisper_max.cli_serve import add_serve
from whisper_max.cli_transcribe import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    print_error,
    print_progress,
    run_transcribe,
)
from whisper_max.errors import OptionError, OutputError, WhisperMaxError
from whisper_max.version import VERSION

EXIT_USAGE, EXIT_BROKEN_PIPE = 2, 141
MODELS_HELP = "the models known by name, and which are on this machine"
DOCTOR_HELP = "check this machine, and say what to do about what is amiss"
AUDIO_HELP = "files, folders (with all audio files below them) and quoted patterns to transcribe; - is standard input"
_SWITCHES = {f"--{option.name}" for _, options in TRANSCRIBE_GROUPS for option in options if option.switch}
_NUMBERS = re.compile(r"-\d[\d.]*(?:,-?\d[\d.]*)+")  # several, the first below 0


class Parser(argparse.ArgumentParser):
    """Tells wrong usage in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(EXIT_USAGE, f"error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets ``run`` to the function that does it."""
    parser: argparse.ArgumentParser = Parser(
        prog="python -m whisper_max", description="Speech to text: OpenAI Whisper on MAX.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"whisper_max {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    transcribe = commands.add_parser(
        "transcribe",
        help="recordings to transcripts",
        usage="%(prog)s [OPTION]... AUDIO...",
        description="Transcribe recordings. Options are openai-whisper's; dashes may stand for underscores.",
        epilog="example: python -m whisper_max transcribe talk.mp3 interviews/ --language en -f srt,txt -o out",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    transcribe.add_argument("audio", nargs="+", metavar="AUDIO", help=AUDIO_HELP)
    for title, options in TRANSCRIBE_GROUPS:
        group = transcribe.add_argument_group(f"{title} options")
        for option in options:
            option.add_to(group)
    transcribe.set_defaults(run=run_transcribe, parser=transcribe)

    add_live(commands)
    add_evaluate(commands)
    add_bench(commands)
    add_compile(commands)
    add_serve(commands)
    verify = commands.add_parser(
        "verify",
        help="prove a model against stored reference values",
        description="Compare every stage of a model with stored values of openai-whisper.",
        epilog="example, in a clone: python -m whisper_max verify base --reference tests/reference/base",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    verify.add_argument("model", metavar="MODEL", help=MODEL_OPTIONS[0].help)
    verify.add_argument("--reference", type=Path, required=True, metavar="DIR", help="folder of reference values")
    for option in MODEL_OPTIONS[1:]:
        option.add_to(verify)
    verify.set_defaults(run=run_verify)
    models = commands.add_parser("models", help=MODELS_HELP, description=f"Print {MODELS_HELP}.", allow_abbrev=False)
    models.set_defaults(run=run_models)
    sentence = f"{DOCTOR_HELP.capitalize()}."
    doctor = commands.add_parser("doctor", help=DOCTOR_HELP, description=sentence, allow_abbrev=False)
    doctor.set_defaults(run=run_doctor)
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
        parser = build_parser()
        words = _plain_words(sys.argv[1:] if argv is None else argv)
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
    except OSError as error:  # of printing: what has to do with files and folders is an error of ours by now
        _drop_output()
        print_error(OutputError("can't be written", where="standard output", found=error.strerror or error))
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


# ---------------------------------------------------------------- verify, models, doctor


def run_verify(args: argparse.Namespace) -> int:
    """Print how far each stage is from the reference; fail where one is further than tolerated."""
    import whisper_max
    from whisper_max.verify import read_reference, verify

    reference = read_reference(args.reference)
    model = whisper_max.load_model(
        args.model,
        device=args.device,
        compute_type=args.compute_type,
        offline=args.offline,
        weights_dir=args.model_dir,
        progress=print_progress,
    )
    n_failed = 0
    print(f"{'stage':<36}{'error':>12}{'tolerance':>12}  {'kind':<10}")
    for comparison in verify(model.inference, reference):
        n_failed += not comparison.passed
        verdict = "ok" if comparison.passed else "FAILED"
        numbers = f"{comparison.error:>12.2e}{comparison.tolerance:>12.0e}"
        print(f"{comparison.stage:<36}{numbers}  {comparison.kind:<10}{verdict}", flush=True)
    print("all stages are within tolerance" if not n_failed else f"{n_failed} stages are out of tolerance")
    return EXIT_FAILED if n_failed else EXIT_OK


def run_models(_args: argparse.Namespace) -> int:
    """Print the published models as a table, and where each would come from."""
    from whisper_max.checkpoint import list_models

    print(f"{'name':<24}{'mels':>5}{'blocks':>9}{'width':>7}  {'languages':<11}{'weights':<24}hub id")
    for model in list_models():
        dims = model.dims
        name = " = ".join((model.name, *model.aliases))
        blocks = f"{dims.n_audio_layer}+{dims.n_text_layer}"
        languages = str(dims.num_languages) if dims.is_multilingual else "English"
        weights = "hub" if model.source is None else model.location
        if model.source is None and model.extra is not None:
            weights = f"hub, or extra [{model.extra}]"
        print(
            f"{name:<24}{dims.n_mels:>5}{blocks:>9}{dims.n_audio_state:>7}  {languages:<11}{weights:<24}{model.hub_id}"
        )
    return EXIT_OK


def run_doctor(_args: argparse.Namespace) -> int:
    """Print one line for each check, as it is made."""
    from whisper_max.doctor import report

    for check in report():
        print(check.line(), flush=True)
    return EXIT_OK
