#!/usr/bin/env bash
# Finding: libmpg123, as soundfile 0.14.0 brings it, decodes single frames of a valid mp3 of a very low bit rate otherwise than
# FFmpeg and minimp3 do.
#
# Expected: MPEG audio decoders agree to within rounding on a valid file; the standard lets a decoder choose nothing.
# Happens: of a stereo file at 24 kHz that LAME wrote at about 10 kbit/s (MPEG-2, average bit rate), FFmpeg (PyAV) and
# minimp3 (miniaudio) give the same 12 s within 5e-5, which is minimp3's 16 bits, and libmpg123 differs from both by a
# fifth of full scale in a frame or two, read whole and with nothing raised. Other signals give the same or no difference; at
# usual bit rates all three agree.
# Way round: decode mp3 by FFmpeg's libraries.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check soundfile==0.14.0 av==18.1.0 miniaudio==1.71 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import av
import miniaudio
import numpy as np
import soundfile

RATE, SEED = 24000, 4

random, time = np.random.default_rng(SEED), np.arange(RATE * 12) / RATE
sound = np.zeros((time.size, 2))
for channel in range(2):
    pitch = 110 + 40 * np.sin(2 * np.pi * (0.7 + 0.3 * channel) * time + SEED)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = (np.sin(2 * np.pi * 3.1 * time + channel) > -0.2) * (0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * time))
    hiss = random.standard_normal(time.size) * (np.sin(2 * np.pi * 5 * time + 2 * channel) > 0.6)
    sound[:, channel] = 0.15 * voice * loud + 0.02 * hiss
soundfile.write("a.mp3", sound, RATE, format="MP3", bitrate_mode="AVERAGE", compression_level=0.99)

mpg123, _ = soundfile.read("a.mp3", dtype="float32", always_2d=True)
with av.open("a.mp3") as container:
    ffmpeg = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).T
decoded = miniaudio.mp3_read_file_f32("a.mp3")
minimp3 = np.array(decoded.samples, np.float32).reshape(-1, decoded.nchannels)

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__, "PyAV", av.__version__)
print("frames:", len(mpg123), len(ffmpeg), len(minimp3))
far = {
    "FFmpeg and minimp3": np.abs(ffmpeg - minimp3),
    "libmpg123 and FFmpeg": np.abs(mpg123 - ffmpeg),
    "libmpg123 and minimp3": np.abs(mpg123 - minimp3),
}
for names, error in far.items():
    print(f"{names}: {error.max():.2g} at most, {np.count_nonzero(error.max(axis=1) > 1e-4)} samples above 1e-4")
agree = far["FFmpeg and minimp3"].max() < 1e-4
alone = far["libmpg123 and FFmpeg"].max() > 0.05 and far["libmpg123 and minimp3"].max() > 0.05
sys.exit(0 if agree and alone else 1)
PY
