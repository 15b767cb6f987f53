"""How well and how fast speakers are told apart, beside another pipeline: ``scripts/bench/diarization.py AUDIO``.

Makes conversations whose turns are known (``conversations.py``), has both pipelines hear each in turn, and scores what
they say with pyannote.metrics (``pip install --group diarization``). ``--senko PYTHON`` is the Python of an environment
with senko 0.2.2, silero-vad and PyTorch. ``--kept FILE`` keeps what they said of each conversation, and hears none
again that is there: a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from conversations import Conversation, Turn, conversations

from whisper_max.audio.io import open_audio
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.speakers.diarize import tell_apart
from whisper_max.transcribe.speakers import SpeakerCount


class Found(NamedTuple):
    """What a pipeline finds in a conversation: turns, seconds that it took, and seconds of all cores together."""

    turns: list[Turn]
    wall: float
    processor: float


Hear = Callable[[Path], Found]
COLLARS = (0.0, 0.25)  # seconds on each side of a border of the truth that are not scored
PARTS = ("missed detection", "false alarm", "confusion")
SENKO = """
import json, senko, sys, time
diarizer = senko.Diarizer(device="cpu", warmup=False)
print(flush=True)
for path in sys.stdin:
    wall, processor = time.perf_counter(), time.process_time()
    found = diarizer.diarize(path.strip())
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    turns = [(each["start"], each["end"], each["speaker"]) for each in (found or {}).get("merged_segments", ())]
    print(json.dumps((turns, wall, processor)), flush=True)
"""


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="the folder with the recordings of conversations.READERS")
    parser.add_argument("--senko", metavar="PYTHON", help="hear them with senko too, in this environment")
    parser.add_argument("--speakers", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--each", type=int, default=10, help="conversations of each number of speakers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kept", type=Path, help="a file of what was found before, to which more is added")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    pipelines: dict[str, Hear] = {"here": hear}
    if args.senko:
        pipelines["senko"] = Senko(args.senko)
    kept = _read(args.kept)
    found: dict[str, list[Found]] = defaultdict(list)
    made: list[Conversation] = []
    warm = False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        for conversation in conversations(args.audio, args.speakers, args.each, seed=args.seed):
            soundfile.write(path, conversation.sound, SAMPLE_RATE)
            made.append(conversation)
            for name, hears in pipelines.items():
                key = f"{args.seed} {conversation.name} {name}"
                if key not in kept:
                    if not warm:
                        for each in pipelines.values():
                            each(path)  # what is made once, is not timed
                        warm = True
                    kept[key] = hears(path)
                    _keep(args.kept, key, kept[key])
                found[name].append(kept[key])
            print(f"{conversation.name}: {', '.join(f'{name} {each[-1].wall:.1f} s' for name, each in found.items())}")
    duration = sum(len(each.sound) for each in made) / SAMPLE_RATE
    report = {
        name: {**_speed(duration, each), **score(made, [one.turns for one in each])} for name, each in found.items()
    }
    figures = {"conversations": len(made), "seed": args.seed, "seconds": round(duration), **report}
    print(json.dumps(figures, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _read(path: Path | None) -> dict[str, Found]:
    """What was found before, by seed, conversation and pipeline."""
    if path is None or not path.exists():
        return {}
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {key: Found([tuple(turn) for turn in turns], wall, processor) for key, turns, wall, processor in lines}


def _keep(path: Path | None, key: str, found: Found) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, *found]) + "\n")


def _speed(duration: float, found: Sequence[Found]) -> dict[str, float]:
    return {
        "times_real_time": round(duration / sum(each.wall for each in found), 1),
        "processor_seconds_an_hour": round(3600 / duration * sum(each.processor for each in found), 1),
    }


def hear(path: Path) -> Found:
    """What whisper_max finds in a recording, the number of speakers not given."""
    wall, processor = time.perf_counter(), time.process_time()
    with open_audio(path) as waveform:
        turns = [(each.start, each.end, str(each.speaker)) for each in tell_apart(waveform, SpeakerCount()).turns]
    return Found(turns, time.perf_counter() - wall, time.process_time() - processor)


class Senko:
    """senko's pipeline with PyTorch, in a process of its own environment that stays."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", SENKO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._line()

    def __call__(self, path: Path) -> Found:
        """What it finds in a recording."""
        assert self._process.stdin is not None
        print(path, file=self._process.stdin)
        turns, wall, processor = json.loads(self._line())
        return Found([(start, end, speaker) for start, end, speaker in turns], wall, processor)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("senko ended")
        return line


def score(made: Sequence[Conversation], found: Sequence[list[Turn]]) -> dict[str, object]:
    """Diarization error rates in percent of what is said, by collar, in all and by the number of speakers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyannote.core import Annotation, Segment, Timeline
        from pyannote.metrics.diarization import DiarizationErrorRate

        def annotation(turns: Sequence[Turn]) -> Annotation:
            made = Annotation()
            for number, (start, end, speaker) in enumerate(turns):
                made[Segment(start, end), number] = speaker
            return made

        right = sum(
            len({turn[2] for turn in each.turns}) == len({turn[2] for turn in turns})
            for each, turns in zip(made, found, strict=True)
        )
        report: dict[str, object] = {"number_of_speakers_right": right}
        for collar in COLLARS:
            metric = DiarizationErrorRate(collar=2 * collar)  # pyannote's is both sides together
            sums: dict[str, Counter[str]] = defaultdict(Counter)
            for conversation, turns in zip(made, found, strict=True):
                whole = Timeline([Segment(0, len(conversation.sound) / SAMPLE_RATE)])
                parts = metric(annotation(conversation.turns), annotation(turns), uem=whole, detailed=True)
                for group in ("all", conversation.name.partition("_speakers")[0]):
                    sums[group].update({part: parts[part] for part in (*PARTS, "total")})
            report[f"collar_{collar}"] = {
                group: {
                    "error": round(100 * sum(each[part] for part in PARTS) / each["total"], 2),
                    **{part.replace(" ", "_"): round(100 * each[part] / each["total"], 2) for part in PARTS},
                }
                for group, each in sums.items()
            }
    return report


if __name__ == "__main__":
    main()
