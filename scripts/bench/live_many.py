"""How late words come where many speak at once: live sessions whose decodings share one batch of the model.

As in ``live_latency.py`` the clock is simulated: each session gets its audio at the pace of real time, and what the
model does takes as much of that time as it takes on this machine. A session that has something to decode joins the
batch when it is its turn and one of ``--places`` is free, with the audio that has come by then, as in the server. Each
one speaks recordings of the manifest with a pause after each, and they begin one after the other within a second.

    python scripts/bench/live_many.py ../shared/audio/manifest.jsonl --sessions 16 --model base:int8 \\
        --policy attention --step 1 --json live_many.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from live_latency import CLOCK_HELP, CLOCKS, PIECE, RATE, SILENCE
from numpy.typing import NDArray

import whisper_max
from whisper_max.api import Model
from whisper_max.audio.io import load_audio
from whisper_max.audio.vad import new_detector
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.engine.renewal import renewal_of
from whisper_max.live import Committed, LiveOptions, LiveTranscript
from whisper_max.live.core import Heard, Listening, LiveCore
from whisper_max.measure.evaluate import Errors, ManifestEntry, Normaliser, count_errors, read_manifest
from whisper_max.server.engine_thread import LIVE_PLACES
from whisper_max.server.realtime.session import LATE
from whisper_max.transcribe.growing import GrowingWindow
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.scheduler import Scheduler


@dataclass
class Session:
    """One speaker: what is fed to whom, and what came of it."""

    core: LiveCore
    samples: NDArray[np.float32]
    begins: float  # seconds
    window: GrowingWindow | None
    fed: int = 0
    behind: int = 0  # samples that waited for its turn
    closed: bool = False
    done: bool = False
    listening: Listening | None = None
    recording: Recording | None = None
    segments: list[Segment] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    transcript: LiveTranscript = field(default_factory=LiveTranscript)

    def feed(self, clock: float) -> None:
        """Push what has come by now."""
        come = min(max(0, int((clock - self.begins) * RATE + 0.5) // PIECE * PIECE), len(self.samples))
        self.behind = come - self.fed
        self.core.push(self.samples[self.fed : come])
        self.fed = max(self.fed, come)
        if self.fed == len(self.samples) and not self.closed:
            self.core.close()
            self.closed = True

    def tell(self, clock: float) -> None:
        """Take what the core has to tell."""
        events = self.core.take_events()
        self.transcript.add(events)
        words = [word for event in events if isinstance(event, Committed) for word in event.words]
        self.latencies += [clock - self.begins - word.end for word in words]


def run(model: Model, sessions: Sequence[Session], clock_of: Callable[[], float], n_places: int) -> tuple[float, float]:
    """Let all speak to their ends; returns the seconds that passed and those of them that the model was busy."""
    scheduler = Scheduler(model.inference, max_windows=n_places)
    in_line = list(sessions)  # who decoded last is the last
    clock = busy = 0.0
    deciding: dict[int, Session] = {}
    while not all(session.done for session in sessions):
        start = clock_of()
        for session in list(in_line):
            if session.listening is None and not session.done and scheduler.has_room:
                session.feed(clock)
                if (listening := session.core.next_listening()) is not None:
                    deciding[_begin(model, scheduler, session, listening)] = session
                    in_line.remove(session)
                    in_line.append(session)
                session.done = session.closed and listening is None
        is_idle = scheduler.idle
        if not is_idle:
            for update in scheduler.advance():
                session = deciding[update.id]
                session.segments += update.segments
                if update.error is not None:
                    raise update.error
                if update.done:
                    del deciding[update.id]
                    _accept(session)
        took = clock_of() - start
        clock, busy = clock + took, busy + took
        for session in sessions:
            session.tell(clock)
        if is_idle:
            clock = (int(clock * RATE) // PIECE + 1) * PIECE / RATE
    return clock, busy


def _begin(model: Model, scheduler: Scheduler, session: Session, listening: Listening) -> int:
    samples, encode = ArrayWaveform(listening.samples), listening.encoding(session.window, brief=session.behind > LATE)
    recording = open_recording(
        samples, model.vocabulary, model.dims.n_mels, listening.options, as_openai=True, encode=encode
    )
    recording.begin(model.inference)
    session.listening, session.recording, session.segments = listening, recording, []
    return scheduler.add(recording)


def _accept(session: Session) -> None:
    if session.listening is None or session.recording is None:  # it was begun
        return
    heard = Heard(session.segments, session.recording.language, session.recording.language_probability)
    session.core.accept(session.listening, heard)
    session.listening = session.recording = None


def speakers(
    entries: Sequence[ManifestEntry],
    n_sessions: int,
    seconds: float,
    options: LiveOptions,
    new_window: Callable[[], GrowingWindow | None],
) -> Iterator[tuple[Session, str]]:
    """Sessions and what is said in them: each begins with another recording, and goes on for so many seconds."""
    pause = np.zeros(round(SILENCE * RATE), np.float32)
    for number in range(n_sessions):
        parts: list[NDArray[np.float32]] = []
        texts: list[str] = []
        while sum(map(len, parts)) < seconds * RATE:
            entry = entries[(number * 3 + len(texts)) % len(entries)]
            parts += [load_audio(entry.path), pause]
            texts.append(entry.transcript)
        core = LiveCore(options, new_detector())
        yield Session(core, np.concatenate(parts), number / n_sessions, new_window()), " ".join(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", default="resemble-ai/Resemblyzer", help="key `source` of the recordings to take")
    parser.add_argument("--model", default="base:int8")
    parser.add_argument("--sessions", type=int, nargs="+", default=[16])
    parser.add_argument("--seconds", type=float, default=20.0, help="that each speaks")
    parser.add_argument("--policy", default="agreement")
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--sure", type=float, default=0.4)
    parser.add_argument("--places", type=int, default=LIVE_PLACES, help="sessions that decode at the same time")
    parser.add_argument("--whole_windows", action="store_true", help="encode all of the audio at each step")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=CLOCK_HELP)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    entries = read_manifest(args.manifest).select({"source": args.source}).entries
    name, _, compute_type = args.model.partition(":")
    model = whisper_max.load_model(name, device="cpu", compute_type=compute_type or "auto", threads=args.threads)
    how = {"step": args.step, "policy": args.policy, "margin": args.margin, "sure": args.sure}
    renewal = None if args.whole_windows else renewal_of(model.inference, print)
    options = LiveOptions(TranscribeOptions(language="en"), **how)
    normalise = Normaliser()

    def new_window() -> GrowingWindow | None:
        return None if renewal is None else renewal.new_window()

    results: list[dict[str, Any]] = []
    for n_sessions in args.sessions:
        pairs = list(speakers(entries, n_sessions, args.seconds, options, new_window))
        began = time.monotonic()
        seconds, busy = run(model, [session for session, _ in pairs], CLOCKS[args.clock], args.places)
        late = np.concatenate([session.latencies for session, _ in pairs])
        errors = Errors()
        for session, text in pairs:
            heard = session.transcript.result().text
            errors += count_errors(normalise(text, "en"), normalise(heard, "en"), "en")[0]
        results.append(
            {
                "model": name,
                "target": model.target,
                **how,
                "sessions": n_sessions,
                "places": args.places,
                "seconds": round(seconds, 1),
                "words": len(late),
                "latency_mean": round(float(np.mean(late)), 2),
                "latency_p95": round(float(np.percentile(late, 95)), 2),
                "wer_live": errors.rate,
                "busy": round(busy / seconds, 3),
                "took": round(time.monotonic() - began, 1),
            }
        )
        print(results[-1], flush=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
