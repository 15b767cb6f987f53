from dataclasses import replace

import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, FakeMel
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.errors import OptionError
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import transcribe_side_by_side, transcribe_windows

LENGTHS = [7000, 0, 3000, 500, 12_345, 9000, 1, 6400, 3001]


def open_all(inference, options):
    return [begun(inference, vocabulary(), FakeMel(n_frames, key), options) for key, n_frames in enumerate(LENGTHS)]


@pytest.fixture(
    scope="module",
    params=[
        {"temperature": (0.0, 0.6), "logprob_threshold": -0.5},
        {"temperature": 0.0, "word_timestamps": True, "hallucination_silence_threshold": 1.0},
        {"beam_size": 2, "best_of": 2, "temperature": (0.0, 0.4), "compression_ratio_threshold": 1.0},
    ],
)
def one_by_one(request):
    """Options, and what each recording gives with them alone."""
    inference, options, alone = FakeInference(), TranscribeOptions(**request.param), []
    for transcription in open_all(inference, options):
        segments = list(transcribe_windows(inference, transcription))
        alone.append(transcription.result(segments).to_dict())
    return options, alone


@pytest.mark.seconds
@pytest.mark.parametrize("max_windows", [1, 3, 8])
def test_side_by_side_is_one_by_one(max_windows, one_by_one):
    inference, (options, alone) = FakeInference(), one_by_one
    transcriptions = open_all(inference, options)
    together = [[] for _ in LENGTHS]
    for index, segments in transcribe_side_by_side(inference, transcriptions, max_windows=max_windows):
        together[index] += segments
    assert inference.largest_batch == max_windows
    results = [each.result(segments).to_dict() for each, segments in zip(transcriptions, together, strict=True)]
    assert results == alone
    assert len({result["language"] for result in results}) > 1


def test_segments_come_as_they_are_decoded_with_progress():
    inference = FakeInference()
    transcription = begun(inference, vocabulary(), FakeMel(9000), TranscribeOptions(language="en"))
    progress = []
    segments = transcribe_windows(
        inference, transcription, on_progress=lambda done, total: progress.append((done, total))
    )
    first = next(segments)
    assert (first.id, len(progress)) == (0, 1)
    rest = list(segments)
    assert [each.id for each in rest] == list(range(1, len(rest) + 1))
    done = [each for each, _ in progress]
    assert done == sorted(done)
    assert progress[-1] == (9000, 9000)


def test_stopping():
    inference = FakeInference()
    transcription = begun(inference, vocabulary(), FakeMel(30_000), TranscribeOptions(language="en"))
    seen = []
    for segment in transcribe_windows(inference, transcription, should_stop=lambda: bool(seen)):
        seen.append(segment)
    assert {segment.seek for segment in seen} == {0}
    result = transcription.result(seen)
    assert result.text == "".join(segment.text for segment in seen)


def test_marks_that_a_model_says_between_words_are_no_text():
    inference = FakeInference()
    transcription = begun(inference, vocabulary(), FakeMel(4000, 3), TranscribeOptions(language="en"))
    segments = list(transcribe_windows(inference, transcription))
    mark = vocabulary().specials.languages["de"]
    marked = [replace(segment, tokens=[mark, *segment.tokens, mark]) for segment in segments]
    assert transcription.result(marked).text == transcription.result(segments).text


def test_result_fields():
    inference = FakeInference()
    options = TranscribeOptions(temperature=0.0)
    transcription = begun(inference, vocabulary(), FakeMel(4000, 3), options)
    result = transcription.result(list(transcribe_windows(inference, transcription)))
    assert result.duration == 40.0
    assert result.language == transcription.detected.code
    assert result.language_probability == transcription.detected.probability
    assert result.options == options.to_dict() | {"language": result.language}
    given = begun(inference, vocabulary(), FakeMel(4000, 3), TranscribeOptions(language="German"))
    assert (given.result([]).language, given.result([]).language_probability) == ("de", 1.0)


def test_language_detection_encodes_a_full_first_window_once():
    for n_frames, encoded in ((3000, 1), (2999, 2)):
        inference = FakeInference()
        transcription = begun(inference, vocabulary(), FakeMel(n_frames, 5), TranscribeOptions(sample_len=1))
        list(transcribe_windows(inference, transcription))
        assert inference.encoded == encoded


def test_english_only_models():
    inference = FakeInference(ENGLISH_DIMS)
    english = vocabulary(english=True)
    transcription = begun(inference, english, FakeMel(500))
    assert (transcription.language, transcription.detected, inference.encoded) == ("en", None, 0)
    for options in (TranscribeOptions(language="fr"), TranscribeOptions(task="translate")):
        with pytest.raises(OptionError, match="an English-only model can't"):
            begun(inference, english, FakeMel(500), options)


def test_clips_beyond_the_recording():
    with pytest.raises(OptionError, match="clip_timestamps: outside the recording"):
        begun(FakeInference(DIMS), vocabulary(), FakeMel(500), TranscribeOptions(clip_timestamps="6"))
