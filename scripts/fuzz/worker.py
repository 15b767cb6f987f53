"""The process that tries cases: ``python -m scripts.fuzz.worker KIND``; folders come in on stdin, verdicts go out."""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path

from scripts.fuzz.kinds import Attempt, kind
from scripts.fuzz.verdicts import FAULT, Verdict


def main() -> None:
    """Answer each line on stdin, a folder, by one on what was stdout, a verdict; all other output is on stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kind_of_case = kind(sys.argv[1])
    with kind_of_case.opened() as attempt:
        _limit_memory(kind_of_case.memory)
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_tried(attempt, Path(line.rstrip("\n")))), file=answers, flush=True)


def _limit_memory(more: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, taken + more))


def _tried(attempt: Attempt, folder: Path) -> Verdict:
    try:
        return attempt(folder)
    except Exception:  # whatever it is, it is the finding
        return Verdict(FAULT, traceback.format_exc())


if __name__ == "__main__":
    main()
