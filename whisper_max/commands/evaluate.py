"""``evaluate`` on the command line: scores of a manifest as a table, and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.commands.console import EXIT_FAILED, EXIT_OK, say
from whisper_max.commands.flags import (
    DECODING_OPTIONS,
    MODEL_OPTIONS,
    VAD_OPTIONS,
    Subcommands,
    add_plot_option,
    output_file,
)
from whisper_max.commands.loading import load_from
from whisper_max.commands.transcribe import temperatures
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.files.remote import Place
    from whisper_max.measure.evaluate import Failure, Manifest, Score

_OPTIONS = tuple(option for option in DECODING_OPTIONS if option.name != "language")
_HEADER = (
    f"{'language':<10}{'clips':>6}{'minutes':>9}{'WER %':>8}{'sub':>6}{'del':>6}{'ins':>6}{'words':>8}{'CER %':>8}"
)


def add(commands: Subcommands) -> None:
    """Register the subcommand with the parser's ``commands``."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model on a manifest of recordings and transcripts",
        description="Word and character error rates, by language, and speed. MANIFEST has one JSON object a line: path"
        " (relative to it), transcript, language. It takes the extra [evaluate].",
        usage="%(prog)s [OPTION]... MANIFEST",
        epilog="example: python -m whisper_max evaluate manifest.jsonl --filter language=en --json scores.json",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="a .jsonl file")
    scored = parser.add_argument_group("what is scored")
    scored.add_argument("--limit", type=_count, metavar="N", help="the first N recordings only")
    scored.add_argument(
        "--filter",
        type=_key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only recordings whose entry has this, such as language=en; may be repeated",
    )
    scored.add_argument("--detect_language", action="store_true", help="don't tell the model the manifest's language")
    scored.add_argument("--verbose", action="store_true", help="print the word error rate of each recording")
    scored.add_argument("--json", type=output_file, metavar="OUT", help="write every score to this file")
    add_plot_option(scored, "the errors by recording and by word")
    for title, options in (("model", MODEL_OPTIONS), ("decoding", _OPTIONS), ("voice activity", VAD_OPTIONS)):
        group = parser.add_argument_group(f"{title} options")
        for option in options:
            option.add_to(group)
    parser.set_defaults(run=run, parser=parser)


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, found {text!r}")
    return key, value


def run(args: argparse.Namespace) -> int:
    """Score each recording of the manifest and print the sums; one that fails is reported and the others go on."""
    options = _transcribe_options(args)
    from tqdm import tqdm

    from whisper_max.measure.evaluate import ClipScore, Errors, Failure, Normaliser, Score, evaluate, read_manifest
    from whisper_max.output import check_writable
    from whisper_max.transcribe.options import TranscribeOptions

    effective = TranscribeOptions(**options).to_dict()  # raises for what is wrong before anything takes long
    manifest = read_manifest(args.manifest).select(dict(args.filter), args.limit)
    Normaliser()
    for path in (args.json, args.plot):
        if path is not None:
            check_writable(path)
    model = load_from(args)
    scores: list[ClipScore] = []
    failures: list[Failure] = []
    outcomes = evaluate(model, manifest.entries, options, detect=args.detect_language)
    words = Errors()
    with tqdm(total=len(manifest.entries), unit="clip", disable=not sys.stderr.isatty()) as bar:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                say(f"error: {outcome.name}: {outcome.error}")
                failures.append(outcome)
            else:
                scores.append(outcome)
                words += outcome.words
                if args.verbose:
                    say(f"{outcome.language:<4}{_percent(outcome.words.rate):>7} %  {outcome.name}")
            bar.set_postfix_str(f"WER {_percent(words.rate)} %", refresh=False)
            bar.update()
    score = Score(scores)
    _print_table(score, manifest, failures)
    if args.json is not None:
        how = {"model": args.model, "compute_type": args.compute_type, "detect_language": args.detect_language}
        _write_json(args.json, score, manifest, failures, {**how, "options": effective})
    if args.plot is not None:
        from whisper_max.measure.drawing.svg import write_plot
        from whisper_max.measure.error_plots import draw_errors

        write_plot(args.plot, f"{args.model} on {args.manifest.name}", draw_errors(score))
    return EXIT_FAILED if failures else EXIT_OK


def _transcribe_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of ``Model.transcribe``, without the language, which is each recording's own."""
    if args.multilingual and not args.detect_language:
        args.parser.error("--multilingual needs --detect_language")
    vad = {option.name.removeprefix("vad_"): getattr(args, option.name) for option in VAD_OPTIONS}
    vad = {name: value for name, value in vad.items() if value is not None}
    if vad and not args.vad:
        args.parser.error(f"--vad_{next(iter(vad))} needs --vad")
    own = {"temperature", "temperature_increment_on_fallback"}
    options = {option.name: getattr(args, option.name) for option in _OPTIONS if option.name not in own}
    tried = temperatures(args.temperature, args.temperature_increment_on_fallback)
    return {**options, "vad_options": vad or None, "temperature": tried}


def _print_table(score: Score, manifest: Manifest, failures: list[Failure]) -> None:
    print(f"{_HEADER}{'speed':>11}")
    languages = score.by_language()
    for name, part in {**languages, "all": score}.items() if len(languages) != 1 else languages.items():
        words = part.words
        edits = f"{words.substitutions:>6}{words.deletions:>6}{words.insertions:>6}{words.n_reference:>8}"
        rates = (_percent(words.rate), _percent(part.characters.rate))
        clips = f"{name:<10}{len(part.clips):>6}{part.seconds / 60:>9.1f}"
        print(f"{clips}{rates[0]:>8}{edits}{rates[1]:>8}{part.speed:>10.1f}x")
    detected = [clip for clip in score.clips if clip.detected is not None]
    if detected:
        right = sum(clip.detected == clip.language for clip in detected)
        print(f"the language was detected as the manifest says in {right} of {len(detected)} recordings")
    if manifest.n_skipped:
        print(f"{manifest.n_skipped} entries of the manifest have no transcript and were skipped")
    if failures:
        print(f"{len(failures)} recordings failed")


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"


def _write_json(path: Place, score: Score, manifest: Manifest, failures: list[Failure], how: dict[str, Any]) -> None:
    from whisper_max.output import write_atomically

    report = {
        "whisper_max": VERSION,
        **how,
        "all": score.to_dict(),
        "languages": {code: part.to_dict() for code, part in score.by_language().items()},
        "skipped": manifest.n_skipped,
        "failures": [vars(failure) for failure in failures],
        "clips": [clip.to_dict() for clip in score.clips],
    }
    write_atomically(path, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
