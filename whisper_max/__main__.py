"""``python -m whisper_max``, and the script ``whisper-max``."""

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

EXIT_INTERRUPTED = 130


def run() -> int:
    """Run the command line and return its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background may ignore it
        signal.signal(signal.SIGINT, interrupt)
    from whisper_max.commands.main import main

    status = main()
    leave(status)
    return status


def leave(status: int) -> None:
    """End the process at once, all that was written and registered for its end done.

    To take apart every object that the model left takes MAX and Python a tenth of a second. Returns where a thread is
    still at work that must be waited for.
    """
    main = threading.main_thread()
    if any(not thread.daemon and thread is not main for thread in threading.enumerate()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # ``main`` has flushed what matters, and told where that failed
            stream.flush()
    os._exit(status)


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
