import errno
import hashlib
import io
import os
import sys
import threading
import tracemalloc
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio import io as audio_io
from whisper_max.audio.channels import mix_weights
from whisper_max.audio.io import load_audio, open_audio
from whisper_max.audio.spool import SpooledWaveform
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import AudioError, OptionError

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
SAMPLE_SHA256 = "ebd52851100536db02d12c49fddd010372dcdc70243562e057553d476b706ae0"
LOSSLESS = ["wav", "flac", "aiff", "au", "w64", "caf", "rf64"]
LOSSY = ["ogg", "opus", "mp3"]
CODECS = {"ogg": {"format": "OGG", "subtype": "VORBIS"}, "opus": {"format": "OGG", "subtype": "OPUS"}}


def tone(seconds=2.0, rate=16000, hz=440.0):
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_audio(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **{**CODECS.get(path.suffix[1:], {}), **options})
    return path


def error_of(source, **options):
    with pytest.raises(AudioError) as error:
        load_audio(source, **{"strict": True, **options})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sample_that_comes_with_the_project():
    samples = load_audio(SAMPLE)
    assert samples.shape == (176000,)
    assert samples.dtype == np.float32
    assert hashlib.sha256(samples.tobytes()).hexdigest() == SAMPLE_SHA256


# ---------------------------------------------------------------- formats, rates, channels


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_formats_give_their_samples(tmp_path, extension):
    samples = np.round(tone() * 32768).astype(np.int16)
    path = write_audio(tmp_path / f"a.{extension}", samples, subtype="PCM_16")
    assert np.array_equal(load_audio(path), samples / np.float32(32768))


