"""openai-whisper's command: this project's own, whose options have the same names."""

from __future__ import annotations

import runpy
import sys


def cli() -> None:
    """Run ``whisper_max transcribe`` with this process's arguments.

    Raises:
        SystemExit: always, with its status.
    """
    sys.argv[:1] = ["whisper_max", "transcribe"]
    runpy.run_module("whisper_max", run_name="__main__", alter_sys=True)
