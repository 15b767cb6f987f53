"""``live`` on the command line: words while somebody speaks, from standard input or a microphone."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from whisper_max.commands.console import EXIT_OK, print_progress, say
from whisper_max.commands.flags import Subcommands, language, output_file
from whisper_max.commands.loading import add_model_options, load_from
from whisper_max.errors import AudioError, OptionError
from whisper_max.files.remote import Place
from whisper_max.output import FORMATS, check_writable, render, write_atomically
from whisper_max.transcribe.options import GUARDS

if TYPE_CHECKING:
    from whisper_max.live import LiveEvent, LiveWord
    from whisper_max.transcribe.turns import Turn

STDIN = "-"
_POLICIES = ("auto", "agreement", "attention")  # those of live.options, which would import NumPy
_POLICY = "words are certain once two decodings agree, or sooner, by the attention of one; auto: what suits the model"
_STEP = "least between two decodings (default: 1 by agreement, 0.4 by attention, 0.6 with whole windows)"
_MARGIN = "by attention: how long before the end of the sound a word must have ended"
_SURE = "by attention: less likely words wait for a second more"
_SPEAKERS = "tell speakers apart, whose labels settle as more is heard: how many there are, MIN-MAX, or auto"
_SOURCE = (
    "- for standard input, an address such as http://host/radio, a file or pipe, microphone, or a microphone's name"
)
_RATE = "samples in a second, of samples without a header (default: 16000)"
_CHANNELS = "of samples without a header; they are mixed into one (default: 1)"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "live",
        help="words while somebody speaks",
        description="Transcribe sound as it comes: wav, flac, ogg, webm, mp3, aac, ac3, aiff, au, caf, flv, MPEG-TS "
        "and others at any rate, or else 16-bit little-endian samples, from standard input, a pipe or an address, or a "
        "microphone. Ctrl-C ends it and keeps the transcript.",
        epilog="example: arecord -q -f S16_LE -r 16000 | python -m whisper_max live --language en -o talk.srt",
    )
    parser.add_argument("source", nargs="?", default=STDIN, help=_SOURCE)
    add_model_options(parser)
    parser.add_argument("--rate", type=int, metavar="N", default=None, help=_RATE)
    parser.add_argument("--channels", type=int, metavar="N", default=None, help=_CHANNELS)
    parser.add_argument("--input_device", default=None, metavar="DEVICE", help="microphone, by number or name")
    parser.add_argument("--language", type=language, default=None, help="language spoken; None: detect it")
    parser.add_argument("--task", choices=("transcribe", "translate"), default="transcribe", help="or to English")
    parser.add_argument("--initial_prompt", default=None, metavar="TEXT", help="text for names and spelling")
    parser.add_argument("--step", type=float, metavar="SECONDS", default=None, help=_STEP)
    parser.add_argument("--policy", choices=_POLICIES, default=_POLICIES[0], help=_POLICY)
    parser.add_argument("--margin", type=float, metavar="SECONDS", default=0.3, help=_MARGIN)
    parser.add_argument("--sure", type=float, metavar="PROBABILITY", default=0.4, help=_SURE)
    parser.add_argument("--whole_windows", action="store_true", help="encode all of the audio at each step")
    parser.add_argument("--buffer", type=float, metavar="SECONDS", default=25.0, help="most sound kept, up to 30")
    parser.add_argument("--silence_ms", type=float, metavar="MS", default=600, help="silence that ends an utterance")
    parser.add_argument("--guard", choices=GUARDS, default="mark", help="what becomes of text that nobody said")
    parser.add_argument("--speakers", default=None, metavar="N", help=_SPEAKERS)
    parser.add_argument("--no_vad", action="store_true", help="listen to silence too, all as one utterance")
    parser.add_argument(
        "--output",
        "-o",
        type=output_file,
        default=None,
        metavar="FILE",
        help=f"transcript to write: .{', .'.join(FORMATS)}",
    )
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Listen until the sound ends, or Ctrl-C."""
    format = _output_format(args.output)
    from whisper_max.commands.sound import follow, open_source
    from whisper_max.live import LiveTranscript

    if args.source == STDIN and sys.stdin.isatty():
        raise AudioError("no sound", where="standard input", hint="pipe samples into it, or say microphone")
    model = load_from(args)
    transcript = LiveTranscript()
    screen = Screen(sys.stdout) if args.speakers is None else SpeakerScreen(sys.stdout)
    with until_interrupted() as stop, open_source(args, stop) as source:
        live = model.live(
            sampling_rate=source.rate,
            channels=source.channels,
            step=args.step,
            policy=args.policy,
            margin=args.margin,
            sure=args.sure,
            whole_windows=args.whole_windows,
            buffer=args.buffer,
            vad=False if args.no_vad else {"min_silence_duration_ms": args.silence_ms},
            language=args.language,
            task=args.task,
            initial_prompt=args.initial_prompt,
            guard=args.guard,
            speakers=args.speakers,
            progress=print_progress,
        )
        told: set[str] = set()

        def take(events: list[LiveEvent]) -> None:
            transcript.add(events)
            screen.show(events)
            for warning in live.warnings:
                if warning.kind not in told:
                    told.add(warning.kind)
                    say(warning.message)

        broken = None
        try:
            follow(live, source.pieces, take)
        except AudioError as error:  # what was heard before it is kept
            broken = error
        take(live.finish())
    if args.output is not None and format is not None:
        result = transcript.result(live.position, {"task": args.task, "language": args.language})
        write_atomically(args.output, render(result, format))
        say(f"wrote {args.output}")
    if broken is not None:
        raise broken
    return EXIT_OK


