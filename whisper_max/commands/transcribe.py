"""``transcribe`` on the command line: recordings one by one or side by side, each whole or reported; the progress."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from whisper_max.commands.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    ProgressBar,
    print_error,
    progress,
    say,
    shown,
)
from whisper_max.commands.flags import (
    DECODING_OPTIONS,
    LAYOUT_OPTIONS,
    TRANSCRIBE_GROUPS,
    VAD_OPTIONS,
    WORD_OPTIONS,
    Subcommands,
)
from whisper_max.commands.inputs import STDIN, Input, find_recordings
from whisper_max.commands.loading import load_from
from whisper_max.errors import OptionError, OutputError, WhisperMaxError
from whisper_max.output import WriterOptions, check_layout, format_timestamp, write_result
from whisper_max.transcribe.options import MOST_SIDE_BY_SIDE, TranscribeOptions

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.transcribe.result import Segment, TranscriptionResult

AUDIO_HELP = "files, folders (with all audio files below), URLs and quoted patterns to transcribe; - is standard input"
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "transcribe",
        help="recordings to transcripts",
        usage="%(prog)s [OPTION]... AUDIO...",
        description="Transcribe recordings. Options are openai-whisper's; dashes may stand for underscores.",
        epilog="example: python -m whisper_max transcribe talk.mp3 interviews/ --language en -f srt,txt -o out",
    )
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help=AUDIO_HELP)
    for title, options in TRANSCRIBE_GROUPS:
        group = parser.add_argument_group(f"{title} options")
        for option in options:
            option.add_to(group)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Transcribe each recording and write it; one that fails is reported and the others are still done."""
    _check_options(args)
    args.word_timestamps = args.word_timestamps or args.subtitle_style is not None
    options = TranscribeOptions(**options_from(args))
    layout = layout_from(args)
    recordings, errors = find_recordings(args.audio, args.output_dir, args.output_format)
    work = _Run(options, layout, args.verbose, args.resume, args.files_at_once)
    for error in errors:
        work.fail(error)
    waiting = [recording for recording in recordings if not work.skips(recording)]
    if waiting:
        model = load_from(args)
        model.check(options)
        try:
            work.transcribe(model, waiting)
        except KeyboardInterrupt:
            say(f"interrupted: {work.summary()}; the same command with --resume goes on")
            return EXIT_INTERRUPTED
    if args.verbose:
        say(work.summary())
    return EXIT_FAILED if work.n_failed else EXIT_OK


@dataclass
class _Run:
    """The recordings of one command, and what became of them."""

    options: TranscribeOptions
    layout: WriterOptions
    verbose: bool
    resume: bool
    files_at_once: int
    n_done: int = 0
    n_skipped: int = 0
    n_failed: int = 0
    audio_seconds: float = 0.0
    work_seconds: float = 0.0

    def skips(self, recording: Input) -> bool:
        """Whether an earlier run has finished the recording."""
        if not (self.resume and recording.is_done()):
            return False
        self.n_skipped += 1
        if self.verbose:
            say(f"{recording.name}: skipped, its transcripts are newer")
        return True

    def fail(self, error: WhisperMaxError, journal: Path | None = None) -> None:
        """Report a recording that could not be done, and where a full disk left its journal, how to go on."""
        self.n_failed += 1
        print_error(error)
        if isinstance(error, OutputError) and journal is not None and os.path.exists(journal):
            say(f"the same command with --resume goes on from {journal}")

    def transcribe(self, model: Model, recordings: list[Input]) -> None:
        """Transcribe recordings, with a bar over all of them on a terminal."""
        start = time.monotonic()
        total = sum(recording.size for recording in recordings)
        work = self._one_by_one if self.files_at_once == 1 else self._side_by_side
        try:
            with progress(total, _BAR) as bar:
                work(model, recordings, bar)
        finally:
            self.work_seconds = time.monotonic() - start

    def _one_by_one(self, model: Model, recordings: list[Input], bar: ProgressBar) -> None:
        for number, recording in enumerate(recordings, start=1):
            place = f"[{number}/{len(recordings)}] " if len(recordings) > 1 else ""
            name = place + shown(os.path.basename(recording.name))
            bar.set_description_str(name, refresh=False)
            share = _Share(bar, recording.size)
            try:
                result = model.transcribe(
                    recording.source,
                    on_segment=_show if self.verbose else None,
                    on_progress=share,
                    on_speakers=partial(_listening, bar, name),
                    journal=recording.journal,
                    resume=self.resume,
                    options=self.options,
                )
                self._write(result, recording, share)
            except WhisperMaxError as error:
                self.fail(error, recording.journal)
            share.finish()

    def _side_by_side(self, model: Model, recordings: list[Input], bar: ProgressBar) -> None:
        journals = {recording.source: recording.journal for recording in recordings}
        shares = [_Share(bar, recording.size) for recording in recordings]

        def show(index: int, segment: Segment) -> None:
            _show(segment, recordings[index].name)

        outcomes = model.transcribe_many(
            list(journals),
            on_segment=show if self.verbose else None,
            on_progress=lambda index, done, total: shares[index](done, total),
            journal=lambda source: journals[cast("str", source)],
            resume=self.resume,
            batch_size=self.files_at_once,
            options=self.options,
        )
        for number, outcome in enumerate(outcomes, start=1):
            try:
                self._write(outcome.value(), recordings[outcome.index], shares[outcome.index])
            except WhisperMaxError as error:
                self.fail(error, recordings[outcome.index].journal)
            shares[outcome.index].finish()
            bar.set_description_str(f"{number} of {len(recordings)}", refresh=False)

    def _write(self, result: TranscriptionResult, recording: Input, share: _Share) -> None:
        """Write the transcripts; only then is the journal of no more use."""
        write_result(result, recording.transcripts, self.layout)
        try:
            recording.journal.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError("can't be removed", where=recording.journal, found=error.strerror or error) from error
        for warning in result.warnings:
            say(f"warning: {recording.name}: {warning.message}")
        if self.verbose:
            names = ", ".join(str(path) for path in recording.transcripts.values())
            say(f"{recording.name}: {result.language or 'nothing said'}, wrote {names}")
        self.n_done += 1
        self.audio_seconds += result.duration - (share.seconds_before if self.resume else 0.0)

    def summary(self) -> str:
        """``3 done, 1 skipped, 1 failed; 61.5 s of audio in 12.3 s, 5.0 x real time``."""
        counts = {"done": self.n_done, "skipped": self.n_skipped, "failed": self.n_failed}
        line = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what != "skipped")
        if not self.n_done:
            return line
        speed = self.audio_seconds / max(self.work_seconds, 1e-3)
        return f"{line}; {self.audio_seconds:.1f} s of audio in {self.work_seconds:.1f} s, {speed:.1f} x real time"


