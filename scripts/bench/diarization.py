"""How well and how fast speakers are told apart, beside another pipeline: ``scripts/bench/diarization.py AUDIO``.

Makes conversations whose turns are known (``conversations.py``), has both pipelines hear each in turn, and scores what
they say with pyannote.metrics (``pip install --group diarization``). ``--senko PYTHON`` is the Python of an environment
with senko 0.2.2, silero-vad and PyTorch.
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

import soundfile
from conversations import Conversation, Turn, conversations

from whisper_max.audio.io import open_audio
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.speakers.diarize import tell_apart
from whisper_max.transcribe.speakers import SpeakerCount

Hear = Callable[[Path], list[Turn]]
COLLARS = (0.0, 0.25)  # seconds on each side of a border of the truth that are not scored
PARTS = ("missed detection", "false alarm", "confusion")
SENKO = """
import json, senko, sys
diarizer = senko.Diarizer(device="cpu", warmup=False)
print(flush=True)
for path in sys.stdin:
    found = diarizer.diarize(path.strip())
    turns = [(each["start"], each["end"], each["speaker"]) for each in (found or {}).get("merged_segments", ())]
    print(json.dumps(turns), flush=True)
"""


def main() -> None:
    """Measure, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="the folder with the recordings of conversations.READERS")
    parser.add_argument("--senko", metavar="PYTHON", help="hear them with senko too, in this environment")
    parser.add_argument("--speakers", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--each", type=int, default=10, help="conversations of each number of speakers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    pipelines: dict[str, Hear] = {"here": hear}
    if args.senko:
        pipelines["senko"] = Senko(args.senko)
    found: dict[str, list[list[Turn]]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    made: list[Conversation] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        for conversation in conversations(args.audio, args.speakers, args.each, seed=args.seed):
            soundfile.write(path, conversation.sound, SAMPLE_RATE)
            for name, hears in pipelines.items():
                if not made:
                    hears(path)  # what is made once, is not timed
                begin = time.perf_counter()
                found[name].append(hears(path))
                seconds[name] += time.perf_counter() - begin
            made.append(conversation)
            print(f"{conversation.name}: {', '.join(f'{name} {each:.1f} s' for name, each in seconds.items())}")
    duration = sum(len(each.sound) for each in made) / SAMPLE_RATE
    report = {
        name: {"times_real_time": round(duration / seconds[name], 1), **score(made, turns)}
        for name, turns in found.items()
    }
    figures = {"conversations": len(made), "seconds": round(duration), **report}
    print(json.dumps(figures, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def hear(path: Path) -> list[Turn]:
    """The turns of a recording as whisper_max finds them, the number of speakers not given."""
    with open_audio(path) as waveform:
        return [(each.start, each.end, str(each.speaker)) for each in tell_apart(waveform, SpeakerCount()).turns]


class Senko:
    """senko's pipeline with PyTorch, in a process of its own environment that stays."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", SENKO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._line()

    def __call__(self, path: Path) -> list[Turn]:
        """The turns of a recording."""
        assert self._process.stdin is not None
        print(path, file=self._process.stdin)
        return [(start, end, speaker) for start, end, speaker in json.loads(self._line())]

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
