"""Pages of ogg that are damaged, lost, or not marked as they should be; the decoder of Opus."""

from __future__ import annotations

import io
import zlib

import av
import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from tests.support.made_audio import heard, media, refused, speech, written
from whisper_max.errors import AudioError


def assert_same_but(samples, whole, warnings, margin=0.6, tolerance=1e-3):
    """The same sound at the same times, but where a warning tells of damage, which is silent."""
    assert abs(len(samples) - len(whole)) <= 0.1 * 16000
    n = min(len(samples), len(whole))
    same = np.ones(n, bool)
    for warning in warnings:
        assert warning.kind in ("damaged", "missing")
        same[max(0, round((warning.start - margin) * 16000)) : round((warning.end + margin) * 16000)] = False
        silent = samples[round((warning.start + 0.01) * 16000) : round((warning.end - 0.01) * 16000)]
        assert np.abs(silent).max(initial=0) < 1e-3
        assert f"{warning.start:.2f} to {warning.end:.2f} s" in warning.message
    assert same.mean() > 0.6
    assert np.abs(samples[:n] - whole[:n])[same].max() < tolerance


def checksum(page):
    """As RFC 3533 has it, bit by bit."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc


def pages(content):
    found, place = [], 0
    while place < len(content):
        n = content[place + 26]
        end = place + 27 + n + sum(content[place + 27 : place + 27 + n])
        found.append(bytearray(content[place:end]))
        place = end
    return found


def sealed(page):
    page[22:26] = bytes(4)
    page[22:26] = checksum(page).to_bytes(4, "little")
    return page


def joined(parts):
    return b"".join(bytes(part) for part in parts)


def without_end_flag(found):
    found = [bytearray(page) for page in found]
    found[-1][5] &= ~4
    sealed(found[-1])
    return found


CODECS = ["VORBIS", "OPUS", "FLAC"]


def behind_damage(ogg):
    """How far samples may be off behind damage: libopus rounds to integers what it has from before."""
    return 3e-3 if b"OpusHead" in ogg else 1e-3


@pytest.fixture(params=CODECS)
def ogg(request):
    if request.param == "FLAC":
        return media("ogg", "flac", rate=16000)
    return written(speech(), 16000, format="OGG", subtype=request.param)


def test_ogg_without_an_end_is_heard_whole(ogg):
    whole, _ = heard(ogg)
    content = joined(without_end_flag(pages(ogg)))
    samples, warnings = heard(content)
    assert np.array_equal(samples, whole)
    assert warnings == []
    assert "expected a last page" in refused(content)


def test_an_end_in_the_middle_of_ogg_is_none(ogg):
    whole, _ = heard(ogg)
    found = pages(ogg)
    found[len(found) // 2][5] |= 4
    sealed(found[len(found) // 2])
    for content in (joined(found), joined(without_end_flag(found))):
        assert np.array_equal(heard(content)[0], whole)


@pytest.mark.parametrize("granule", ["the same", "none"])
def test_a_last_page_without_packets(ogg, granule):
    whole, _ = heard(ogg)
    found = without_end_flag(pages(ogg))
    last = bytearray(found[-1][:27])
    last[5], last[26] = 4, 0
    last[18:22] = (int.from_bytes(last[18:22], "little") + 1).to_bytes(4, "little")
    if granule == "none":
        last[6:14] = b"\xff" * 8
    samples, warnings = heard(joined([*found, sealed(last)]))
    assert np.abs(samples[: len(whole)] - whole).max() < 1e-3  # of the padding that the last page would have cut off
    assert 0 <= len(samples) - len(whole) <= 0.02 * 16000
    assert warnings == []


@pytest.mark.parametrize("fault", ["lost", "damaged", "two damaged"])
def test_pages_of_ogg_that_are_lost_or_damaged_are_silence(ogg, fault):
    whole, _ = heard(ogg)
    found = pages(ogg)
    half = len(found) // 2
    if fault == "lost":
        del found[half]
    for page in found[half : half + 2] if fault == "two damaged" else [found[half]] if fault == "damaged" else []:
        page[60] ^= 0xFF
    samples, warnings = heard(joined(found))
    assert len(samples) == len(whole)
    assert_same_but(samples, whole, warnings, tolerance=behind_damage(ogg))
    (warning,) = warnings
    assert warning.kind == "damaged"
    assert 0.5 < warning.end - warning.start < 2.5


def test_the_first_page_of_sound_may_be_lost(ogg):
    whole, _ = heard(ogg)
    found = pages(ogg)
    first = next(index for index, page in enumerate(found) if int.from_bytes(page[6:14], "little") > 0)
    del found[first]
    samples, warnings = heard(joined(found))
    assert abs(len(samples) - len(whole)) <= 400
    assert_same_but(samples, whole, warnings, tolerance=behind_damage(ogg))
    assert warnings[0].start == 0


def test_a_cut_page_is_told(ogg):
    samples, warnings = heard(ogg[: int(len(ogg) * 0.6)])
    (warning,) = warnings
    assert warning.kind == "truncated"
    assert warning.start == pytest.approx(len(samples) / 16000, abs=1e-3)


@pytest.mark.parametrize("after", [bytes(4096), b"\x55" * 3000, b"TAG" + bytes(125)])
def test_what_is_behind_the_end_is_ignored(ogg, after):
    whole, _ = heard(ogg)
    samples, warnings = heard(ogg + after)
    assert np.array_equal(samples, whole)
    assert warnings == []


def test_ogg_whose_headers_are_damaged_is_an_error(ogg):
    content = bytearray(ogg)
    content[40] ^= 0xFF
    with pytest.raises(AudioError):
        heard(bytes(content))


@given(content=st.binary(max_size=300))
def test_the_checksum_by_zlib(content):
    from whisper_max.audio.formats.ogg import _checksum

    page = content.ljust(27, b"\0")
    expected = checksum(page[:22] + bytes(4) + page[26:])
    assert int.from_bytes(_checksum(page), "little") == expected
    assert zlib.crc32(b"") == 0


# ---------------------------------------------------------------- the reference decoder of Opus


@pytest.mark.parametrize("format", ["ogg", "webm", "matroska", "mp4", "mpegts"])
def test_opus_is_decoded_by_the_reference_decoder(tmp_path, format):
    """FFmpeg's own decoder gives other samples of speech at low bit rates."""
    if "libopus" not in av.codecs_available:
        pytest.skip("this PyAV has no libopus")
    remux(written(speech(), 16000, format="OGG", subtype="OPUS"), tmp_path / "a", format)
    decoded = {codec: decoded_by(codec, tmp_path / "a") for codec in ("opus", "libopus")}
    samples, _ = heard((tmp_path / "a").read_bytes())
    off = {codec: np.abs(best_aligned(samples, each) - samples)[2000:-2000].max() for codec, each in decoded.items()}
    assert off["libopus"] < 1e-4
    assert off["opus"] > 1e-3


