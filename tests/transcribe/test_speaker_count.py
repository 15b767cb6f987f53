from __future__ import annotations

import pytest

from whisper_max.errors import OptionError
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.speakers import SpeakerCount, speaker_count


@pytest.mark.parametrize(
    ("given", "expected"),
    [(2, (2, 2)), ("2", (2, 2)), ("1-4", (1, 4)), (" 2 - 3 ", (2, 3)), ("auto", (1, None)), ("AUTO", (1, None))],
)
def test_what_an_option_says(given, expected):
    assert speaker_count(given) == SpeakerCount(*expected)


@pytest.mark.parametrize("given", [0, -1, "0", "5-2", "0-3", "101", "two", "", "2-", "-2", "1-2-3", "2.5", "٣", 10**30])
def test_what_says_nothing_possible(given):
    with pytest.raises(OptionError, match=r"^speakers: impossible number of speakers: expected a number from 1 to 100"):
        speaker_count(given)


def test_options_are_parsed_where_they_are_made():
    assert TranscribeOptions().speaker_count is None
    assert TranscribeOptions(speakers="2-3").speaker_count == SpeakerCount(2, 3)
    with pytest.raises(OptionError, match="speakers"):
        TranscribeOptions(speakers="many")
    with pytest.raises(OptionError, match="speakers"):
        TranscribeOptions(speakers=True)


def test_a_count_as_people_write_it():
    assert (str(SpeakerCount(2, 2)), str(SpeakerCount(2, 5))) == ("2", "2-5")
