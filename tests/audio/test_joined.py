"""Files that hold more than their headers tell: joined ones, and those of wrong or missing lengths."""

import contextlib
import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio.formats import mp3
from whisper_max.audio.io import load_audio, open_audio
from whisper_max.audio.pieces import Pieces
from whisper_max.errors import AudioError

ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")
ID3V2 = b"ID3\x04\0\0\0\0\x02\x00" + b"TIT2".ljust(256, b"\0")
APE = b"APETAGEX\xd0\x07\0\0" + (32).to_bytes(4, "little") + bytes(4) + b"\0\0\0\0" + bytes(8)


def tone(seconds, rate=16000, hz=440.0):
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(format, seconds=2.0, rate=16000, n_channels=1, hz=440.0, **options):
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone(seconds, rate, hz)] * n_channels, axis=1), rate, format=format, **options)
    return file.getvalue()


def mp3_file(seconds=2.0, **options):
    return encoded("MP3", seconds, **options)


def without_header(content):
    """An mp3 less its first frame, which is the header alone."""
    return content[mp3.MP3.frame(content[:64]).size :]


def load(content, **options):
    return load_audio(io.BytesIO(content), **options)


def error_of(content):
    with pytest.raises(AudioError) as error:
        load(content, strict=True)
    return str(error.value)


def pitch(samples):
    """Hz of the loudest tone."""
    return np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * 16000 / len(samples)


# ---------------------------------------------------------------- mp3


@pytest.mark.parametrize("between", [b"", ID3V1, ID3V2, ID3V1 + ID3V2, bytes(5000), b"\x55" * 5000])
def test_joined_mp3_files_are_read_one_after_the_other(between):
    parts = [mp3_file(2.0, hz=300.0), mp3_file(3.0, hz=600.0), mp3_file(1.0, hz=900.0)]
    whole = load(between.join(parts))
    assert np.array_equal(whole, np.concatenate([load(part) for part in parts]))
    assert len(whole) == 6 * 16000
    assert pitch(whole[81000:95000]) == pytest.approx(900, abs=3)


def test_an_mp3_file_joined_with_itself():
    part = mp3_file(2.0)
    assert len(load(part * 5)) == 10 * 16000