@pytest.mark.parametrize("format", ["webm", "mp4"])
def test_a_header_of_opus_that_can_not_be_read_is_an_error(format):
    content = bytearray(media(format, "libopus"))
    head = content.index(b"OpusHead" if format == "webm" else b"dOps")
    content[head + (18 if format == "webm" else 14)] = 1  # mapping family: its table is not there
    content[head + (9 if format == "webm" else 5)] = 200  # channels
    with pytest.raises(AudioError, match="a header of opus that can't be read"):
        heard(bytes(content))


def remux(content, path, format):
    """Write the packets of a recording into a file of another format."""
    with av.open(io.BytesIO(content), "r") as source, av.open(str(path), "w", format=format) as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)


def decoded_by(codec, path):
    """(n,) float32 at 16 kHz of all packets of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        decoder = av.CodecContext.create(codec, "r")
        decoder.extradata = stream.codec_context.extradata
        decoder.sample_rate, decoder.layout = 48000, stream.codec_context.layout
        decoder.options = {"request_sample_fmt": "flt"}
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        found = [frame.to_ndarray().ravel() for content in packets for frame in decoder.decode(av.Packet(content))]
    return soxr.resample(np.concatenate(found), 48000, 16000, quality="HQ")


def best_aligned(samples, other):
    """So much of the other one as begins where ``samples`` do."""
    late = np.argmax(np.correlate(other[16000:48500], samples[16000:48000], "valid"))
    aligned = other[late:][: len(samples)]
    return np.pad(aligned, (0, len(samples) - len(aligned)))


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
@pytest.mark.parametrize("is_cut", [False, True], ids=["damaged", "cut off"])
@pytest.mark.parametrize("is_joined", [False, True], ids=["alone", "with another behind it"])
def test_the_last_page_is_as_long_as_it_tells_where_it_cant_be_read(subtype, is_cut, is_joined):
    content = written(np.tile(speech()[:16000], 5)[: 16000 * 9 // 2], 16000, format="OGG", subtype=subtype)
    whole, _ = heard(content)
    last = content.rindex(b"OggS")
    at = last + (len(content) - last) * 9 // 10
    broken = content[:at] if is_cut else content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    samples, warnings = heard(broken + content if is_joined else broken)
    (warning,) = warnings
    assert warning.kind == ("truncated" if is_cut else "damaged")
    assert warning.end == pytest.approx(4.5, abs=0.01)
    assert warning.start < 4.49
    first = round(warning.start * 16000) if is_cut else len(whole)
    assert len(samples) == pytest.approx(first + is_joined * len(whole), abs=16)
    if not is_cut and not is_joined:
        assert np.abs(samples[round(warning.start * 16000) + 100 :]).max() < 1e-4
