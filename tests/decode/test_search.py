import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from whisper_max.decode.beam import BeamSearch, largest
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import new_search
from whisper_max.decode.ranking import best_candidate
from whisper_max.decode.search import Candidate, GreedySearch, log_sum_exp
from whisper_max.errors import OptionError, WhisperMaxError

EOT = 9


def row(**probabilities):
    """Logits of a ten-token vocabulary; t3=0.5 is token 3 with probability 0.5."""
    out = np.full((1, 10), -np.inf, np.float32)
    for name, probability in probabilities.items():
        out[0, int(name[1:])] = np.log(probability)
    return out


def test_greedy_takes_the_likeliest_until_the_end():
    search = GreedySearch(EOT)
    for logits in (row(t3=0.7, t4=0.3), row(t4=0.6, t9=0.4), row(t9=0.8, t1=0.2)):
        search.update(logits)
    assert search.done
    (candidate,) = search.candidates()
    assert candidate.tokens == [3, 4]
    assert candidate.sum_logprob == pytest.approx(np.log(0.7 * 0.6 * 0.8), abs=1e-6)


def test_beam_finds_what_greedy_misses():
    search = BeamSearch(EOT, beam_size=2, patience=None)
    sources = search.update(np.repeat(row(t1=0.6, t2=0.4), 2, axis=0))
    assert (search.sampled, sources.tolist()) == ([[1], [2]], [0, 0])
    sources = search.update(np.concatenate([row(t3=0.5, t4=0.5), row(t5=0.9, t9=0.1)]))
    assert (search.sampled, sources.tolist()) == ([[2, 5], [1, 3]], [1, 0])
    search.update(np.concatenate([row(t9=0.9, t3=0.1), row(t9=0.6, t4=0.4)]))
    assert search.done
    best = best_candidate(search.candidates(), None)
    assert best.tokens == [2, 5]
    assert best.sum_logprob == pytest.approx(np.log(0.4 * 0.9 * 0.9), abs=1e-6)


def test_patience_waits_for_more_candidates():
    eager, patient = BeamSearch(EOT, 2, None), BeamSearch(EOT, 2, 2.0)
    ends = np.repeat(row(t9=0.6, t1=0.3, t2=0.1), 2, axis=0)
    for search in (eager, patient):
        search.update(ends)
        search.update(ends)
    assert (eager.done, patient.done) == (True, False)
    assert [candidate.tokens for candidate in eager.candidates()] == [[], [1]]
    patient.update(ends)
    assert patient.done
    assert [candidate.tokens for candidate in patient.candidates()] == [[], [1], [2], [1, 1]]


def test_unfinished_beams_fill_up_the_candidates():
    search = BeamSearch(EOT, 3, None)
    search.update(np.repeat(row(t1=0.5, t2=0.3, t3=0.1, t9=0.1), 3, axis=0))
    assert [candidate.tokens for candidate in search.candidates()] == [[1], [2], [3]]


def test_length_penalties():
    short, long = Candidate([1], -1.0), Candidate([1, 2, 3, 4], -2.0)
    assert best_candidate([short, long], None) is long
    assert best_candidate([short, long], 0.0) is short
    assert best_candidate([short, long], 1.0) is short
    assert best_candidate([Candidate([], -5.0), Candidate([1], -5.0)], None).tokens == []


def test_a_power_of_the_length():
    short, long = Candidate([1], -1.0), Candidate([1, 2, 3, 4], -2.5)
    assert best_candidate([short, long], None, 1.0) is best_candidate([short, long], None) is long
    assert best_candidate([short, long], None, 0.5) is short  # -2.5 / 2
    assert best_candidate([short, long], None, 0.0) is short
    with pytest.raises(OptionError, match=r"^length_power: can't be given together with length_penalty"):
        DecodingOptions(length_penalty=0.5, length_power=0.5)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "best_of": 2}, {"beam_size": 2}])
