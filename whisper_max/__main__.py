"""``python -m whisper_max``, and the script ``whisper-max``."""

import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130


def run() -> int:
    """Run the command line and return its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background may ignore it
        signal.signal(signal.SIGINT, interrupt)
    from whisper_max.cli import main

    return main()


def interrupt(_signal: int, frame: FrameType | None) -> None:
    """Ctrl-C: ``KeyboardInterrupt``, but the end of the process at once where a module is being imported.

    There is nothing to finish then, and an exception in the middle of it aborts the process in MAX's libraries.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"interrupted\n")
            os._exit(EXIT_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(run())
