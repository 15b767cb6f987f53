"""The command line: ``python -m whisper_max transcribe | verify | models | doctor``.

Exit status: 0 when all went well, 1 when any file failed, 2 for wrong usage, 130 after Ctrl-C, 141 when standard output
was closed. Transcripts and tables go to standard output; progress and one line for each error go to standard error.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.cli_options import (
    DECODING_OPTIONS,
    MODEL_OPTIONS,
    OTHER_OPTIONS,
    OUTPUT_OPTIONS,
    WORD_OPTIONS,
    Option,
)
from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.transcribe.result import Segment

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141
STDIN = "-"
BAR_DELAY = 2.0  # seconds of work before a progress bar is worth showing
ALL_FORMATS = ("txt", "vtt", "srt", "tsv", "json")  # what openai-whisper's "all" writes

_TRANSCRIBE_GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    ("model", MODEL_OPTIONS),
    ("output", OUTPUT_OPTIONS),
    ("decoding", DECODING_OPTIONS),
    ("words", WORD_OPTIONS),
    ("other", OTHER_OPTIONS),
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets ``run`` to the function that does it."""
    parser = argparse.ArgumentParser(
        prog="whisper_max", description="Speech to text: OpenAI Whisper on MAX.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"whisper_max {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    transcribe = commands.add_parser(
        "transcribe",
        help="recordings to transcripts",
        description="Transcribe recordings. Options are openai-whisper's; dashes may stand for underscores.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    transcribe.add_argument("audio", nargs="+", metavar="AUDIO", help="audio files to transcribe; - is standard input")
    for title, options in _TRANSCRIBE_GROUPS:
        group = transcribe.add_argument_group(f"{title} options")
        for option in options:
            option.add_to(group)
        if title == "model":
            group.add_argument("--offline", action="store_true", help="never ask the hub")
    transcribe.set_defaults(run=run_transcribe, parser=transcribe)

    verify = commands.add_parser("verify", help="prove a model against stored reference values")
    verify.add_argument("model", help="a model's name, path or hub id")
    verify.add_argument("--reference", type=Path, required=True, metavar="DIR", help="folder of reference values")
    verify.add_argument("--device", default="auto", help="auto, cpu, gpu or gpu:N")
    verify.add_argument("--compute_type", default="auto", help="auto, float32, float16 or bfloat16")
    verify.add_argument("--offline", action="store_true", help="never ask the hub")
    verify.set_defaults(run=run_verify)
    models = commands.add_parser("models", help="the models known by name, and which are on this machine")
    models.set_defaults(run=run_models)
    doctor = commands.add_parser("doctor", help="check this machine, and say what to do about what is amiss")
    doctor.set_defaults(run=run_doctor)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments after the program's name; those of this process when None.

    Raises:
        SystemExit: wrong usage, ``--help`` or ``--version``, as argparse does.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the script of a language shows escapes
    args = build_parser().parse_args(_underscored(sys.argv[1:] if argv is None else argv))
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except OptionError as error:
        _print_error(error)
        return EXIT_USAGE
    except WhisperMaxError as error:
        _print_error(error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (as in `| head`). What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _underscored(argv: Sequence[str]) -> list[str]:
    """``--output-dir=a-b`` as ``--output_dir=a-b``, up to a ``--``."""
    end = argv.index("--") if "--" in argv else len(argv)
    return [_underscored_flag(word) for word in argv[:end]] + list(argv[end:])


def _underscored_flag(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def _print_error(error: WhisperMaxError) -> None:
    print(f"error: {error}", file=sys.stderr)


# ---------------------------------------------------------------- transcribe


def run_transcribe(args: argparse.Namespace) -> int:
    """Transcribe each file and write it; a file that fails is reported and the others are still done."""
    _check_options(args)
    import whisper_max
    from whisper_max.output import output_paths
    from whisper_max.transcribe.options import TranscribeOptions

    options = _transcribe_options(args)
    TranscribeOptions(**options)  # raises for what is wrong before anything takes long
    formats = ALL_FORMATS if args.output_format == "all" else (args.output_format,)
    paths = output_paths(args.audio, args.output_dir, formats)
    model = whisper_max.load_model(
        args.model,
        device=args.device,
        compute_type=_compute_type(args),
        offline=args.offline,
        weights_dir=args.model_dir,
        progress=_print_progress,
    )
    n_failed = 0
    for audio in args.audio:
        try:
            _transcribe_file(model, audio, paths[audio], options, verbose=args.verbose)
        except WhisperMaxError as error:
            _print_error(error)
            n_failed += 1
    return EXIT_FAILED if n_failed else EXIT_OK


def _transcribe_file(
    model: Model, audio: str, paths: Mapping[str, Path], options: dict[str, Any], *, verbose: bool
) -> None:
    """One recording: segments to standard output as they come, a bar on a terminal, files when all is done."""
    from tqdm import tqdm

    from whisper_max.output import write_result

    with tqdm(
        total=0,
        unit="s",
        desc=os.path.basename(audio),
        disable=not sys.stderr.isatty(),
        delay=BAR_DELAY,
        file=sys.stderr,
    ) as bar:

        def show(segment: Segment) -> None:
            if verbose:
                tqdm.write(segment_line(segment), file=sys.stdout)

        def advance(done: float, total: float) -> None:
            bar.total = round(total, 1)
            bar.update(round(done, 1) - bar.n)

        result = model.transcribe(audio, on_segment=show, on_progress=advance, **options)
    write_result(result, paths)
    if verbose:
        names = ", ".join(str(path) for path in paths.values())
        print(f"{audio}: {result.language}, wrote {names}", file=sys.stderr)


def segment_line(segment: Segment) -> str:
    """A segment as one line: ``[00:00.000 --> 00:07.600]  And so my fellow Americans``."""
    from whisper_max.output import format_timestamp

    return f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {segment.text}"


def _print_progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse, by name, what is not there yet or contradicts itself."""
    parser: argparse.ArgumentParser = args.parser
    for _, options in _TRANSCRIBE_GROUPS:
        for option in options:
            if not option.available and getattr(args, option.name) != option.default:
                parser.error(f"--{option.name} is not available yet")
    step = args.temperature_increment_on_fallback
    if step is not None and not 0 < step < math.inf:
        parser.error(f"--temperature_increment_on_fallback: expected a number above 0 or None, found {step}")
    if args.audio.count(STDIN) > 1:
        parser.error("standard input (-) can be transcribed only once")
    if args.fp16 is not None and args.compute_type != "auto":
        parser.error("--fp16 and --compute_type can't be given together")


def _compute_type(args: argparse.Namespace) -> str:
    if args.fp16 is None:
        return str(args.compute_type)
    return "float16" if args.fp16 else "float32"


def _transcribe_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of ``Model.transcribe``: those of decoding that are available, under their own names."""
    not_passed_on = {"temperature", "temperature_increment_on_fallback"}
    options = {
        option.name: getattr(args, option.name)
        for option in DECODING_OPTIONS + WORD_OPTIONS
        if option.available and option.name not in not_passed_on
    }
    return {**options, "temperature": temperatures(args.temperature, args.temperature_increment_on_fallback)}


def temperatures(first: float, step: float | None) -> tuple[float, ...]:
    """From ``first`` up to 1 by ``step``, one multiplication each, as openai-whisper's command line makes them."""
    if step is None:
        return (first,)
    n_steps = math.ceil((1.0 + 1e-6 - first) / step)  # the length of numpy.arange(first, 1 + 1e-6, step)
    return tuple(first + i * step for i in range(max(n_steps, 1)))


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
        progress=_print_progress,
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
