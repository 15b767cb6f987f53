"""Which weight each channel has in the mix: FFmpeg's own, by its own down-mix."""

import io
import struct
import subprocess
import sys
import textwrap
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from whisper_max.audio.channels import mix_weights
from whisper_max.audio.formats.containers import Frames, take_layout
from whisper_max.audio.io import load_audio

# All that av_channel_layout_standard knows, but binaural, which FFmpeg does not mix.
LAYOUTS = [
    *("mono", "stereo", "downmix", "2.1", "3.0", "3.0(back)", "4.0", "quad", "quad(side)", "3.1", "5.0", "5.0(side)"),
    *("4.1", "5.1", "5.1(side)", "6.0", "6.0(front)", "3.1.2", "hexagonal", "6.1", "6.1(back)", "6.1(front)", "7.0"),
    *("7.0(front)", "7.1", "7.1(wide)", "7.1(wide-side)", "5.1.2", "5.1.2(back)", "octagonal", "cube", "5.1.4"),
    *("7.1.2", "7.1.4", "7.2.3", "9.1.4", "9.1.6", "hexadecagonal", "22.2"),
]
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24)  # of channels that FFmpeg mixes where nothing is said of them


def layout_of(name):
    try:
        return av.AudioLayout(name)
    except ValueError:
        pytest.skip(f"this FFmpeg does not know the layout {name}")


def ffmpeg_weights(name, n_channels):
    """What of each channel FFmpeg puts into one, mixing as for whole numbers."""
    alone = np.eye(n_channels, dtype=np.float32)  # a frame for each channel, which is 1 there
    frame = av.AudioFrame.from_ndarray(alone.reshape(1, -1), format="flt", layout=name)
    frame.sample_rate = 16000
    mixer = av.AudioResampler(format="flt", layout="mono", rate=16000, options={"rematrix_maxval": "1.0"})
    return np.concatenate([mixed.to_ndarray()[0] for mixed in mixer.resample(frame) + mixer.resample(None)])


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_of_every_layout(name):
    layout = layout_of(name)
    speakers = tuple(channel.name for channel in layout.channels)
    weights = mix_weights(speakers, layout.nb_channels)
    assert np.abs(weights - ffmpeg_weights(name, layout.nb_channels)).max() < 1e-6
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("n_channels", NUMBERS)
def test_weights_where_nothing_is_known(n_channels):
    found = mix_weights(None, n_channels)
    assert np.abs(found - ffmpeg_weights(f"{n_channels} channels", n_channels)).max() < 1e-6


def test_weights_where_ffmpeg_refuses():
    assert mix_weights(None, 9).tolist() == pytest.approx([1 / 9] * 9)
    assert mix_weights(("AMBI0", "AMBI1", "AMBI2", "AMBI3"), 4).tolist() == [1, 0, 0, 0]
    assert mix_weights(("LFE",), 1).tolist() == [1]
    assert mix_weights(("BL", "BR"), 2).tolist() == [0.5, 0.5]


# ---------------------------------------------------------------- files

SECONDS, RATE = 1, 16000


def sound(n_channels):
    """Another tone in each channel; the last ones are as loud as the first."""
    time = np.arange(SECONDS * RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 170 * channel) * time) for channel in range(n_channels)], axis=1)


def ffmpeg_mix(path):
    """What FFmpeg makes of a file for a program that wants one channel of whole numbers."""
    mixer = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = [mixed for frame in container.decode(audio=0) for mixed in mixer.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *mixer.resample(None)]]) / 32768


def write_layout(path, name, codec, format=None):
    """A file of this layout, whose header says so."""
    n_channels = layout_of(name).nb_channels
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.layout = name
        samples = np.round(sound(n_channels) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=name)
        frame.sample_rate = RATE
        size = stream.codec_context.frame_size
        fit = av.AudioResampler(format=stream.format, layout=name, rate=RATE, frame_size=size)
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            piece.pts = None
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "name", ["3.0", "3.1", "quad", "4.0", "5.0(side)", "5.1", "5.1(side)", "hexagonal", "6.1", "7.1", "7.1(wide)"]
)
@pytest.mark.parametrize(
    ("extension", "codec", "format"),
    [
        ("wav", "pcm_s16le", None),
        ("w64", "pcm_s16le", None),
        ("caf", "pcm_s16le", None),
        ("aiff", "pcm_s16be", None),
        ("flac", "flac", None),
        ("mov", "pcm_s16le", None),
    ],
)
def test_files_that_name_their_speakers(tmp_path, name, extension, codec, format):
    if extension in ("aiff", "caf") and name == "7.1":
        pytest.skip("PyAV can't read its order of speakers")
    path = write_layout(tmp_path / f"a.{extension}", name, codec, format)
    assert np.abs(load_audio(path) - ffmpeg_mix(path)).max() < 1e-4