def _output_format(path: Place | None) -> str | None:
    if path is None:
        return None
    format = os.path.splitext(path.name)[1].removeprefix(".").lower()
    if format not in FORMATS:
        raise OptionError(
            "unknown format", where="output", expected=f"a name ending in .{', .'.join(FORMATS)}", found=path
        )
    check_writable(path)
    return format


@contextmanager
def until_interrupted() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class Screen:
    """Prints committed words as they come, a line for each utterance; on a terminal, tentative ones dimmed after them.

    With ``NO_COLOR`` set, or ``TERM=dumb``, there are no tentative ones and no control sequences.

    Args:
        stream: standard output.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._is_terminal = stream.isatty() and not is_plain
        self._line = ""

    def show(self, events: list[LiveEvent]) -> None:
        """Print what the events bring."""
        for event in events:
            self._show(event)
        self._stream.flush()

    def _show(self, event: LiveEvent) -> None:
        from whisper_max.live import Committed, Tentative, UtteranceEnded
        from whisper_max.live.events import text_of

        if isinstance(event, Committed):
            self._say(text_of(event.words))
        elif isinstance(event, Tentative):
            self._dim(text_of(event.words))
        elif isinstance(event, UtteranceEnded):
            self._end_line()

    def _say(self, text: str) -> None:
        self._write(text if self._line else text.lstrip())
        self._line += text

    def _end_line(self) -> None:
        if self._line:
            self._write("\n")
            self._line = ""

    def _write(self, text: str) -> None:
        self._stream.write(("\x1b[K" if self._is_terminal else "") + text)

    def _dim(self, text: str) -> None:
        """As much as fits in the line: what has wrapped could not be taken back. Save, dim, restore (ECMA-48, DEC)."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            room = max(width - len(self._line) % width - 1, 0)
            self._write(f"\x1b7\x1b[2m{text[:room]}\x1b[0m\x1b8")


class SpeakerScreen(Screen):
    """A screen on which words wait until it is told who says them; a line begins with each other speaker."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[LiveWord | None] = []  # None: the utterance ends
        self._speaker: str | None = None

    def _show(self, event: LiveEvent) -> None:
        from whisper_max.live import Committed, SpeakersHeard, Tentative, UtteranceEnded
        from whisper_max.live.events import text_of

        if isinstance(event, Committed):
            self._waiting += event.words
        elif isinstance(event, UtteranceEnded):
            self._waiting.append(None)
        elif isinstance(event, Tentative):
            self._dim(text_of([*filter(None, self._waiting), *event.words]))
        elif isinstance(event, SpeakersHeard):
            self._say_by_speaker(event.turns)

    def _say_by_speaker(self, turns: Sequence[Turn]) -> None:
        from whisper_max.transcribe.turns import Turns

        waited, self._waiting = self._waiting, []
        names = iter(Turns(turns).names_of((word.start, word.end) for word in waited if word is not None))
        for word in waited:
            if word is None:
                self._end_line()
                self._speaker = None
                continue
            text, name = word.word, next(names)
            if name is not None and name != self._speaker:
                self._end_line()
                text = f"{name}: {text.lstrip()}"
                self._speaker = name
            self._say(text)