@pytest.mark.parametrize("first", [1, 2])
def test_joined_mp3_files_of_other_channels(first):
    whole = load(mp3_file(2.0, n_channels=first) + mp3_file(2.0, n_channels=3 - first))
    assert len(whole) == 4 * 16000
    assert np.sqrt(np.mean(whole[4000:-4000] ** 2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("strip", [without_header, lambda content: content])
def test_joined_mp3_files_of_other_rates_are_each_resampled(strip):
    parts = [strip(mp3_file(2.0)), strip(mp3_file(2.0, rate=44100, hz=600.0)), strip(mp3_file(1.0, hz=900.0))]
    whole = load(b"".join(parts), strict=True)
    assert np.array_equal(whole, np.concatenate([load(part) for part in parts]))
    assert pitch(whole[36000:60000]) == pytest.approx(600, abs=3)


def test_an_mp3_file_without_header_before_one_with_a_header_and_the_reverse():
    part = mp3_file(2.0)
    bare = without_header(part)
    n_bare = len(load(bare))
    assert 32000 <= n_bare < 32000 + 3 * 576
    assert len(load(bare + part)) == n_bare + 32000
    assert len(load(part + bare)) == pytest.approx(64000, abs=5 * 576)
    assert len(load(bare + bare)) == pytest.approx(64000, abs=5 * 576)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_channels_that_change_in_an_mp3_file_without_header(n_channels):
    content = without_header(mp3_file(2.0, n_channels=n_channels)) + without_header(
        mp3_file(2.0, n_channels=3 - n_channels)
    )
    assert len(load(content)) == pytest.approx(64000, abs=6 * 576)


def variable(seconds=6.0, rate=44100):
    """An mp3 of loud and quiet parts, its frames of many sizes."""
    times = np.arange(round(seconds * rate)) / rate
    samples = 0.1 * np.random.default_rng(0).standard_normal(len(times)) * (np.sin(3 * times) > 0.5)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9)
    return file.getvalue()


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
@pytest.mark.parametrize("skip", [1, 30, 31, 60])
def test_the_end_of_an_mp3_is_counted_not_guessed_from_its_first_frames(rate, skip):
    content = variable(rate=rate)
    place, n_samples = 0, 1152 if rate > 24000 else 576
    for _ in range(skip):
        place += mp3.MP3.frame(content[place : place + 64]).size
    frames = round(6 * rate / n_samples + 3) - (skip - 1)
    assert len(load(content[place:])) / 16000 == pytest.approx(frames * n_samples / rate, abs=3.5 * n_samples / rate)


def with_number(content, number, flags=None):
    """The mp3 with another number of frames in its header."""
    at = max(content[:64].find(b"Xing"), content[:64].find(b"Info"))
    return (
        content[: at + 7]
        + bytes([content[at + 7] if flags is None else flags])
        + number.to_bytes(4)
        + content[at + 12 :]
    )


@pytest.mark.parametrize(("number", "flags"), [(1, None), (20, None), (57, None), (0, None), (58, 0)])
def test_an_mp3_header_that_tells_less_frames_or_none_does_not_end_the_file(number, flags):
    assert 32000 <= len(load(with_number(mp3_file(2.0), number, flags))) < 32000 + 3 * 576


def test_an_mp3_header_that_tells_more_frames_is_of_a_truncated_file():
    assert "truncated: expected 59 frames, found 58" in error_of(with_number(mp3_file(2.0), 59))


@pytest.mark.parametrize("number", [20, 58])
def test_a_vbri_header_does_not_end_the_file(number):
    bare = without_header(mp3_file(2.0))
    header = bare[:4] + bytes(32) + b"VBRI" + bytes(10) + number.to_bytes(4)
    content = header.ljust(mp3.MP3.frame(header).size, b"\0") + bare
    assert np.array_equal(load(content), load(bare))
    more = content.replace(number.to_bytes(4), (59).to_bytes(4), 1)
    assert "truncated: expected 59 frames, found 58" in error_of(more)


def test_a_truncated_mp3_before_a_whole_one_is_refused():
    part = mp3_file(2.0)
    assert "truncated: expected 58 frames" in error_of(part[: len(part) // 2] + part)
    assert "truncated: expected 58 frames" in error_of(part + part[: len(part) // 2])


@pytest.mark.parametrize(
    "after", [ID3V1, ID3V2, APE, b"LYRICSBEGIN" + b"la " * 1000 + b"000511LYRICS200" + ID3V1, bytes(9000)]
)
@pytest.mark.parametrize("strip", [without_header, lambda content: content])
def test_tags_and_padding_after_an_mp3_are_no_audio(strip, after):
    content = strip(mp3_file(2.0))
    assert np.array_equal(load(content + after), load(content))
    assert np.array_equal(load(ID3V2 + content + after), load(content))


def test_bytes_between_frames_that_nothing_vouches_for_are_refused():
    bare = without_header(mp3_file(2.0))
    assert "damaged: expected frames of mp3, found 5000 other bytes" in error_of(bare + b"\x55" * 5000 + bare)
    assert len(load(bare + b"\x55" * 500 + bare, strict=True)) == len(load(bare + bare))


@pytest.mark.parametrize(("n_bytes", "other"), [(500, b"\x55"), (5000, b"\x55"), (5000, b"\0")])
def test_as_much_silence_as_frames_would_have_filled_other_bytes(n_bytes, other):
    bare = without_header(mp3_file(2.0))
    begin = len(load(bare))
    n_lost = round(n_bytes / len(bare) * begin / 576)  # frames
    with open_audio(io.BytesIO(bare + other * n_bytes + bare)) as waveform:
        assert waveform.n_samples == len(load(bare + bare)) + n_lost * 576
        assert not waveform.read(begin, begin + n_lost * 576).any()
        (warning,) = waveform.warnings
    assert warning.kind == "damaged"
    assert warning.start == pytest.approx(begin / 16000)
    assert warning.end == pytest.approx((begin + n_lost * 576) / 16000)


def test_a_frame_by_chance_in_other_bytes_is_none():
    bare = without_header(mp3_file(2.0))
    frame = bare[:4]
    assert len(load(bare + b"\x55" * 100 + frame + b"\x55" * 1000 + bare, strict=True)) == len(load(bare + bare))


def test_other_bytes_are_counted_for_each_recording():
    bare, stereo = without_header(mp3_file(1.0)), without_header(mp3_file(1.0, n_channels=2))
    other = b"\x55" * 1000
    assert len(load(bare + other + stereo + other, strict=True)) == len(load(bare + stereo))
    assert "found 2000 other bytes" in error_of(bare + other + bare + other + stereo)


@pytest.mark.parametrize("tag", [b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"LYRICSBEGIN", b"ID3\x04\0\0\xff\0\0\0"])
def test_what_only_begins_as_a_tag_hides_no_audio(tag):
    part = mp3_file(2.0)
    assert len(load(part + tag + part)) == 64000


def test_a_file_of_mostly_other_bytes_is_given_up():
    part = mp3_file(1.0)
    assert "damaged: expected frames of mp3" in error_of(part + b"\xff\xfb\x90\0abc" * 200_000)


@pytest.mark.seconds
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_read_or_refused(data):
    content = bytearray(data.draw(st.sampled_from([mp3_file(1.0), encoded("FLAC", 1.0), encoded("OGG", 1.0)])) * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    for strict in (False, True):
        with contextlib.suppress(AudioError), open_audio(io.BytesIO(bytes(content)), strict=strict) as waveform:
            assert waveform.n_samples <= 3 * 16000


# ---------------------------------------------------------------- ogg


CODECS = ["VORBIS", "OPUS"]


@pytest.mark.parametrize("codecs", [["VORBIS"] * 3, ["OPUS"] * 3, ["OPUS", "VORBIS"]])
def test_chained_ogg_files_are_read_one_after_the_other(codecs):
    parts = [encoded("OGG", 1.0 + n, hz=300.0 * (n + 1), subtype=codec) for n, codec in enumerate(codecs)]
    whole = load(b"".join(parts))
    expected = np.concatenate([load(part) for part in parts])
    assert whole.shape == expected.shape
    if codecs == ["VORBIS"] * 3:
        assert np.array_equal(whole, expected)
    apart = np.ones(len(whole), bool)  # from where two touch: Opus is resampled, which looks across
    for end in np.cumsum([len(load(part)) for part in parts[:-1]]):
        apart[end - 200 : end + 200] = False
    assert np.abs(whole - expected)[apart].max() < 1e-6


@pytest.mark.parametrize("codec", CODECS)
def test_an_ogg_file_joined_with_itself_and_of_other_channels(codec):
    mono, stereo = (encoded("OGG", 2.0, n_channels=n, subtype=codec) for n in (1, 2))
    assert len(load(mono + mono + stereo)) == 6 * 16000


def test_tags_and_padding_around_an_ogg_file_are_no_audio():
    part = encoded("OGG", 2.0, subtype="VORBIS")
    for content in (ID3V2 + part + part, part + part + ID3V1, part + part + bytes(9000)):
        assert np.array_equal(load(content), load(part + part))
    assert "damaged: expected a page, found other bytes" in error_of(part + b"\x55" * 2000)


def test_chained_ogg_files_of_other_rates_are_each_resampled():
    parts = [encoded("OGG", subtype="VORBIS"), encoded("OGG", rate=44100, subtype="VORBIS", hz=600.0)]
    assert np.array_equal(load(b"".join(parts), strict=True), np.concatenate([load(part) for part in parts]))


@pytest.mark.parametrize("codec", CODECS)
def test_a_truncated_ogg_file_before_a_whole_one_is_refused(codec):
    part = encoded("OGG", 4.0, subtype=codec)
    assert "truncated: expected a last page" in error_of(part[: part.rfind(b"OggS")] + part)
    assert "damaged: expected a page, found other bytes" in error_of(part[:-50] + part)
    assert "damaged: expected a page, found other bytes" in error_of(part + bytes(2000) + part)


# ---------------------------------------------------------------- flac


def with_total(content, total):
    """The flac with another number of samples in STREAMINFO; 0 is unknown."""
    return content[:21] + bytes([content[21] & 0xF0 | total >> 32]) + (total & 0xFFFFFFFF).to_bytes(4) + content[26:]


@pytest.mark.parametrize("total", [0, 1, 10_000, 31_999, 32_000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_flac_is_read_to_its_end_whatever_its_header_tells(total, n_channels):
    content = encoded("FLAC", n_channels=n_channels)
    assert np.array_equal(load(with_total(content, total)), load(content))
    assert np.array_equal(load(with_total(content, total) + ID3V1), load(content))


@pytest.mark.parametrize("seconds", [0.01, 0.3, 20.0])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
def test_a_flac_of_unknown_length_is_read_to_its_end(seconds, rate):
    content = encoded("FLAC", seconds, rate=rate, n_channels=2, subtype="PCM_24")
    assert np.array_equal(load(with_total(content, 0)), load(content))


def test_joined_flac_files_are_read_one_after_the_other():
    parts = [encoded("FLAC", 2.0), encoded("FLAC", 3.0, hz=600.0, n_channels=2), encoded("FLAC", 2.0)]
    expected = np.concatenate([load(part) for part in parts])
    assert np.array_equal(load(b"".join(parts)), expected)
    assert np.array_equal(load(ID3V2 + ID3V2.join(parts)), expected)
    assert np.array_equal(load(parts[0] + with_total(parts[1], 0) + with_total(parts[2], 5)), expected)


def test_a_truncated_flac_before_a_whole_one_is_refused():
    part = encoded("FLAC", 2.0)
    assert "truncated" in error_of(part[: len(part) // 2] + part)
    assert "truncated" in error_of(with_total(part, 0)[: len(part) // 2])


# ---------------------------------------------------------------- formats of one recording


def media(codec, format, rate, layout, seconds=2.0, **options):
    file = io.BytesIO()
    with av.open(file, "w", format=format, container_options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        planes = np.tile(tone(seconds, rate), (len(stream.layout.channels), 1))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("seconds", [1.0, 1.00005])
def test_joined_files_that_decoders_read_in_part_are_refused(format, seconds):
    part = encoded(format, seconds, subtype="PCM_S8" if format in ("AIFF", "AU", "CAF") else "PCM_16")
    assert len(load(part)) - round(seconds * 16000) in (0, 1)  # libsndfile counts the padding of an aiff
    message = "several files joined into one: expected one recording, found another one at byte"
    assert message in error_of(part + part)


SIZES: dict[str, tuple[bytes, int, Any]] = {  # by format: the mark behind which the size stands, and how it is stored
    "AU": (b".snd\0\0\0\x18", 4, "big"),
    "AIFF": (b"SSND", 4, "big"),
    "CAF": (b"data", 8, "big"),
    "RF64": (b"ds64\x1c\0\0\0", 16, "little"),
}


@pytest.mark.parametrize("format", SIZES)
def test_files_with_more_samples_than_their_headers_declare_are_refused(format):
    content = encoded(format, 2.0)
    mark, width, order = SIZES[format]
    at = content.rfind(mark) + len(mark)
    size = 20_000 if format != "RF64" else len(content) - 8 | 20_000 << 64  # of the file, then of the samples
    less = content[:at] + size.to_bytes(width, order) + content[at + width :]
    assert "its header declares less audio than it holds: expected 20000 bytes, found" in error_of(less)
    for after in (ID3V1, bytes(5000)):
        assert np.array_equal(load(content + after), load(content))


def test_what_a_decoder_takes_without_a_word_and_gives_nothing_for_is_told():
    part = media("adpcm_adx", "adx", 16000, "mono")  # behind its mark of an end, the decoder is silent
    with open_audio(io.BytesIO(part)) as waveform:
        assert waveform.warnings == []
    with open_audio(io.BytesIO(part + part)) as waveform:
        assert waveform.n_samples == pytest.approx(32000, abs=100)
        [warning] = waveform.warnings
        assert warning.kind == "damaged"
        assert warning.start == pytest.approx(2, abs=0.1)
        assert warning.end == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("codec", ["g722", "g726", "adpcm_yamaha"])
def test_a_wav_of_frames_that_holds_more_than_it_declares_tells_that(codec):
    content = media(codec, "wav", 16000 if codec == "g722" else 8000, "mono")
    with open_audio(io.BytesIO(content)) as waveform:
        assert waveform.warnings == []
    more = content + np.random.default_rng(0).bytes(3000)
    with open_audio(io.BytesIO(more)) as waveform:
        assert waveform.n_samples == pytest.approx(32000, abs=1000)
        [warning] = waveform.warnings
        assert warning.kind == "left out"
        assert warning.start == pytest.approx(2, abs=0.1)
    with pytest.raises(AudioError, match="declares less audio than it holds"):
        load(more, strict=True)


@pytest.mark.parametrize("options", [{}, {"movflags": "frag_keyframe+empty_moov"}])
def test_joined_m4a_files_are_refused(options):
    part = media("aac", "mp4", 48000, "mono", **options)
    assert len(load(part)) == pytest.approx(32000, abs=600)
    assert f"several files joined into one: expected one recording, found another one at byte {len(part)}" in error_of(
        part + part
    )


@pytest.mark.parametrize(
    ("codec", "format", "rate"),
    [
        ("aac", "flv", 44100),
        ("libmp3lame", "asf", 44100),
        ("wavpack", "wv", 44100),
        ("tta", "tta", 44100),
        ("ac3", "rm", 44100),
        ("pcm_s16le", "voc", 22050),
        ("libopus", "nut", 48000),
        ("mp2", "wtv", 44100),
    ],
)
def test_joined_media_files_of_which_decoders_leave_out_or_misplace_the_second_are_refused(codec, format, rate):
    part = media(codec, format, rate, "mono")
    assert len(load(part)) == pytest.approx(32000, abs=2500)
    assert f"several files joined into one: expected one recording, found another one at byte {len(part)}" in error_of(
        part + media(codec, format, rate, "mono", 1.0)
    )


@pytest.mark.parametrize(("codec", "format"), [("aac", "adts"), ("libopus", "webm"), ("libopus", "matroska")])
def test_joined_media_files_that_are_read_whole(codec, format):
    parts = [media(codec, format, 48000, layout) for layout in ("mono", "mono", "stereo")]
    assert len(load(b"".join(parts[:2]))) == pytest.approx(64000, abs=1200)


# ---------------------------------------------------------------- pieces


@given(
    cuts=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30), st.binary(max_size=5)), max_size=5),
    reads=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_pieces_read_as_one_file(tmp_path_factory, cuts, reads):
    path = tmp_path_factory.getbasetemp() / "pieces"
    path.write_bytes(bytes(range(130)))
    pieces = [piece for start, n, own in cuts for piece in (range(start, start + n), own)]
    expected = io.BytesIO(b"".join(bytes(piece) for piece in pieces))
    with open(path, "rb", buffering=0) as file:
        found = Pieces(file, pieces)
        for place, n_bytes in reads:
            assert found.seek(place) == expected.seek(place) == found.tell()
            assert found.read(n_bytes) == expected.read(n_bytes)
        assert found.seek(0, io.SEEK_END) == expected.seek(0, io.SEEK_END)