@pytest.mark.parametrize("n_channels", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(
    ("extension", "options"),
    [
        ("wav", {}),
        ("wav", {"format": "WAVEX"}),
        ("wav", {"format": "RF64"}),
        ("aiff", {}),
        ("caf", {}),
        ("au", {}),
        ("w64", {}),
        ("flac", {}),
        ("ogg", {"subtype": "VORBIS"}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
    ],
)
def test_files_by_their_format(tmp_path, n_channels, extension, options):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, sound(n_channels), RATE, **options)
    found, expected = load_audio(path), ffmpeg_mix(path)
    n_samples = min(len(found), len(expected))
    tolerance = 2e-3 if extension == "opus" else 1e-4  # of 48 kHz, which two resamplers change to 16
    assert np.abs(found[:n_samples] - expected[:n_samples])[400:-400].max() < tolerance
    assert abs(len(found) - len(expected)) < 400


def test_an_array_of_six_channels_is_in_the_order_of_ffmpeg():
    samples = sound(6).astype(np.float32)
    expected = samples @ mix_weights(("FL", "FR", "FC", "LFE", "BL", "BR"), 6)
    assert np.abs(load_audio(samples) - expected).max() < 1e-6


def wav_of_mask(mask, samples):
    """A wav file of 16 bits whose channel mask is this."""
    n_channels, content = samples.shape[1], np.round(samples * 32767).astype("<i2").tobytes()
    head = struct.pack("<HHIIHH", 0xFFFE, n_channels, RATE, RATE * 2 * n_channels, 2 * n_channels, 16)
    head += struct.pack("<HHI", 22, 16, mask) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(content)) + content
    return io.BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_a_mask_of_other_channels_than_there_are_says_nothing():
    found = load_audio(wav_of_mask(0x3, sound(6)))
    assert np.abs(found - sound(6) @ mix_weights(None, 6)).max() < 1e-4


def test_a_front_pair_and_a_bass_speaker_by_their_mask():
    samples = sound(3)
    assert np.abs(load_audio(wav_of_mask(0xB, samples)) - samples[:, :2].mean(1)).max() < 1e-4  # FL, FR, LFE
    assert np.abs(load_audio(wav_of_mask(0x7, samples)) - samples @ mix_weights(("FL", "FR", "FC"), 3)).max() < 1e-4


# ---------------------------------------------------------------- many channels through FFmpeg

_READ_ALL = """
import io, sys
import av, numpy as np
from whisper_max.audio.channels import mix_weights
from whisper_max.audio.io import load_audio
from whisper_max.errors import AudioError

for n_channels in range(1, 67):
    layout = f"{n_channels} channels"
    samples = (np.arange(1, n_channels + 1) * 100 + np.zeros((16000, 1))).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as container:
        stream = container.add_stream(sys.argv[1], rate=16000)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    try:
        found = load_audio(file)
    except AudioError as error:
        print(n_channels, error)
        continue
    assert found.shape == (16000,)
    assert abs(found[8000] - samples[0] @ mix_weights(None, n_channels) / 32768) < 1e-5, n_channels
print("end")
"""


def test_up_to_64_channels(tmp_path):
    script = tmp_path / "read_all.py"
    script.write_text(textwrap.dedent(_READ_ALL))
    done = subprocess.run([sys.executable, script, "pcm_s16le"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    refused = [f"{n} BytesIO: too many channels: expected at most 64, found {n}" for n in (65, 66)]
    assert done.stdout.splitlines() == [*refused, "end"]


def test_a_layout_of_its_own_order_is_kept_from_the_decoder():
    class Codec:
        layout: Any = av.AudioLayout("FL+FC+FR")

    codec: Any = Codec()
    custom = take_layout(codec)
    assert custom == ("FL", "FC", "FR")
    assert codec.layout == "3 channels"
    codec.layout = av.AudioLayout("3 channels")
    frames = Frames(codec, "a.mov", custom)
    frame = av.AudioFrame.from_ndarray(np.ones((1, 30), np.float32), format="flt", layout="3 channels")
    frame.sample_rate = RATE
    [block] = frames.blocks(frame)
    assert block.layout == ("FL", "FC", "FR")
    assert block.samples.shape == (10, 3)


_READ_MOV = """
import io, sys
import av, numpy as np
from whisper_max.audio.channels import mix_weights
from whisper_max.audio.io import load_audio

order = ("FL", "FR", "FC", "LFE", "SL", "SR", "BL", "BR")
samples = (np.arange(1, 9) * 100 + np.zeros((4000, 1))).astype(np.int16)
file = io.BytesIO()
with av.open(file, "w", format="mov") as container:
    stream = container.add_stream("pcm_s16le", rate=16000)
    stream.layout = "7.1"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="7.1")
    frame.sample_rate = 16000
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
content = file.getvalue()
at = content.index(b"chan") + 8  # behind the name, version and flags: the order, here that of CoreAudio's units
content = content[:at] + (128 << 16 | 8).to_bytes(4) + bytes(4) + content[at + 8 :]
for _ in range(20):
    found = load_audio(io.BytesIO(content))
    assert abs(found[2000] - samples[0] @ mix_weights(order, 8) / 32768) < 1e-5
print("end")
"""


def test_a_mov_whose_speakers_are_in_an_order_of_its_own(tmp_path):
    script = tmp_path / "read_mov.py"
    script.write_text(textwrap.dedent(_READ_MOV))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=1800)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
