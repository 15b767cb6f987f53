"""How late and how right words of other systems are, by the clock and the recordings of ``live_latency.py``.

Each runs in an environment of its own, on faster-whisper with the same weights in int8, by its own defaults:

- ``whisper-streaming``: ``whisper_online.py`` of github.com/ufal/whisper_streaming, LocalAgreement, beams of 5,
  segments trimmed after 15 s, no voice activity detection (which would be fetched by torch.hub).
- ``whisperlivekit`` of the package index, by LocalAgreement: beams of 5, the same code in the main.
- ``whisperlivekit-alignatt``: AlignAtt, greedy; the encoder is faster-whisper's, the decoder PyTorch's.

Its last words come when the recording ends.

    python scripts/bench/live_peer.py MANIFEST.jsonl --system whisperlivekit --peer OTHER/bin/python --model FOLDER \\
        --json peer.json

FOLDER has the weights in CTranslate2's format, as ``whisper_max quantize`` writes them; AlignAtt takes OpenAI's ``.pt``
(``--decoder``) besides. This environment needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from live_latency import CORES, PIECE, RATE, SILENCE

from whisper_max.audio.io import load_audio
from whisper_max.measure.evaluate import Errors, Normaliser, count_errors, read_manifest

CHILD = """
import importlib.util, io, json, sys, time
import soundfile
asked = json.loads(sys.argv[1])
step, piece, rate = asked["step"], asked["piece"], asked["rate"]
clock_of = {"wall": time.perf_counter, "processor": time.process_time}[asked["clock"]]

def faster_whisper():
    from faster_whisper import WhisperModel
    return WhisperModel(asked["model"], device="cpu", compute_type="int8", cpu_threads=asked["threads"])

class Agreement:
    'LocalAgreement; whisper-streaming has triples where WhisperLiveKit has objects.'

    def __init__(self, start):
        self.start = start

    def begin(self):
        self.online = self.start()
        self.buffer = self.online.transcript_buffer

    def feed(self, samples, end):
        self.online.insert_audio_chunk(samples)
        before = len(getattr(self.online, "commited", None) or self.online.committed)
        self.online.process_iter()
        return words_of((getattr(self.online, "commited", None) or self.online.committed)[before:])

    def finish(self):
        return words_of(self.buffer.buffer)

class AlignAtt:
    def __init__(self, start):
        self.start = start

    def begin(self):
        self.online = self.start()

    def feed(self, samples, end):
        self.online.insert_audio_chunk(samples, end)
        return words_of(self.online.process_iter()[0])

    def finish(self):
        return words_of(self.online.process_iter(is_last=True)[0])

def words_of(found):
    return [[each[1], each[2]] if isinstance(each, tuple) else [each.end, each.text] for each in found or ()]

def whisper_streaming():
    spec = importlib.util.spec_from_file_location("whisper_online", asked["code"])
    online = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(online)

    class OnProcessor(online.FasterWhisperASR):
        def load_model(self, modelsize=None, cache_dir=None, model_dir=None):
            self.transcribe_kargs["beam_size"] = asked["beams"]
            return faster_whisper()

        def transcribe(self, audio, init_prompt=""):
            segments, _ = self.model.transcribe(
                audio, language=self.original_language, initial_prompt=init_prompt, word_timestamps=True,
                condition_on_previous_text=True, **self.transcribe_kargs)
            return list(segments)

    asr = OnProcessor("en", model_dir=asked["model"])
    return Agreement(lambda: online.OnlineASRProcessor(asr, logfile=io.StringIO()))

def whisperlivekit():
    from whisperlivekit.local_agreement.backends import FasterWhisperASR
    from whisperlivekit.local_agreement.online_asr import OnlineASRProcessor

    class OnProcessor(FasterWhisperASR):
        def load_model(self, model_size=None, cache_dir=None, model_dir=None):
            return faster_whisper()

    asr = OnProcessor("en", model_dir=asked["model"])
    asr.tokenizer, asr.confidence_validation, asr.buffer_trimming, asr.buffer_trimming_sec = None, False, "segment", 15
    return Agreement(lambda: OnlineASRProcessor(asr))

