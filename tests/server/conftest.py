"""A server with a model of fake logits for the tests of a file, or one of its own for a test."""

import io

import pytest

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.served import running, wav
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api


@pytest.fixture(scope="module")
def server():
    with running() as it:
        yield it


@pytest.fixture
def serving():
    """Makes servers that end with the test: ``serving(max_requests=1)``."""
    return running


@pytest.fixture
def make_wav():
    return wav


@pytest.fixture
def expected():
    """What the library says of the same recording: ``expected(wav_bytes, language="en")``."""

    def transcribe(audio, **options):
        return api.Model(FakeInference(DIMS), synthetic_vocabulary()).transcribe(io.BytesIO(audio), **options)

    return transcribe
