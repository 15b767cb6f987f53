"""``live`` on the command line: words while somebody speaks, from standard input or a microphone."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from whisper_max.cli_options import MODEL_OPTIONS, HelpFormatter, language
from whisper_max.cli_transcribe import EXIT_OK, print_progress, say
from whisper_max.errors import AudioError, OptionError
from whisper_max.output import FORMATS, check_writable, render, write_atomically

if TYPE_CHECKING:
    from whisper_max.live import LiveEvent

MICROPHONE, STDIN = "microphone", "-"


def add_live(commands: Any) -> None:  # noqa: ANN401 - argparse does not export its type
    """Register the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "live",
        help="words while somebody speaks",
        description="Transcribe 16-bit little-endian samples from standard input, or a microphone, as they come. "
        "Ctrl-C ends it and keeps the transcript.",
        epilog="example: arecord -q -f S16_LE -r 16000 | python -m whisper_max live --language en -o talk.srt",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", nargs="?", choices=(STDIN, MICROPHONE), default=STDIN, help="where sound comes from")
    for option in MODEL_OPTIONS:
        option.add_to(parser)
    parser.add_argument("--rate", type=int, metavar="N", default=16000, help="samples in a second")
    parser.add_argument("--channels", type=int, metavar="N", default=1, help="channels; they are averaged")
    parser.add_argument("--input_device", default=None, metavar="DEVICE", help="microphone, by number or name")
    parser.add_argument("--language", type=language, default=None, help="language spoken; None: detect it")
    parser.add_argument("--task", choices=("transcribe", "translate"), default="transcribe", help="or to English")
    parser.add_argument("--initial_prompt", default=None, metavar="TEXT", help="text for names and spelling")
    parser.add_argument("--step", type=float, metavar="SECONDS", default=1.0, help="least between two decodings")
    parser.add_argument("--buffer", type=float, metavar="SECONDS", default=25.0, help="most sound kept, up to 30")
    parser.add_argument("--silence_ms", type=float, metavar="MS", default=600, help="silence that ends an utterance")
    parser.add_argument("--no_vad", action="store_true", help="listen to silence too, all as one utterance")
    parser.add_argument(
        "--output", "-o", type=Path, default=None, metavar="FILE", help=f"transcript to write: .{', .'.join(FORMATS)}"
    )
    parser.set_defaults(run=run_live)


def run_live(args: argparse.Namespace) -> int:
    """Listen until the sound ends, or Ctrl-C."""
    format = _output_format(args.output)
    import whisper_max
    from whisper_max.cli_sound import follow, microphone, standard_input
    from whisper_max.live import LiveTranscript

    source = microphone if args.source == MICROPHONE else standard_input
    if args.source == STDIN and sys.stdin.isatty():
        raise AudioError("no sound", where="standard input", hint="pipe samples into it, or say microphone")
    model = whisper_max.load_model(
        args.model,
        device=args.device,
        compute_type=args.compute_type,
        offline=args.offline,
        weights_dir=args.model_dir,
        progress=print_progress,
    )
    live = model.live(
        sampling_rate=args.rate,
        channels=args.channels,
        step=args.step,
        buffer=args.buffer,
        vad=False if args.no_vad else {"min_silence_duration_ms": args.silence_ms},
        language=args.language,
        task=args.task,
        initial_prompt=args.initial_prompt,
    )
    transcript = LiveTranscript()
    screen = Screen(sys.stdout)

    def take(events: list[LiveEvent]) -> None:
        transcript.add(events)
        screen.show(events)

    with until_interrupted() as stop:
        with source(args, stop) as pieces:
            follow(live, pieces, take, args.rate)
        take(live.finish())
    if args.output is not None and format is not None:
        result = transcript.result(live.position, {"task": args.task, "language": args.language})
        write_atomically(args.output, render(result, format))
        say(f"wrote {args.output}")
    return EXIT_OK


def _output_format(path: Path | None) -> str | None:
    if path is None:
        return None
    format = path.suffix.removeprefix(".").lower()
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
        from whisper_max.live import Committed, Tentative, UtteranceEnded
        from whisper_max.live.events import text_of

        for event in events:
            if isinstance(event, Committed):
                text = text_of(event.words)
                self._write(text if self._line else text.lstrip())
                self._line += text
            elif isinstance(event, Tentative) and self._is_terminal:
                self._dim(text_of(event.words))
            elif isinstance(event, UtteranceEnded) and self._line:
                self._write("\n")
                self._line = ""
        self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write(("\x1b[K" if self._is_terminal else "") + text)

    def _dim(self, text: str) -> None:
        """As much as fits in the line: what has wrapped could not be taken back. Save, dim, restore (ECMA-48, DEC)."""
        width = shutil.get_terminal_size().columns
        room = max(width - len(self._line) % width - 1, 0)
        self._write(f"\x1b7\x1b[2m{text[:room]}\x1b[0m\x1b8")
