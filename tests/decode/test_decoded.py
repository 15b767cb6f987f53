import pytest

from whisper_max.decode.decoded import NO_THRESHOLDS, Decoded, Thresholds, compression_ratio
from whisper_max.errors import OptionError


def result(ratio=1.0, logprob=-0.5, no_speech=0.1):
    return Decoded("en", [], "", logprob, no_speech, 0.0, ratio)


@pytest.mark.parametrize(
    ("decoded", "failed", "silence"),
    [
        (result(), False, False),
        (result(ratio=2.4), False, False),
        (result(ratio=2.5), True, False),
        (result(logprob=-1.1), True, False),
        (result(logprob=-1.1, no_speech=0.7), False, True),
        (result(logprob=-1.0, no_speech=0.7), False, True),
        (result(ratio=2.5, logprob=-1.1, no_speech=0.7), False, True),
        (result(ratio=2.5, no_speech=0.7), True, False),
        (result(logprob=-0.5, no_speech=0.7), False, False),
        (result(logprob=-0.5, no_speech=0.6), False, False),
    ],
)
def test_failure_and_silence(decoded, failed, silence):
    assert (Thresholds().failed(decoded), Thresholds().is_silence(decoded)) == (failed, silence)


def test_limits_switched_off():
    bad = result(ratio=9.0, logprob=-9.0, no_speech=0.99)
    assert not NO_THRESHOLDS.failed(bad)
    assert not NO_THRESHOLDS.is_silence(bad)
    assert Thresholds(None, -1.0, None).failed(bad)
    assert Thresholds(2.4, None, 0.6).failed(bad)
    assert Thresholds(2.4, None, 0.6).is_silence(result(no_speech=0.7))


def test_a_limit_that_is_no_number():
    with pytest.raises(OptionError, match="logprob_threshold: not a number: found nan"):
        Thresholds(logprob=float("nan"))


def test_compression_ratio():
    assert compression_ratio("") == 0.0
    assert compression_ratio("ab") == 0.2
    assert compression_ratio("again and " * 30) > 9


def test_unlikely():
    assert Thresholds().is_unlikely(result(logprob=-1.1))
    assert not Thresholds().is_unlikely(result(logprob=-1.0))
    assert not Thresholds(logprob=None).is_unlikely(result(logprob=-9.0))