def _listening(bar: ProgressBar, name: str, done: float, total: float) -> None:
    """Say how far speakers are told apart, which comes before what the bar measures."""
    bar.set_description_str(f"{name}, speakers {100 * done / total:.0f} %" if done < total else name, refresh=False)
    bar.update(0)


class _Share:
    """One recording's part of the bar; called with its seconds done and in all, first where the work begins."""

    def __init__(self, bar: ProgressBar, size: int) -> None:
        self._bar, self._size = bar, size
        self._moved = 0.0
        self._begin: float | None = None

    def __call__(self, done: float, total: float) -> None:
        if self._begin is None:
            self._begin = done
        self._move(done / total if total else 1.0)

    @property
    def seconds_before(self) -> float:
        """What an earlier run had done."""
        return self._begin or 0.0

    def finish(self) -> None:
        """The recording is done, or has failed."""
        self._move(1.0)

    def _move(self, fraction: float) -> None:
        done = self._size * fraction
        self._bar.update(done - self._moved)
        self._moved = done


def _show(segment: Segment, source: str | None = None) -> None:
    """Print a segment, after the name of its recording where several come at once."""
    name = "" if source is None else f"{shown(source)}: "
    tqdm.write(name + segment_line(segment), file=sys.stdout)
    sys.stdout.flush()


def segment_line(segment: Segment) -> str:
    """A segment as one line: ``[00:00.000 --> 00:07.600]  And so my fellow Americans``."""
    text = segment.text if segment.speaker is None else f" {segment.speaker}: {segment.text.strip()}"
    return f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {text}"


# ---------------------------------------------------------------- options


def _check_options(args: argparse.Namespace) -> None:
    """Refuse, by name, what contradicts itself."""
    parser: argparse.ArgumentParser = args.parser
    check_vad_options(args)
    if not 1 <= args.files_at_once <= MOST_SIDE_BY_SIDE:
        parser.error(f"--files_at_once: expected 1 to {MOST_SIDE_BY_SIDE}, found {args.files_at_once}")
    if args.files_at_once > 1 and args.batch_size > 1:
        parser.error("--files_at_once and --batch_size above 1 can't be given together")
    if args.audio.count(STDIN) > 1:
        parser.error("standard input (-) can be transcribed only once")


def check_vad_options(args: argparse.Namespace) -> None:
    """Refuse options of voice activity detection that is not asked for."""
    for option in VAD_OPTIONS:
        if getattr(args, option.name) is not None and not args.vad:
            args.parser.error(f"--{option.name} needs --vad")


def layout_from(args: argparse.Namespace) -> WriterOptions:
    """How words are laid out; refused where there will be no words, or no format that has a layout."""
    layout = WriterOptions(**{option.name: getattr(args, option.name) for option in LAYOUT_OPTIONS})
    check_layout(layout, args.output_format)
    if layout.changed() and not args.word_timestamps:
        raise OptionError(f"{layout.changed()[0]} needs word_timestamps")
    return layout


def options_from(args: argparse.Namespace) -> dict[str, Any]:
    """The options of ``Model.transcribe``: those of decoding, under their own names."""
    not_passed_on = {"temperature", "temperature_increment_on_fallback"}
    options = {
        option.name: getattr(args, option.name)
        for option in DECODING_OPTIONS + WORD_OPTIONS
        if option.name not in not_passed_on
    }
    if args.vad:
        given = {option.name.removeprefix("vad_"): getattr(args, option.name) for option in VAD_OPTIONS}
        options["vad_options"] = {name: value for name, value in given.items() if value is not None}
    return {**options, "temperature": temperatures(args.temperature, args.temperature_increment_on_fallback)}


def temperatures(first: float, step: float | None) -> tuple[float, ...]:
    """From ``first`` up to 1 by ``step``, one multiplication each, as openai-whisper's command line makes them."""
    if step is None or not 0 <= first < math.inf:  # what is no temperature is refused with the other options
        return (first,)
    n_steps = math.ceil((1.0 + 1e-6 - first) / step)  # the length of numpy.arange(first, 1 + 1e-6, step)
    return tuple(first + i * step for i in range(max(n_steps, 1)))
