"""How late and how right whisper-streaming's words are, by the clock and the recordings of ``live_latency.py``.

``whisper_online.py`` of github.com/ufal/whisper_streaming runs on faster-whisper in an environment of its own, with its
defaults: LocalAgreement, beams of 5, a chunk of a second, segments trimmed after 15 s, no voice activity detection
(which would be fetched by torch.hub). Its last words come when the recording ends.

    python scripts/bench/live_peer.py MANIFEST.jsonl --peer OTHER/bin/python --code whisper_online.py --model FOLDER \\
        --json peer.json

FOLDER has the weights in CTranslate2's format, as ``whisper_max quantize`` writes them. The environment needs
faster-whisper and librosa, this one the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from live_latency import PIECE, RATE, SILENCE

from whisper_max.audio.io import load_audio
from whisper_max.measure.evaluate import Errors, Normaliser, count_errors, read_manifest

CHILD = """
import importlib.util, io, json, sys, time
import soundfile
from faster_whisper import WhisperModel
code, folder, language, step, piece, rate, beams, clock_name, threads = json.loads(sys.argv[1])
spec = importlib.util.spec_from_file_location("whisper_online", code)
online = importlib.util.module_from_spec(spec)
spec.loader.exec_module(online)
clock_of = {"wall": time.perf_counter, "processor": time.process_time}[clock_name]

class OnProcessor(online.FasterWhisperASR):
    def load_model(self, modelsize=None, cache_dir=None, model_dir=None):
        model = WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=threads)
        self.transcribe_kargs["beam_size"] = beams
        return model

    def transcribe(self, audio, init_prompt=""):
        segments, _ = self.model.transcribe(
            audio, language=self.original_language, initial_prompt=init_prompt, word_timestamps=True,
            condition_on_previous_text=True, **self.transcribe_kargs)
        return list(segments)

asr = OnProcessor(language, model_dir=folder)
for line in sys.stdin:
    samples, _ = soundfile.read(line.strip(), dtype="float32")
    processor = online.OnlineASRProcessor(asr, logfile=io.StringIO())
    clock = busy = longest = 0.0
    fed, words = 0, []
    while fed < len(samples):
        come = min(int(clock * rate + 0.5) // piece * piece, len(samples))
        if come - fed < step * rate and come < len(samples):
            clock = (fed + step * rate) / rate if clock * rate < fed + step * rate else clock + piece / rate
            continue
        start = clock_of()
        processor.insert_audio_chunk(samples[fed:come])
        before = len(processor.commited)
        processor.process_iter()
        took = clock_of() - start
        fed, clock, busy, longest = come, clock + took, busy + took, max(longest, took)
        words += [[each[1], each[2], clock] for each in processor.commited[before:]]
    words += [[each[1], each[2], clock] for each in processor.transcript_buffer.complete()]
    print(json.dumps([words, busy, longest]), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", default="resemble-ai/Resemblyzer", help="key `source` of the recordings to take")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--peer", required=True, metavar="PYTHON")
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    how = [str(args.code), str(args.model), "en", args.step, PIECE, RATE, args.beams, args.clock, args.threads]
    command = [args.peer, "-c", CHILD, json.dumps(how)]
    entries = read_manifest(args.manifest).select({"source": args.source}, args.limit).entries
    normalise, errors = Normaliser(), Errors()
    late: list[float] = []
    busy = seconds = longest = 0.0
    wave = args.json.with_suffix(".wav")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for entry in entries:
            samples = np.concatenate([load_audio(entry.path), np.zeros(round(SILENCE * RATE), np.float32)])
            soundfile.write(wave, samples, RATE, subtype="FLOAT")
            process.stdin.write(f"{wave}\n")
            process.stdin.flush()
            words, took, most = json.loads(process.stdout.readline())
            busy, seconds, longest = busy + took, seconds + len(samples) / RATE, max(longest, most)
            late += [clock - end for end, _, clock in words]
            text = normalise("".join(word for _, word, _ in words), "en")
            errors += count_errors(normalise(entry.transcript, "en"), text, "en")[0]
        process.stdin.close()
    wave.unlink()
    report = {
        "system": "whisper-streaming",
        "model": args.model.name,
        "step": args.step,
        "beams": args.beams,
        "recordings": len(entries),
        "seconds": round(seconds, 1),
        "words": len(late),
        "latency_mean": round(float(np.mean(late)), 2),
        "latency_p95": round(float(np.percentile(late, 95)), 2),
        "wer_live": errors.rate,
        "busy": round(busy / seconds, 3),
        "longest_call": round(longest, 2),
    }
    print(report)
    args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
