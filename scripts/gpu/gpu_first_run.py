"""A GPU's first run: put each question in a process and a time of its own, and print what was answered.

``gpu_host.py`` starts this on the host, with everything installed. Findings go to ``results.jsonl`` as soon as they are
known, what the processes print to ``log.txt``, and the table at the end to ``table.md``, all in the output folder; a
question that fails, or runs out of its time, is recorded, and the next one is put. Exit status: 0 all answered, and
rightly; 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS, LOG, TABLE = "results.jsonl", "log.txt", "table.md"
ANSWERED, WRONG, UNANSWERED, CUT, FAILED = "answered", "wrong", "not answered", "out of time", "failed"
STOP = 3
"""What a question's process ends with where no later one can be answered."""
LEAST = 3.0
"""Seconds without which no question is begun."""


@dataclass(frozen=True)
class Step:
    """A question. name: of the function in ``gpu_tools.questions``. budget: seconds."""

    name: str
    question: str
    budget: float


STEPS = (
    Step("card", "is there a card, free, that fits the artifacts?", 20),
    Step("load", "does the driver load our artifacts?", 40),
    Step("smallest", "are the smallest graphs right: reorder, no_speech, cross_kv, choose?", 30),
    Step("replay", "do capture, replay and its verification accept step and choose?", 25),
    Step("parity", "is every stage openai-whisper's?", 45),
    Step("tokens", "are the clips' tokens the CPU's?", 55),
    Step("latency", "ms a token at batch 1, replayed and not?", 25),
    Step("encoder", "ms a window in the encoder?", 25),
    Step("throughput", "windows a second, and memory?", 40),
    Step("peer", "what does PyTorch do on this card?", 50),
    Step("large", "large-v3 and turbo, random weights?", 50),
)
"""In their order; together 405 s, which leaves 15 s of a run's 420 s to install the kit."""


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    findings: one line each. lacking: those of them that say what could not be asked. stop: no later one makes sense.
    """

    step: Step
    status: str
    seconds: float
    findings: tuple[str, ...]
    lacking: tuple[str, ...] = ()
    stop: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the child is ended, too
    args.kit, args.output = args.kit.resolve(), args.output.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in (RESULTS, LOG, TABLE):
        (args.output / name).unlink(missing_ok=True)
    steps = [step for step in STEPS if not args.only or step.name in args.only]
    answers = run(steps, args.seconds, args.output, lambda step: command_of(step, args))
    table = table_of(answers)
    (args.output / TABLE).write_text(table, encoding="utf-8")
    print(table)
    return 0 if all(answer.status == ANSWERED for answer in answers) else 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kit", type=Path, help="the folder that gpu_host.py installed into")
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"])
    parser.add_argument("--seconds", type=float, default=420, help="for all questions")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--only", nargs="*", default=[], help="names of questions; by default all")
    return parser


def command_of(step: Step, args: argparse.Namespace) -> list[str]:
    module = [sys.executable, "-u", "-m", "gpu_tools.questions"]
    return [*module, step.name, str(args.kit), "--device", args.device, "--results", str(args.output / RESULTS)]


def run(steps: Sequence[Step], seconds: float, output: Path, command: Callable[[Step], Sequence[str]]) -> list[Answer]:
    """Put the questions one after the other.

    Args:
        steps: in their order.
        seconds: for all of them.
        output: folder of the results.
        command: gives the command of a step, which appends its findings to the results.
    """
    deadline = time.monotonic() + seconds
    answers: list[Answer] = []
    for step in steps:
        left = deadline - time.monotonic()
        stopped = next((each.step.name for each in answers if each.stop), None)
        if stopped is not None:
            answer = Answer(step, UNANSWERED, 0.0, (f"not asked: {stopped} comes first",))
        elif left < LEAST:
            answer = Answer(step, UNANSWERED, 0.0, ("not asked: no time left",))
        else:
            answer = put(step, command(step), min(step.budget, left), output)
        keep(output / RESULTS, {**asdict(answer), "step": step.name, "budget": step.budget})
        print(f"{step.name}: {answer.status}, {answer.seconds:.1f} of {step.budget:.0f} s", flush=True)
        answers.append(answer)
    return answers


def put(step: Step, command: Sequence[str], seconds: float, output: Path) -> Answer:
    """One question in a process group of its own, which is ended when its time is over."""
    start = time.monotonic()
    known = size_of(output / RESULTS)
    with (output / LOG).open("ab") as log:
        log.write(f"\n== {step.name}\n".encode())
        log.flush()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=Path(__file__).parent, start_new_session=True
        )
        try:
            code: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(child)
    findings = read(output / RESULTS, known)
    status = status_of(code, findings)
    lines = [line_of(each) for each in findings]
    if code is None:
        lines.append(f"cut after {seconds:.0f} s")
    elif code not in (0, STOP):
        lines.append(f"its process ended with {code}: {last_line(output / LOG)}")
    open_ones = tuple(line_of(each) for each in findings if each["passed"] is None)
    return Answer(step, status, time.monotonic() - start, tuple(lines), open_ones, code == STOP)


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of a child's group."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def status_of(code: int | None, findings: Sequence[dict[str, Any]]) -> str:
    """Of a question, by how its process ended (None: it was killed) and what it found."""
    if code is None:
        return CUT
    if code not in (0, STOP):
        return FAILED
    passed = [finding["passed"] for finding in findings]
    if False in passed:
        return WRONG
    return ANSWERED if True in passed else UNANSWERED


def line_of(finding: dict[str, Any]) -> str:
    return ": ".join(filter(None, (finding["what"], finding["answer"])))


def keep(path: Path, entry: dict[str, Any]) -> None:
    """Append a line, on disk before anything else happens; what a child that was killed wrote half stays by itself."""
    whole = size_of(path) == 0 or path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, start: int) -> list[dict[str, Any]]:
    """The findings behind the first ``start`` bytes; a line that was cut off is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes()[start:].splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing printed"


def table_of(answers: Sequence[Answer]) -> str:
    """Question, answer, seconds, budget; then what is not answered."""
    lines = ["| question | answer | s | budget |", "| --- | --- | --- | --- |"]
    for answer in answers:
        first, *more = answer.findings or ("nothing found",)
        seconds = f"{answer.seconds:.1f} | {answer.step.budget:.0f}"
        lines.append(f"| {answer.step.question} **{answer.status}** | {first} | {seconds} |")
        lines += [f"| | {each} | | |" for each in more]
    total = sum(answer.seconds for answer in answers)
    lines.append(f"| together | | {total:.1f} | {sum(answer.step.budget for answer in answers):.0f} |")
    lines.append("\nWhat remained unanswered or wrong:\n")
    lines += [f"- {answer.step.name}: {answer.status}" for answer in answers if answer.status != ANSWERED]
    lines += [f"- {answer.step.name}: {each}" for answer in answers for each in answer.lacking]
    return "\n".join(lines if lines[-1].startswith("-") else [*lines, "nothing"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
