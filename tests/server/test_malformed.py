"""Values that are none: numbers without end, halves of characters, headers that break their own rules."""

import pytest

from tests.support.raw_http import error_of, exchange
from whisper_max.server.errors import APIError
from whisper_max.server.http.asked import read_asked
from whisper_max.server.http.fields import FIELDS

NUMBERS = [name for name, field in FIELDS.items() if field.kind in ("integer", "number")]
NO_NUMBERS = ["9" * 400, "-" + "9" * 400, "9" * 5000, "1e999", "-1e999", "nan", "inf", "\0", "0x10", "²", "1e400"]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: f"{text[:6]!r}-{len(text)}")
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_none(name, text):
    with pytest.raises(APIError) as refused:
        read_asked({"model": ["base"], name: [text]}, "transcribe", 8)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_value", name)
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "4.9e-324"),
        ("temperature", "1e-30"),
        ("suppress_tokens", "9" * 400),
        ("suppress_tokens", "-" + "9" * 400),
        ("suppress_tokens", "9" * 4096),
        ("clip_timestamps", "9" * 400),
        ("clip_timestamps", "0," + "9" * 400),
        ("clip_timestamps", "1e999"),
        ("clip_timestamps", "nan"),
        ("language", "\0"),
        ("chunking_strategy", '{"type": "server_vad", "threshold": %s}' % ("9" * 400)),
        ("chunking_strategy", '{"type": "server_vad", "threshold": 1e999}'),
        ("chunking_strategy", '{"type": "server_vad", "threshold": NaN}'),
        ("chunking_strategy", '{"type": "server_vad", "silence_duration_ms": "\\ud800"}'),
        ("chunking_strategy", '{"type": "server_vad", "\\ud800": 1}'),
        ("chunking_strategy", '{"type": %s}' % ("9" * 4000)),
    ],
)
def test_values_that_the_library_reads(server, name, text):
    assert error_of(server.post(**{name: text}))[0] == 400


def test_the_smallest_temperature_is_one(server):
    assert server.post(temperature="0.000001").status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        b"http://[x",
        b"http://[::1",
        b"//[",
        b"http://]",
        b"http://\xff]",
        b"http://a\xe2\x84\xab",
        b"",
        b"null",
        b"http://",
    ],
)
def test_an_origin_that_is_none(server, origin):
    answer = exchange(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: " + origin + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"wrong_origin" in answer


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        (b"/", b"Range: bytes=" + b"9" * 5000 + b"-", 400),
        (b"/", b"Range: bytes=a-b", 400),
        (b"/", b"Range: bytes=" + b"0-1," * 5000 + b"0-1", 200),
        (b"/", b"If-Modified-Since: Mon, 99 Foo 99999999999999999999999 99:99:99", 200),
        (b"/assets/%00", b"A: b", 404),
        (b"/assets/%ed%a0%80", b"A: b", 404),
        (b"/v1/models/%ed%a0%80%00", b"A: b", 404),
        (b"/health", b"Host: [", 421),
        (b"/health", b"Content-Length: " + b"9" * 5000, 400),
        (b"/health", b"Authorization: \xff\xfe", 200),
    ],
)
def test_headers_and_addresses_that_are_none(server, path, header, status):
    host = b"" if header.startswith(b"Host") else b"Host: 127.0.0.1\r\n"
    answer = exchange(server, b"GET " + path + b" HTTP/1.1\r\n" + host + header + b"\r\n\r\n")
    assert int(answer.split(b" ")[1]) == status
