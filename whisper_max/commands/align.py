"""``align`` on the command line: times for the words of a text that is known."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.commands.console import EXIT_FAILED, EXIT_OK, print_error, progress, say, shown
from whisper_max.commands.flags import TRANSCRIBE_GROUPS, Subcommands
from whisper_max.commands.inputs import Input, find_recordings
from whisper_max.commands.loading import load_from
from whisper_max.commands.transcribe import check_vad_options, layout_from, options_from, segment_line
from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.output import write_result
from whisper_max.transcribe.known_text import read_known_text, read_text_file
from whisper_max.transcribe.options import MIXED, TranscribeOptions

if TYPE_CHECKING:
    from whisper_max.transcribe.result import TranscriptionResult

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
_SET_HERE = {"task": "transcribe", "channels": MIXED, "speakers": None, "speaker_file": None, "word_timestamps": True}
_NOT_OFFERED = (*_SET_HERE, "resume", "files_at_once")
_DOUBTFUL = 0.3  # probability below which a word is told as one that was hardly heard


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "align",
        help="times for the words of a known text",
        usage="%(prog)s [OPTION]... AUDIO TEXT",
        description="Time every word of a text that is known: a script, lyrics, or subtitles (srt, vtt), which keep"
        " their cues. Words that the recording does not say have a low probability in json.",
        epilog="example: python -m whisper_max align talk.mp3 talk.txt -f srt,json -o out",
    )
    parser.add_argument("audio", metavar="AUDIO", help="the recording; - is standard input")
    parser.add_argument("text", metavar="TEXT", help="a file of text in UTF-8: srt, vtt, lrc, or plain text")
    for title, options in TRANSCRIBE_GROUPS:
        offered = [option for option in options if option.name not in _NOT_OFFERED]
        if offered:
            group = parser.add_argument_group(f"{title} options")
            for option in offered:
                option.add_to(group)
    parser.set_defaults(run=run, parser=parser, **_SET_HERE)


def run(args: argparse.Namespace) -> int:
    """Align one text with one recording, and write it."""
    check_vad_options(args)
    options, layout = TranscribeOptions(**options_from(args)), layout_from(args)
    text = read_text_file(args.text)
    read_known_text(text)  # refused before anything takes long
    recording = _recording(args)
    model = load_from(args)
    model.check(options)
    try:
        with progress(1.0, _BAR) as bar:
            bar.set_description_str(shown(os.path.basename(recording.name)), refresh=False)
            done = 0.0

            def advance(seconds: float, total: float) -> None:
                nonlocal done
                before, done = done, seconds / total if total else 1.0
                bar.update(done - before)

            result = model.align(recording.source, text, on_progress=advance, options=options)
        write_result(result, recording.transcripts, layout)
    except WhisperMaxError as error:
        print_error(error)
        return EXIT_FAILED
    _tell(result, recording, verbose=args.verbose)
    return EXIT_OK


def _recording(args: argparse.Namespace) -> Input:
    recordings, errors = find_recordings([args.audio], args.output_dir, args.output_format)
    if errors:
        raise errors[0]
    if len(recordings) != 1:
        raise OptionError("one recording at a time", where=args.audio, found=f"{len(recordings)}")
    text = os.path.realpath(args.text)
    for path in recordings[0].transcripts.values():
        if isinstance(path, Path) and os.path.realpath(path) == text:
            hint = "choose another folder with --output_dir"
            raise OptionError("the transcript would replace the text", where=args.text, hint=hint)
    return recordings[0]


def _tell(result: TranscriptionResult, recording: Input, *, verbose: bool) -> None:
    """What was found, and how much of the text was hardly heard."""
    if verbose:
        for segment in result.segments:
            print(segment_line(segment))
    for warning in result.warnings:
        say(f"warning: {recording.name}: {warning.message}")
    words = [word for segment in result.segments for word in segment.words or ()]
    doubtful = sum(word.probability < _DOUBTFUL for word in words)
    if doubtful:
        say(f"{recording.name}: {doubtful} of {len(words)} words were hardly heard: their probability is low")
    if verbose:
        say(f"{recording.name}: wrote {', '.join(str(path) for path in recording.transcripts.values())}")