def test_each_token_has_its_log_probability(options):
    settings = DecodingOptions(**options)
    search = new_search(settings, EOT, (1,))
    rows = [row(t1=0.6, t2=0.3, t9=0.1), row(t1=0.2, t2=0.7, t9=0.1), row(t1=0.1, t2=0.1, t9=0.8)]
    for each in rows:
        search.update(np.repeat(each, settings.n_hyps, axis=0))
    for candidate in search.candidates():
        expected = [float(each[0, token]) for each, token in zip(rows, candidate.tokens, strict=False)]
        assert candidate.logprobs == pytest.approx(expected, abs=1e-5)
        end = candidate.sum_logprob - sum(candidate.logprobs)
        ended = float(rows[len(candidate.tokens)][0, EOT]) if len(candidate.tokens) < len(rows) else 0.0
        assert end == pytest.approx(ended, abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "best_of": 2}, {"beam_size": 2}])
def test_a_transcript_may_be_begun(options):
    settings = DecodingOptions(**options)
    search = new_search(settings, EOT, (1,), (7, 8))
    assert search.sampled == [[7, 8]] * settings.n_hyps
    search.update(np.repeat(row(t1=0.6, t2=0.4), settings.n_hyps, axis=0))
    assert {tuple(tokens[:2]) for tokens in search.sampled} == {(7, 8)}
    if settings.beam_size:
        assert search.sampled == [[7, 8, 1], [7, 8, 2]]
    assert {len(candidate.logprobs) for candidate in search.candidates()} == {1}


def sample(seed, stream, temperature=0.7, best_of=3, steps=6):
    options = DecodingOptions(temperature=temperature, best_of=best_of, seed=seed)
    search = new_search(options, EOT, stream)
    logits = np.repeat(np.log(np.arange(1, 11, dtype=np.float32))[None], best_of, axis=0)
    logits[:, EOT] = -np.inf
    for _ in range(steps):
        search.update(logits.copy())
    return search.sampled


def test_random_streams_depend_on_seed_window_temperature_and_sample_only():
    first = sample(0, (300,))
    assert sample(0, (300,)) == first
    assert len({tuple(tokens) for tokens in first}) == 3
    assert sample(0, (300,), best_of=2) == first[:2]
    for other in (sample(1, (300,)), sample(0, (301,)), sample(0, (300,), temperature=0.8)):
        assert other != first


def test_samples_follow_the_distribution_at_the_temperature():
    tokens = []
    for window in range(64):
        search = new_search(DecodingOptions(temperature=0.5, best_of=64), EOT, (window,))
        search.update(np.repeat(row(t1=0.6, t2=0.3, t3=0.1), 64, axis=0))
        tokens += [sampled[0] for sampled in search.sampled]
    counts = np.bincount(tokens, minlength=4)[1:4] / len(tokens)
    weights = np.array([0.6, 0.3, 0.1]) ** 2
    assert counts == pytest.approx(weights / weights.sum(), abs=0.03)


def test_ended_samples_stay_ended():
    search = new_search(DecodingOptions(temperature=1.0, best_of=2), EOT, (0,))
    search.update(np.concatenate([row(t9=1.0), row(t1=1.0)]))
    assert not search.done
    search.update(np.concatenate([row(t1=1.0), row(t9=1.0)]))
    assert search.done
    assert [candidate.tokens for candidate in search.candidates()] == [[], [1]]


def test_nothing_left_and_not_finite():
    with pytest.raises(OptionError, match="leave no token to choose from"):
        GreedySearch(EOT).update(np.full((1, 10), -np.inf, np.float32))
    for bad in (np.nan, np.inf):
        with pytest.raises(WhisperMaxError, match="not finite"), np.errstate(invalid="ignore"):
            GreedySearch(EOT).update(np.array([[0.0, bad]], np.float32))


@settings(deadline=None)
@given(npst.arrays(np.float32, st.integers(8, 2000), elements=st.floats(-50, 50, width=16)), st.integers(1, 8))
def test_largest_is_a_stable_sort(values, count):
    assert largest(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


@settings(deadline=None)
@given(npst.arrays(np.float32, st.integers(1, 500), elements=st.floats(-80, 80, width=32)))
def test_log_sum_exp(values):
    exact = np.logaddexp.reduce(values.astype(np.float64))
    assert float(log_sum_exp(values, values.max())) == pytest.approx(exact, abs=2e-5)
