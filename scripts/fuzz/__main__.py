"""``python -m scripts.fuzz``: try cases of every kind for a while; exit status 1 where one is a fault."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from scripts.fuzz.child import Child
from scripts.fuzz.kinds import NAMES, Kind, kind
from scripts.fuzz.verdicts import ACCEPTED, FAULT, REFUSED

_FOLDER = Path("build/fuzz")
Seeds = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Case:
    """One input: ``KIND/SEED/NUMBER`` of a run; the same names give the same bytes."""

    kind: str
    seed: str
    number: int
    run: str

    @property
    def name(self) -> str:
        """For people, and for ``--case``."""
        return f"{self.kind}/{self.seed}/{self.number}"

    def write(self, folder: Path, how: Kind, seeds: Seeds) -> None:
        """Write its files into a folder that was empty; number 0 is the seed as it is."""
        files = dict(seeds[self.seed])
        random = Random(f"{self.run}/{self.name}")
        if self.number:
            name = random.choice(sorted(files))
            files[name] = how.change(name, files[name], random)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def main() -> int:
    """Try cases, print those that are faults, and what became of all."""
    args = _arguments()
    run = args.seed or ("0" if os.environ.get("CI") else secrets.token_hex(4))
    print(f"seed {run}: the same cases again with --seed {run}", flush=True)
    faults = 0
    print(f"{'kind':<12}{'tried':>8}{ACCEPTED:>10}{REFUSED:>10}{'faults':>8}")
    for name in args.kind or ([args.case.split("/")[0]] if args.case else NAMES):
        found = _fuzz(name, run, args)
        faults += found[FAULT]
        print(f"{name:<12}{found.total():>8}{found[ACCEPTED]:>10}{found[REFUSED]:>10}{found[FAULT]:>8}", flush=True)
    if faults:
        print(f"the inputs of these faults are in {_FOLDER}; they stay on this machine", file=sys.stderr)
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all kinds together (default: %(default)s)")
    parser.add_argument("--cases", type=int, help="of each kind, in place of a time")
    parser.add_argument("--kind", choices=NAMES, action="append", help="only this one; may be given again")
    parser.add_argument("--seed", help="of the run; by default another each time, and 0 where CI is set")
    parser.add_argument("--case", metavar="KIND/SEED/NUMBER", help="only this case of the run that --seed names")
    return parser.parse_args()


def _fuzz(name: str, run: str, args: argparse.Namespace) -> Counter[str]:
    how = kind(name)
    seeds = how.seeds()
    end = time.monotonic() + args.seconds / len(args.kind or NAMES)
    found: Counter[str] = Counter()
    work = _FOLDER / "work" / name
    with Child(name, how.seconds) as child:
        for tried, case in enumerate(_cases(name, seeds, run, args.case)):
            if tried >= args.cases if args.cases else time.monotonic() > end:
                break
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            case.write(work, how, seeds)
            verdict = child.judge(work.resolve())
            refused = case.number == 0 and verdict.kind == REFUSED  # a seed, which is valid
            outcome = FAULT if refused else verdict.kind
            found[outcome] += 1
            if outcome == FAULT:
                _keep(case, work, verdict.said)
    return found


def _cases(kind: str, seeds: Seeds, run: str, only: str | None) -> Iterator[Case]:
    """Every seed as it is, then changed ones, a round of all seeds after the other."""
    if only is not None:
        _, name, place = only.split("/")
        yield Case(kind, name, int(place), run)
        return
    for number in count():
        for seed in sorted(seeds):
            yield Case(kind, seed, number, run)


def _keep(case: Case, work: Path, said: str) -> None:
    """Keep a fault's files beside what was said of it, and tell people."""
    kept = _FOLDER / "faults" / f"{case.name.replace('/', '-')}-{case.run}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(work, kept / "files")
    (kept / "said.txt").write_text(said, encoding="utf-8", errors="backslashreplace")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    print(f"fault: --seed {case.run} --case {case.name}: {last[:200]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
