from contextlib import closing

import numpy as np
import pytest

from tests.support.fake_device import FakeDevice
from tests.support.fake_inference import ENGLISH_DIMS, FakeInference, FakeMel, checksum
from tests.support.recordings import begun
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.audio.speech import Timeline
from whisper_max.decode.attempt import Context
from whisper_max.decode.language import detect_language, most_likely_language
from whisper_max.decode.windows import decode_windows
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe.journal import Journal
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.scheduler import transcribe_side_by_side, transcribe_windows
from whisper_max.transcribe.speech import Speech
from whisper_max.transcribe.window import Window

N_FRAMES = 21_000


def chances(n_frames):
    values = np.repeat(np.random.default_rng(4).random(n_frames // 40 + 1, dtype=np.float32), 40)[:n_frames]
    return lambda start, stop: values[start:stop]


def transcription(inference, n_frames=N_FRAMES, speech=None, **values):
    options = TranscribeOptions(**{"batch_size": 8, "language": "de", **values})
    mel = FakeMel(n_frames, 11)
    return begun(inference, vocabulary(), mel, options, speech or Speech(None, chances(n_frames), 0.35))


VALUES = (
    {"temperature": (0.0, 0.4, 0.8), "logprob_threshold": -0.5, "initial_prompt": "abc", "hotwords": "xyz"},
    {"word_timestamps": True, "temperature": (0.0, 0.6), "best_of": 2, "compression_ratio_threshold": 1.2},
    {"multilingual": True, "language": None, "beam_size": 2, "temperature": 0.0, "sample_len": 40},
)


@pytest.mark.seconds
@pytest.mark.parametrize("values", VALUES)
def test_pieces_side_by_side_are_pieces_one_by_one(values):
    found = []
    for max_windows, make in [*((n, FakeInference) for n in (1, 3, 8)), *((n, FakeDevice) for n in (1, 8))]:
        inference = make()
        work = transcription(inference, **values)
        assert len(work.pieces) == 8
        segments = []
        for index, some in transcribe_side_by_side(inference, [work], max_windows=max_windows):
            assert index == 0
            segments += some
        assert inference.largest_batch == max_windows or values.get("multilingual")
        found.append(work.result(segments).to_dict())
    assert all(each == found[0] for each in found)
    assert [segment["id"] for segment in found[0]["segments"]] == list(range(len(found[0]["segments"])))
    starts = [segment["seek"] for segment in found[0]["segments"]]
    assert starts == sorted(starts)
    assert len(set(starts)) > 8  # a piece is more than one window where its timestamps end early


@pytest.mark.parametrize("seconds", [5, 40])
def test_a_batch_is_no_larger_than_the_pieces_need(monkeypatch, seconds):
    sizes = []

    def new_batch(inference, max_windows, n_hyps=1):
        sizes.append(max_windows)
        return real(inference, max_windows, n_hyps)

    real = FakeInference.new_batch
    monkeypatch.setattr(FakeInference, "new_batch", new_batch)
    inference = FakeInference()
    work = transcription(inference, n_frames=seconds * 100, batch_size=256, temperature=0.0, sample_len=5, guard="off")
    list(transcribe_windows(inference, work))
    assert sizes == [len(work.pieces)] == [1 if seconds == 5 else 2]
    assert inference.largest_batch == len(work.pieces)


def test_the_batch_size_is_that_of_the_options_and_does_not_change_the_segments():
    found = []
    for batch_size in (2, 3, 8):
        inference = FakeInference()
        work = transcription(inference, batch_size=batch_size, temperature=(0.0, 0.6))
        progress = []
        segments = list(transcribe_windows(inference, work, on_progress=lambda *done, p=progress: p.append(done)))
        assert inference.largest_batch == batch_size
        assert progress == sorted(progress)
        assert progress[-1] == (N_FRAMES, N_FRAMES)
        found.append([segment.to_dict() for segment in segments])
    assert found[0] == found[1] == found[2]


@pytest.mark.seconds
def test_segments_are_those_of_each_piece_transcribed_alone():
    inference = FakeInference()
    values = {"word_timestamps": True, "temperature": (0.0, 0.6), "hallucination_silence_threshold": 2.0}
    work = transcription(inference, **values)
    expected = []
    for start, end in [part.clip for part in work.speech.parts([(0, N_FRAMES)])]:
        clip = {"clip_timestamps": f"{start / 100},{end / 100}", "batch_size": 2}
        expected += transcribe_windows(inference, transcription(inference, **values, **clip))
    found = list(transcribe_windows(inference, work))
    for number, segment in enumerate(expected):
        segment.id = number
    assert found == expected


def test_the_initial_prompt_is_before_every_window():
    inference = FakeInference()
    work = transcription(inference, initial_prompt="abc")
    prompt = tuple(work.tokenizer.encode(" abc"))
    prompts = []

    def note_prompts(done, total):
        prompts.append({task.next_window().prompt for task in work.pieces if not task.done})

    list(transcribe_windows(inference, work, on_progress=note_prompts))
    assert len(prompts) > 9
    assert prompts[-1] == set()
    assert set.union(*prompts) == {prompt}
    assert work.options.to_dict()["carry_initial_prompt"] is True
    assert work.options.to_dict()["condition_on_previous_text"] is False


def test_a_piece_is_heard_to_its_last_words_in_its_last_window():
    work = transcription(FakeInference(), n_frames=4000, speech=Speech(None, spoken_but_at(2600, 2700), 0.35))
    first, last = work.pieces
    assert first.next_window() == Window(0, 2650, ())
    assert first.context(first.next_window()).spoken_until == 25.0  # a second before the silence
    assert first.context(Window(0, 2000, ())).spoken_until == 0.0  # another window hears the rest
    assert first.context(Window(2590, 60, ())).spoken_until == 0.0
    assert last.context(last.next_window()).spoken_until == 12.5
    silent = transcription(FakeInference(), n_frames=4000, speech=Speech(None, spoken_but_at(0, 4000), 0.35))
    assert {piece.context(piece.next_window()).spoken_until for piece in silent.pieces} == {0.0}
    whole = transcription(FakeInference(), n_frames=2000, batch_size=1)
    assert [piece.context(piece.next_window()).spoken_until for piece in whole.pieces] == [0.0]


def spoken_but_at(start, stop):
    values = np.full(4000, 0.9, np.float32)
    values[start:stop] = 0.1
    return lambda first, last: values[first:last]


def test_clips_are_cut_into_pieces_too():
    work = transcription(FakeInference(), clip_timestamps="10,20,50,130")
    windows = [task.next_window() for task in work.pieces]
    assert [window.seek for window in windows[:2]] == [1000, 5000]
    assert windows[0].size == 1000
    assert windows[-1].seek + windows[-1].size <= 13_000
    assert len(windows) == 4 or len(windows) == 5


def test_nothing_to_do_in_an_empty_recording():
    work = transcription(FakeInference(), n_frames=0)
    assert (work.pieces, work.done, work.progress) == ([], True, (0, 0))
    assert list(transcribe_side_by_side(FakeInference(), [work], max_windows=8)) == [(0, [])]


def test_stopping_leaves_what_comes_first():
    inference = FakeInference()
    whole = list(transcribe_windows(inference, transcription(inference, batch_size=2)))
    part = []
    work = transcription(inference, batch_size=2)
    for segment in transcribe_windows(inference, work, should_stop=lambda: len(part) > 3):
        part.append(segment)
    assert 0 < len(part) < len(whole)
    assert part == whole[: len(part)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 2, "condition_on_previous_text": True},
            "condition_on_previous_text: can't be given together with a batch_size above 1",
        ),
        ({"batch_size": 0}, "batch_size: out of range: expected 1 to 256, found 0"),
        ({"batch_size": 257}, "batch_size: out of range: expected 1 to 256, found 257"),
        ({"vad_options": {}}, "vad_options: needs vad"),
        ({"vad": True, "vad_options": {"treshold": 1}}, "vad_options: treshold: unknown option"),
        ({"vad": True, "vad_options": {"threshold": 2}}, "vad_threshold: out of range"),
        (
            {"multilingual": True, "language": "de"},
            "multilingual: can't be given together with language: found language de",
        ),
        ({"language_detection_segments": 0}, "language_detection_segments: out of range: expected at least 1"),
        ({"language_detection_threshold": 1.5}, "language_detection_threshold: out of range: expected 0 to 1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(OptionError) as error:
        TranscribeOptions(**options)
    assert str(error.value).startswith(message)


def test_effective_options():
    assert TranscribeOptions().condition_on_previous_text is True
    assert TranscribeOptions(batch_size=2).condition_on_previous_text is False
    assert [TranscribeOptions(vad=vad).drop_unlikely for vad in (False, True)] == [False, True]
    assert TranscribeOptions(vad=True, drop_unlikely=False).drop_unlikely is False
    assert TranscribeOptions(vad=True, logprob_threshold=None).drop_unlikely is False
    given = TranscribeOptions(vad=True, vad_options={"threshold": 0.4}).to_dict()
    assert given["vad_options"]["threshold"] == 0.4
    assert given["vad_options"]["min_silence_duration_ms"] == 2000
    assert TranscribeOptions().to_dict()["vad_options"] is None


def test_pieces_of_speech_are_put_back_into_the_recording():
    inference = FakeInference(known_by=checksum)
    timeline = Timeline([(0, 16000 * 40), (16000 * 100, 16000 * 130)], 16000 * 200)
    plain = transcription(inference, 7000, logprob_threshold=None)
    work = transcription(inference, 7000, Speech(timeline, chances(7000), 0.35), vad=True, logprob_threshold=None)
    expected = list(transcribe_windows(inference, plain))
    found = list(transcribe_windows(inference, work))
    assert [segment.tokens for segment in found] == [segment.tokens for segment in expected]
    late = [segment.start for segment in expected if segment.start > 40]
    assert [segment.start for segment in found if segment.start > 40] == [pytest.approx(start + 60) for start in late]
    assert work.progress == (20_000, 20_000)
    assert (work.result(found).duration, work.result(found).duration_after_vad) == (200.0, 70.0)


@pytest.mark.seconds
@pytest.mark.parametrize("n_kept", [0, 1, 7, 12])
def test_a_batch_goes_on_from_its_journal(tmp_path, n_kept):
    inference = FakeInference()
    whole = list(transcribe_windows(inference, transcription(inference, batch_size=3)))
    path, header = tmp_path / "journal", {"audio": 1}
    first = transcription(inference, batch_size=3)
    with closing(Journal(path, header)) as journal:
        journal.replay(first)
        assert list(transcribe_windows(inference, first)) == whole
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > 12
    path.write_bytes(b"".join(lines[: 1 + n_kept]))
    second = transcription(inference, batch_size=3)
    with closing(Journal(path, header, resume=True)) as journal:
        assert len(journal.cuts) == n_kept
        again = journal.replay(second)
        again += transcribe_windows(inference, second)
    assert again == whole


def test_every_window_is_decoded_in_its_own_language():
    inference = FakeInference()
    options = TranscribeOptions(multilingual=True, temperature=0.0, sample_len=30, no_speech_threshold=None)
    work = begun(inference, vocabulary(), FakeMel(12_000, 2), options)
    segments = list(transcribe_windows(inference, work))
    by_window = {segment.seek: (segment.language, segment.language_probability) for segment in segments}
    assert len({language for language, _ in by_window.values()}) > 1
    for seek, (language, probability) in by_window.items():
        size = min(3000, 12_000 - seek)
        features = inference.encode(work.mel.window(seek, size)[None])
        (detected,) = detect_language(inference, work.tokenizer, features)
        assert (language, probability) == (detected.code, detected.probability)
        alone = decode_windows(
            inference,
            build_tokenizer(vocabulary(), multilingual=True, language=language, task="transcribe"),
            features,
            [Context(prompts_before(segments, seek), (seek,))],
            options.decodings,
            options.thresholds,
        )[0]
        tokens = [token for segment in segments if segment.seek == seek for token in segment.tokens]
        assert tokens == alone.tokens[: len(tokens)]
    assert work.result(segments).language == work.detected.code


def prompts_before(segments, seek):
    return tuple(token for segment in segments if segment.seek < seek for token in segment.tokens)[-223:]


def test_the_language_is_voted_on():
    def detected(**values):
        inference = FakeInference()
        work = begun(inference, vocabulary(), FakeMel(9000, 8), TranscribeOptions(**values))
        return work.language, inference.encoded

    windows = []
    for seek in (0, 3000, 6000):
        inference = FakeInference()
        features = inference.encode(FakeMel(9000, 8).window(seek)[None])
        tokenizer = build_tokenizer(vocabulary(), multilingual=True, language=None, task=None)
        windows += detect_language(inference, tokenizer, features)
    surest = max(window.probability for window in windows)
    assert detected() == (windows[0].code, 1)
    assert detected(language_detection_segments=3, language_detection_threshold=0.0) == (windows[0].code, 1)
    voted = most_likely_language(windows, 1.0).code
    assert detected(language_detection_segments=9, language_detection_threshold=surest) == (voted, 3)


def test_an_english_model_has_no_languages_to_tell_apart():
    english = vocabulary(english=True)
    with pytest.raises(OptionError, match=r"^multilingual: an English-only .* languages; take a model without \.en$"):
        begun(FakeInference(ENGLISH_DIMS), english, FakeMel(500), TranscribeOptions(multilingual=True))
