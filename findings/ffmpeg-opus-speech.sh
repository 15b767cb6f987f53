#!/usr/bin/env bash
# Finding: FFmpeg 8.1.2's own Opus decoder (through PyAV 18.1.0) and libopus, of the same packets, give speech a tenth
# of full scale apart, where the packets are SILK's; CELT's are the same.
#
# Expected: a decoder of Opus gives what libopus gives but for rounding; FFmpeg picks its own decoder by itself, and
# libopus, which PyAV brings too, only where it is asked for by name.
# Happens: CELT packets far from SILK ones are equal to 1e-5. SILK packets are resampled by another filter with another
# delay, of a fraction of a sample: sharp sounds differ by a tenth of full scale or more. What is heard is nearly the same; a test
# that compares decoded speech with another program's has to know which decoder that has.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import io
import sys

import av
import numpy as np
import soundfile

RATE, PACKET, DELAY = 16000, 960, 312  # Hz; samples of a packet at 48 kHz, and those that come before the first one
NEAR = 10  # packets
SILK = range(12)  # configurations, in the upper five bits of a packet's first byte: RFC 6716, 3.1


def babble(seed):
    """Pulses, noise and pauses by turns, all through three resonances, 20 s."""
    random = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < 20 * RATE:
        length, kind = int(random.uniform(0.08, 0.3) * RATE), random.random()
        sound = np.zeros(length)
        if kind < 0.6:
            sound[:: int(RATE / random.uniform(90, 220))] = 1
        elif kind < 0.85:
            sound[:] = random.standard_normal(length)
        bins = np.fft.rfftfreq(length, 1 / RATE)
        gain = sum(1 / (1 + ((bins - random.uniform(*peak)) / 80) ** 2) for peak in ((300, 900), (900, 2500), (2500, 3500)))
        sound = np.fft.irfft(np.fft.rfft(sound) * gain, length)
        parts.append(10 ** random.uniform(-1.5, -0.2) * sound / max(np.abs(sound).max(), 1e-9))
    return np.concatenate(parts).clip(-0.9, 0.9)


def decoded(name, head, packets):
    decoder = av.CodecContext.create(name, "r")
    decoder.extradata = head
    decoder.options = {"request_sample_fmt": "flt"}
    return np.concatenate([frame.to_ndarray().ravel() for each in packets for frame in decoder.decode(av.Packet(each))])


print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info, "soundfile", soundfile.__version__)
largest = {"SILK": 0.0, "CELT and hybrid": 0.0}
counts = dict.fromkeys(largest, 0)
for seed in range(4):
    file = io.BytesIO()
    soundfile.write(file, babble(seed), RATE, format="OGG", subtype="OPUS", compression_level=0.95)
    file.seek(0)
    with av.open(file) as source:
        stream = source.streams.audio[0]
        head, packets = stream.codec_context.extradata, [bytes(packet) for packet in source.demux(stream) if packet.size]
    apart = np.abs(decoded("opus", head, packets) - decoded("libopus", head, packets))
    kinds = ["SILK" if packet[0] >> 3 in SILK else "CELT and hybrid" for packet in packets]
    for number, kind in enumerate(kinds):
        counts[kind] += 1
        if set(kinds[max(0, number - NEAR) : number + NEAR + 1]) == {kind}:  # not beside the other kind
            here = apart[max(0, number * PACKET - DELAY) : (number + 1) * PACKET - DELAY]
            largest[kind] = max(largest[kind], float(here.max(initial=0)))
for kind, count in counts.items():
    print(f"{kind}: {count} packets, at most {largest[kind]:.6f} apart")
holds = largest["SILK"] > 0.1 and largest["CELT and hybrid"] < 1e-5
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
