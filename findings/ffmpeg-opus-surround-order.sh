#!/usr/bin/env bash
# Finding: FFmpeg 8.1.2's libopus encoder (through PyAV 18.1.0) puts the channels of 5.0 and 6.1 sound in the wrong places.
#
# Expected: sound encoded as Opus comes back with each channel under the name it had.
# Happens: mono to 5.1 and 7.1 do; in 5.0 the centre (where dialogue is), back left and back right change places, and in
# 6.1 the centre, back centre and side left. Nothing is raised. Three changed channels are a cycle: it looks as if the
# permutation between the order of Vorbis (RFC 7845, mapping family 1) and that of FFmpeg were applied where its inverse
# is meant; in the other layouts the permutation is its own inverse. It is the encoder: FFmpeg's own decoder and
# libopus (through soundfile 0.14.0) agree on what such a file holds, and FLAC with the same names is right.
# A mix that weighs channels by name, such as one down to mono without the surround channels, loses the speech.
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

RATE, STEP, FIRST = 48000, 200, 300
# RFC 7845, 5.1.1.2: the order of channels in a stream of mapping family 1, by FFmpeg's names.
VORBIS = {
    "5.0": ["FL", "FC", "FR", "BL", "BR"],
    "5.1": ["FL", "FC", "FR", "BL", "BR", "LFE"],
    "6.1": ["FL", "FC", "FR", "SL", "SR", "BC", "LFE"],
}


def encode(codec, container, layout, tones):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(tones.T.reshape(1, -1).copy(), format="flt", layout=layout)
        frame.sample_rate = RATE
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.codec_context.format, layout, RATE, size)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()


def names_by_pitch(sound, names):
    """sound (channels, samples): which channel's tone each one holds."""
    middle = sound[:, RATE // 4 : RATE // 4 * 3]
    peaks = np.abs(np.fft.rfft(middle * np.hanning(middle.shape[1]))).argmax(axis=1) * RATE / middle.shape[1]
    return [names[round((peak - FIRST) / STEP)] for peak in peaks]


def by_ffmpeg(data, names):
    resampler = av.AudioResampler("fltp")
    with av.open(io.BytesIO(data)) as source:
        frames = list(source.decode(audio=0))
    pieces = [piece.to_ndarray() for frame in frames for piece in resampler.resample(frame)]
    return [c.name for c in frames[0].layout.channels], names_by_pitch(np.concatenate(pieces, axis=1), names)


print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info, "soundfile", soundfile.__version__)
right = {}
for layout in ("5.0", "5.1", "6.1"):
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    pitches = FIRST + STEP * np.arange(len(names))
    tones = (0.3 * np.sin(2 * np.pi * pitches[:, None] * np.arange(RATE) / RATE)).astype(np.float32)
    for codec, container in (("flac", "flac"), ("libopus", "ogg")):
        data = encode(codec, container, layout, tones)
        labels, held = by_ffmpeg(data, names)
        right[codec, layout, "FFmpeg"] = labels == held
        print(f"{codec:7} {layout}: FFmpeg's decoder says {labels}, which hold the tones of {held}")
    held = names_by_pitch(soundfile.read(io.BytesIO(data), dtype="float32")[0].T, names)
    right["libopus", layout, "libopus"] = held == VORBIS[layout]
    print(f"libopus {layout}: RFC 7845 says    {VORBIS[layout]}, libopus decodes the tones of {held}")
holds = all(ok == (codec == "flac" or layout == "5.1") for (codec, layout, _), ok in right.items())
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