@pytest.mark.parametrize("extension", LOSSY)
def test_lossy_formats_give_a_tone_of_the_same_length(tmp_path, extension):
    samples = load_audio(str(write_audio(tmp_path / f"a.{extension}", tone())))
    assert samples.shape == (32000,)
    assert np.sqrt(np.mean(samples[4000:-4000] ** 2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_any_rate_and_channel_count(tmp_path, rate, n_channels):
    samples = np.stack([tone(5.0, rate) * (channel + 1) / n_channels for channel in range(n_channels)], axis=1)
    path = write_audio(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    found = load_audio(path)
    weights = mix_weights(None, n_channels)
    expected = tone(5.0) * float(weights @ np.arange(1, n_channels + 1)) / n_channels
    assert found.shape == expected.shape
    assert np.abs(found - expected)[400:-400].max() < 1e-4


@given(rate=st.integers(1000, 200_000), n_samples=st.integers(0, 30_000))
@settings(max_examples=60, deadline=None)
def test_resampled_length_is_the_nearest(rate, n_samples):
    found = load_audio(np.zeros(n_samples, np.float32), sampling_rate=rate)
    assert abs(len(found) - n_samples * 16000 / rate) <= 0.51


def test_resampling_by_blocks_equals_resampling_at_once(monkeypatch):
    samples = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    at_once = load_audio(samples, sampling_rate=44100)
    monkeypatch.setattr(audio_io, "_BLOCK_FRAMES", 777)
    assert np.abs(load_audio(samples, sampling_rate=44100) - at_once).max() < 1e-6


def test_a_file_of_no_samples_is_an_empty_waveform(tmp_path):
    for extension in ("wav", "aiff"):
        path = write_audio(tmp_path / f"a.{extension}", np.zeros(0, np.float32))
        assert load_audio(path).shape == (0,)


# ---------------------------------------------------------------- sources


def test_sources_of_bytes(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "a.wav", tone(), subtype="PCM_16")
    expected = load_audio(path)
    with open(path, "rb") as file:
        assert np.array_equal(load_audio(file), expected)
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)
    stdin = types.SimpleNamespace(buffer=io.BytesIO(path.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert np.array_equal(load_audio("-"), expected)
    assert error_of("-") == "standard input: empty file: expected audio, found 0 bytes"


def test_a_named_pipe_is_read(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(), subtype="PCM_16")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    try:
        assert np.array_equal(load_audio(pipe), load_audio(path))
    finally:
        writer.join()


def test_a_terminal_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert error_of("-") == "standard input: no audio; pipe a file into it"


def test_arrays():
    samples = tone()
    assert np.array_equal(load_audio(samples), samples)
    assert np.array_equal(load_audio(samples.astype(np.float64)), samples)
    integers = np.array([0, 1, -32768, 32767], np.int16)
    assert np.array_equal(load_audio(integers), integers / np.float32(32768))
    stereo = np.stack([samples, np.zeros_like(samples)], axis=1)
    assert np.array_equal(load_audio(stereo), samples / 2)
    assert load_audio(np.zeros(0, np.float32)).shape == (0,)
    assert load_audio(np.zeros((1, 2), np.float32)).shape == (1,)
    assert load_audio(tone(1.0, 8000), sampling_rate=8000).shape == (16000,)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((2, 3, 4), np.float32),
            "array: wrong shape: expected (n_samples,) or (n_samples, n_channels) with 1",
        ),
        (np.zeros((2, 16000), np.float32), "found (2, 16000)"),
        (np.zeros((5, 0), np.float32), "found (5, 0)"),
        (np.zeros(()), "found ()"),
        (np.zeros(5, np.int32), "array: wrong dtype: expected int16 or floating point, found int32"),
        (np.zeros(5, np.complex64), "found complex64"),
        (np.array(["a"]), "array: wrong dtype"),
    ],
)
def test_arrays_that_are_no_audio(array, message):
    assert message in error_of(array)


@pytest.mark.parametrize("rate", [0, -1, 999, 1_000_001, 16000.0, True])
def test_impossible_rates(rate):
    with pytest.raises(OptionError, match="sampling_rate"):
        load_audio(np.zeros(5, np.float32), sampling_rate=rate)


def test_a_rate_for_a_file_is_refused(tmp_path):
    with pytest.raises(OptionError, match="sampling_rate is for arrays; a file carries its own: found 8000"):
        load_audio(write_audio(tmp_path / "a.wav", tone()), sampling_rate=8000)


@pytest.mark.parametrize("source", [None, 5, ["a.wav"], b"RIFF"])
def test_other_types_are_refused(source):
    assert "not a source of audio: expected a path, '-', a binary file object or a NumPy array" in error_of(source)


def test_a_file_opened_as_text_is_refused():
    assert "StringIO: opened as text" in error_of(io.StringIO("RIFF"))


# ---------------------------------------------------------------- bad files


def test_bad_paths(tmp_path):
    assert error_of(tmp_path / "no.wav") == f"{tmp_path}/no.wav: no such file"
    assert error_of(tmp_path) == f"{tmp_path}: a folder, not an audio file"
    assert error_of(tmp_path / "a" / "b.wav") == f"{tmp_path}/a/b.wav: no such file"
    assert error_of("a\0b").startswith("'a\\x00b': not a file name")
    assert "File name too long" in error_of("a" * 300)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert error_of("secret.wav") == "secret.wav: can't be opened: found Permission denied"


def test_an_empty_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    assert error_of(tmp_path / "a.wav") == f"{tmp_path}/a.wav: empty file: expected audio, found 0 bytes"


@pytest.mark.parametrize("content", [b"hello world " * 100, np.random.default_rng(0).bytes(5000), b"R"])
def test_a_file_that_is_no_audio(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert error_of(path).startswith(f"{path}: ")


@pytest.mark.parametrize("fraction", [0.95, 0.5, 0.1])
@pytest.mark.parametrize("extension", [*LOSSLESS, *LOSSY])
def test_truncated_files_are_never_transcribed_in_part(tmp_path, extension, fraction):
    path = write_audio(tmp_path / f"a.{extension}", tone(4.0) + 0.01 * np.random.default_rng(0).standard_normal(64000))
    assert len(load_audio(path)) == 64000
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    assert "truncated" in error_of(path)


def test_truncated_wav_says_what_is_missing(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(1.0), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 20000])
    assert error_of(path) == (
        f"{path}: truncated: expected 32000 bytes of audio, found 20000; "
        "get the whole file, or convert what is there to wav"
    )


def test_ogg_without_its_last_page_is_truncated(tmp_path):
    path = write_audio(tmp_path / "a.opus", tone(4.0))
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    assert "expected a last page, found a page that is not marked as the last" in error_of(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_written_to_a_pipe_has_no_size_and_is_read_to_its_end(tmp_path, size):
    path = write_audio(tmp_path / "a.wav", tone(1.0), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(load_audio(path)) == 16000


def with_size(path, size, after=b""):
    """A wav of a second whose header declares ``size`` bytes of samples."""
    content = bytearray(write_audio(path, tone(1.0), subtype="PCM_16").read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content + after)
    return path


INFO = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT" + (14).to_bytes(4, "little") + b"Lavf60.16.100\0"


def test_a_wav_of_size_0_is_read_to_its_end(tmp_path):
    whole = load_audio(write_audio(tmp_path / "b.wav", tone(1.0), subtype="PCM_16"))
    assert np.array_equal(load_audio(with_size(tmp_path / "a.wav", 0)), whole)
    content = (tmp_path / "a.wav").read_bytes()
    assert np.array_equal(load_audio(io.BytesIO(content)), whole)
    (tmp_path / "a.wav").write_bytes(content[:4] + bytes(4) + content[8:100])
    assert len(load_audio(tmp_path / "a.wav")) == 28


def test_a_wav_of_big_endian_is_no_exception(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(1.0), subtype="PCM_16", endian="BIG")
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(4) + content[44:])
    assert len(load_audio(path)) == 16000


def test_a_wav_of_size_0_before_other_chunks_is_empty(tmp_path):
    path = write_audio(tmp_path / "a.wav", np.zeros(0, np.float32), subtype="PCM_16")
    path.write_bytes(path.read_bytes() + INFO * 300)
    assert len(load_audio(path)) == 0


@pytest.mark.parametrize("size", [20000, 30974])
def test_a_wav_with_more_samples_than_its_header_declares_is_refused(tmp_path, size):
    assert error_of(with_size(tmp_path / "a.wav", size)) == (
        f"{tmp_path}/a.wav: its header declares less audio than it holds: expected {size} bytes, "
        f"found {32000 - size} more that belong to nothing; repair the header, or cut off what is not audio"
    )


def test_samples_after_the_chunks_of_a_wav_are_noticed(tmp_path):
    samples = np.random.default_rng(0).bytes(2000)
    path = with_size(tmp_path / "a.wav", 32000, INFO + samples)
    assert f"found {len(samples)} more" in error_of(path)


@pytest.mark.parametrize("after", [INFO, INFO * 2, INFO[:20], b"junk" * 10, b"TAG" + bytes(range(125)), bytes(70_000)])
def test_chunks_tags_and_padding_after_the_audio_are_no_audio(tmp_path, after):
    assert len(load_audio(with_size(tmp_path / "a.wav", 32000, after))) == 16000


@pytest.mark.parametrize("pad", [b"\0", b""])
def test_an_odd_size_is_padded_or_not(tmp_path, pad):
    path = write_audio(tmp_path / "a.wav", tone(1.0), subtype="PCM_U8")
    content = bytearray(path.read_bytes())
    content[40:44] = (15999).to_bytes(4, "little")
    path.write_bytes(content[: 44 + 15999] + pad + INFO * 100)
    assert len(load_audio(path)) == 15999


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_that_were_not_scaled_are_refused(dtype):
    scaled = np.array([0.0, 2.5, -101 / 32768, 100.0], dtype)
    assert load_audio(scaled).tolist() == scaled.astype(np.float32).tolist()
    with pytest.raises(AudioError) as caught:
        load_audio(np.array([0, 99, -101, 30_000], dtype))
    assert str(caught.value) == (
        "array: a sample that is no sound: expected finite values, about -1 to 1, found -101.0 at sample 2 (0.000 s); "
        "divide what was int16 by 32768"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound_are_named(tmp_path, value):
    samples = np.stack([tone(10.0), tone(10.0)], axis=1)
    samples[150_000:, 1] = value
    path = write_audio(tmp_path / "a.wav", samples, subtype="FLOAT")
    expected = f"a sample that is no sound: expected finite values, about -1 to 1, found {np.float32(value)} at sample"
    assert error_of(path) == f"{path}: {expected} 150000 (9.375 s)"
    assert error_of(samples) == f"array: {expected} 150000 (9.375 s)"
    assert "at sample 150000" in error_of(samples[:, 1])


def test_float64_beyond_float32_is_refused_by_its_place():
    samples = np.zeros(10)
    samples[3] = 1e300
    assert "found inf at sample 3" in error_of(samples)


# ---------------------------------------------------------------- long recordings


def test_long_recordings_are_spooled_with_the_same_samples(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "a.wav", tone(4.0, 44100), 44100, subtype="FLOAT")
    with open_audio(path) as short:
        assert isinstance(short, ArrayWaveform)
        whole = short.read(0, short.n_samples)
    monkeypatch.setattr(audio_io, "_IN_MEMORY_SAMPLES", 20_000)
    with open_audio(path) as long:
        assert isinstance(long, SpooledWaveform)
        assert (long.n_samples, long.duration) == (64000, 4.0)
        for start, stop in [
            (0, 64000),
            (63990, 70000),
            (-5, 3),
            (100, 100),
            (200, 100),
            (70000, 80000),
            (12345, 23456),
        ]:
            assert np.array_equal(long.read(start, stop), whole[max(start, 0) : stop])
    with pytest.raises(AudioError, match="can't be read back"):
        long.read(0, 1)


def test_spool_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_io, "_IN_MEMORY_SAMPLES", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_audio(tone().astype(np.float64)) as waveform:
        assert waveform.n_samples == 32000
        assert os.listdir(tmp_path) == []  # unlinked while in use
    assert os.listdir(tmp_path) == []


def test_no_room_for_the_spool(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_io, "_IN_MEMORY_SAMPLES", 100)
    path = write_audio(tmp_path / "a.wav", tone())
    message = "decoded samples can't be written to a temporary file: found No space left on device; set TMPDIR"
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        assert message in error_of(path)
    monkeypatch.undo()
    monkeypatch.setattr(audio_io, "_IN_MEMORY_SAMPLES", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert "no temporary file: found No such file or directory; set TMPDIR" in error_of(path)


def test_a_spool_that_shrinks_is_noticed(tmp_path):
    with open(tmp_path / "spool", "w+b", buffering=0) as file:
        file.write(bytes(400))
        waveform = SpooledWaveform(file, 101)
        assert waveform.read(0, 100).shape == (100,)
        with pytest.raises(AudioError, match="byte 400: the temporary file of decoded samples became shorter"):
            waveform.read(0, 101)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for _ in range(20):
            file.write(np.zeros(60 * 16000, np.int16))
    tracemalloc.start()
    try:
        with open_audio(path) as waveform:
            assert waveform.duration == 1200.0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * audio_io._IN_MEMORY_SAMPLES * 4 + 2e6


# ---------------------------------------------------------------- FFmpeg


def write_media(path, codec, seconds=4.0, rate=48000, format=None, **options):
    with av.open(str(path), "w", format=format, container_options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.tile(tone(seconds, rate), (2, 1)), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


MEDIA = [("m4a", "aac", None), ("webm", "libopus", "webm"), ("mkv", "libopus", "matroska"), ("aac", "aac", "adts")]


@pytest.mark.parametrize(("extension", "codec", "format"), MEDIA)
def test_media_files(tmp_path, extension, codec, format):
    samples = load_audio(write_media(tmp_path / f"a.{extension}", codec, format=format))
    assert abs(len(samples) / 16000 - 4.0) < 0.05
    assert np.sqrt(np.mean(samples[4000:60000] ** 2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.1])
@pytest.mark.parametrize(("extension", "codec", "format"), MEDIA[:3])
def test_truncated_media_files(tmp_path, extension, codec, format, fraction):
    path = write_media(tmp_path / f"a.{extension}", codec, format=format)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    assert "truncated" in error_of(path)


def test_mp3_without_a_header_of_its_length_is_read(tmp_path):
    path = write_media(tmp_path / "a.mp3", "libmp3lame", seconds=7.0, rate=44100, write_xing="0")
    assert abs(len(load_audio(path)) / 16000 - 7.0) < 0.1


def test_flac_written_to_a_pipe_is_read(tmp_path):
    path = write_audio(tmp_path / "a.flac", tone())
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert len(load_audio(path)) == 32000


def test_no_audio_track(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert error_of(tmp_path / "a.mkv") == f"{tmp_path}/a.mkv: no audio track: found 1 other tracks"


# ---------------------------------------------------------------- watched by whoever calls


def test_whoever_calls_is_told_the_seconds_and_may_end_it(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(20.0, 44100), 44100)
    told = []
    with open_audio(path, on_decoded=told.append) as waveform:
        assert told == sorted(told)
        assert told[-1] == waveform.duration == 20.0

    class Enough(Exception):
        pass

    def stop(seconds):
        if seconds > 5:
            raise Enough(seconds)

    with pytest.raises(Enough) as ended, open_audio(path, on_decoded=stop):
        pass
    assert 5 < ended.value.args[0] < 10
    with pytest.raises(Enough), open_audio(tone(20.0).astype(np.float32), on_decoded=stop):
        pass


def test_how_much_stays_in_memory_can_be_chosen(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(4.0))
    for seconds, kind in ((3.9, SpooledWaveform), (4.1, ArrayWaveform)):
        with open_audio(path, in_memory_seconds=seconds) as waveform:
            assert isinstance(waveform, kind)
            assert waveform.n_samples == 64000


def test_an_unbuffered_file_is_read_where_it_is(tmp_path, monkeypatch):
    path = write_audio(tmp_path / "a.wav", tone(1.0))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with open(path, "rb", buffering=0) as file:
        with open_audio(file) as waveform:
            assert waveform.n_samples == 16000
        assert not file.closed
    with open(path, "rb") as left, pytest.raises(AudioError, match="no temporary file"), open_audio(left):
        pass


def test_more_channels_than_any_recording_has(tmp_path):
    path = write_audio(tmp_path / "a.wav", np.zeros((100, 65)))
    assert "too many channels: expected at most 64, found 65" in error_of(path)


# ---------------------------------------------------------------- disks that fail


@pytest.fixture
def broken_disk(monkeypatch):
    """A disk that refuses what is beyond 64 KiB of any file, to Python and to libsndfile."""
    pread = os.pread

    def refuse(descriptor, n_bytes, offset):
        if offset + n_bytes > 1 << 16 and offset < os.fstat(descriptor).st_size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, n_bytes, offset)

    def read(*_args, **_options):
        raise soundfile.LibsndfileError(2)  # SF_ERR_SYSTEM

    monkeypatch.setattr(os, "pread", refuse)
    monkeypatch.setattr(soundfile.SoundFile, "read", read)


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "ogg", "mp3"])
def test_a_disk_that_fails_midway_is_no_silence(tmp_path, broken_disk, extension):
    path = write_audio(tmp_path / f"a.{extension}", np.random.default_rng(0).uniform(-0.5, 0.5, 400_000))
    assert error_of(path) == f"{path}: can't be read, or damaged: found Input/output error"


def test_a_disk_that_fails_under_a_mended_header(tmp_path, broken_disk, monkeypatch, capfd):
    monkeypatch.undo()
    path = write_audio(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 400_000))
    content = bytearray(path.read_bytes())
    content[40:44] = bytes(4)  # a size that was never filled in
    path.write_bytes(content)
    pread = os.pread

    def refuse(descriptor, n_bytes, offset):
        if offset >= 400_000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, n_bytes, offset)

    monkeypatch.setattr(os, "pread", refuse)
    assert error_of(path) == f"{path}: can't be read, or damaged: found Input/output error"
    assert capfd.readouterr().err == ""


def test_a_track_that_nothing_decodes(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"A_PCM/INT/LIT", b"A_OF/NOBODY/1"))
    assert error_of(path) == f"{path}: its audio is in a codec that is not known"


def test_file_objects_that_are_closed_or_text_are_refused_in_our_words(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(SAMPLE.read_bytes())
    with open(path, "rb") as buffered, open(path, "rb", buffering=0) as raw, io.BytesIO(b"RIFF") as memory:
        closed = buffered, raw, memory
    for opened in closed:
        with pytest.raises(AudioError, match="closed"):
            load_audio(opened)
    with open(path, encoding="utf-8") as text, pytest.raises(AudioError, match="opened as text"):
        load_audio(text)  # type: ignore[arg-type]

    class Gone(io.RawIOBase):
        def read(self, size=-1):
            raise ValueError("I/O operation on closed file")

    with pytest.raises(AudioError, match="can't be read"):
        load_audio(Gone())  # type: ignore[arg-type]


def test_a_track_is_a_number_or_a_language():
    with pytest.raises(OptionError, match="track"):
        load_audio(SAMPLE, track=1.5)  # type: ignore[arg-type]