def alignatt():
    import torch
    from whisperlivekit.config import WhisperLiveKitConfig
    from whisperlivekit.simul_whisper import backend
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    backend.WhisperModel = lambda *names, **options: faster_whisper()
    config = WhisperLiveKitConfig(lan="en", backend="faster-whisper")
    options = {**vars(config), "decoder_model_path": asked["decoder"], "encoder_model_path": asked["model"],
               "warmup_file": "", "min_chunk_size": step}
    options.setdefault("model_path", None)
    asr = backend.SimulStreamingASR(**options)
    return AlignAtt(lambda: backend.SimulStreamingOnlineProcessor(asr))

systems = {"whisper-streaming": whisper_streaming, "whisperlivekit": whisperlivekit}
system = systems.get(asked["system"], alignatt)()
answers = sys.stdout
sys.stdout = sys.stderr
for line in sys.stdin:
    samples, _ = soundfile.read(line.strip(), dtype="float32")
    system.begin()
    clock = busy = longest = 0.0
    fed, words, worked = 0, [], time.process_time()
    while fed < len(samples):
        come = min(int(clock * rate + 0.5) // piece * piece, len(samples))
        if come - fed < step * rate and come < len(samples):
            clock = (fed + step * rate) / rate if clock * rate < fed + step * rate else clock + piece / rate
            continue
        start = clock_of()
        found = system.feed(samples[fed:come], come / rate)
        took = clock_of() - start
        fed, clock, busy, longest = come, clock + took, busy + took, max(longest, took)
        words += [[end, text, clock] for end, text in found]
    start = clock_of()
    found = system.finish()
    took = clock_of() - start
    clock, busy = clock + took, busy + took
    words += [[end, text, clock] for end, text in found]
    print(json.dumps([words, busy, longest, time.process_time() - worked]), file=answers, flush=True)
"""
SYSTEMS = ("whisper-streaming", "whisperlivekit", "whisperlivekit-alignatt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", default="resemble-ai/Resemblyzer", help="key `source` of the recordings to take")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--peer", required=True, metavar="PYTHON")
    parser.add_argument("--system", choices=SYSTEMS, default=SYSTEMS[0])
    parser.add_argument("--code", type=Path, help="whisper_online.py, of whisper-streaming")
    parser.add_argument("--decoder", type=Path, help="OpenAI's .pt of the same model, for AlignAtt")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    how = {
        **{name: getattr(args, name) for name in ("system", "step", "beams", "clock", "threads")},
        **{name: str(getattr(args, name) or "") for name in ("code", "decoder", "model")},
        "piece": PIECE,
        "rate": RATE,
    }
    command = [args.peer, "-c", CHILD, json.dumps(how)]
    entries = read_manifest(args.manifest).select({"source": args.source}, args.limit).entries
    normalise, errors = Normaliser(), Errors()
    late: list[float] = []
    busy = seconds = longest = worked = 0.0
    wave = args.json.with_suffix(".wav")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for entry in entries:
            samples = np.concatenate([load_audio(entry.path), np.zeros(round(SILENCE * RATE), np.float32)])
            soundfile.write(wave, samples, RATE, subtype="FLOAT")
            process.stdin.write(f"{wave}\n")
            process.stdin.flush()
            words, took, most, processor = json.loads(process.stdout.readline())
            worked += processor
            busy, seconds, longest = busy + took, seconds + len(samples) / RATE, max(longest, most)
            late += [clock - end for end, _, clock in words]
            text = normalise("".join(word for _, word, _ in words), "en")
            errors += count_errors(normalise(entry.transcript, "en"), text, "en")[0]
        process.stdin.close()
    wave.unlink()
    report = {
        "system": args.system,
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
        "processor": round(worked / seconds / CORES, 3),
        "longest_call": round(longest, 2),
    }
    print(report)
    args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
