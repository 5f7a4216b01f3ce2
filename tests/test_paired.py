"""Differences of models that filled the same holes."""

import numpy as np
import pytest
from scipy import stats

from gapfill.metrics.paired import Bootstrap, Difference


def pair(count=400, gap=0.2, noise=0.5, seed=0):
    """Two models whose scores share what makes a picture hard: sd 4, their difference `noise`."""
    draws = np.random.default_rng(seed)
    hard = draws.normal(20, 4, count)
    return {
        "a": {"x": (hard + gap + draws.normal(0, noise, count))[None]},
        "b": {"x": hard[None]},
    }


def test_the_interval_is_that_of_the_paired_t_where_there_are_many_pictures():
    scores = pair()
    found = Bootstrap(scores).difference("a", "b", "x", "higher")
    gaps = scores["a"]["x"][0] - scores["b"]["x"][0]
    low, high = stats.t.interval(0.95, 399, gaps.mean(), stats.sem(gaps))
    assert found.mean == pytest.approx(gaps.mean(), rel=1e-12)
    assert found.low == pytest.approx(low, abs=0.03 * (high - low))
    assert found.high == pytest.approx(high, abs=0.03 * (high - low))
    assert found.certain


def test_the_interval_is_scipys_percentile_bootstrap():
    scores = pair(count=30, noise=2.0)
    gaps = scores["a"]["x"][0] - scores["b"]["x"][0]
    theirs = stats.bootstrap(
        (gaps,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = Bootstrap(scores).difference("a", "b", "x", "higher")
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_a_difference_is_known_where_the_means_alone_say_nothing():
    scores = pair(gap=0.15)
    apart = 1.96 * sum(stats.sem(model["x"][0]) for model in scores.values())
    found = Bootstrap(scores).difference("a", "b", "x", "higher")
    assert found.certain
    assert found.mean < apart / 3


def test_two_pictures_have_the_interval_that_can_be_counted_out():
    # The mean of two draws from (0, 1) is 0, 1/2 or 1 with probability 1/4, 1/2 and 1/4.
    scores = {"a": {"x": np.array([[0.0, 1.0]])}, "b": {"x": np.zeros((1, 2))}}
    assert Bootstrap(scores).difference("a", "b", "x", "higher") == Difference(0.5, 0.0, 1.0)


def test_intervals_of_no_difference_hold_zero_nineteen_times_of_twenty():
    held = 0
    for seed in range(400):
        found = Bootstrap(pair(100, gap=0.0, seed=seed), 1000).difference("a", "b", "x", "higher")
        held += not found.certain
    assert 0.915 < held / 400 < 0.975  # three standard deviations and more around 0.945


def test_runs_vary_as_much_as_their_mean_does():
    # No picture differs from another, so all that varies is the run: sd / √R of the mean.
    means = np.array([20.0, 21.0, 20.4])
    scores = {"a": {"x": means[:, None].repeat(50, 1)}, "b": {"x": np.full((1, 50), 19.0)}}
    boot = Bootstrap(scores)
    found = boot.difference("a", "b", "x", "higher")
    assert boot._resampled["a", "x"].std() == pytest.approx(stats.sem(means), rel=0.03)
    assert found.mean == pytest.approx(means.mean() - 19)
    assert (found.low, found.high) == pytest.approx((1.0, 2.0))  # two draws of three runs


def test_pictures_and_runs_add_their_variances():
    draws = np.random.default_rng(0)
    runs, pictures = draws.normal(0, 1, 20), draws.normal(0, 5, 300)
    boot = Bootstrap({"a": {"x": runs[:, None] + pictures}})
    expected = np.hypot(stats.sem(runs), stats.sem(pictures))
    assert boot._resampled["a", "x"].std() == pytest.approx(expected, rel=0.03)


def test_the_same_scores_give_the_same_interval_whoever_else_is_there():
    scores = pair(50)
    scores["a"]["x"] = np.concatenate([scores["a"]["x"], scores["a"]["x"] + 0.1])
    more = {"c": pair(50, seed=1)["a"], **scores}
    first, second = (Bootstrap(s).difference("a", "b", "x", "higher") for s in (scores, more))
    assert (first.low, first.high) == pytest.approx((second.low, second.high), rel=1e-12)


def test_better_is_said_in_the_metrics_own_direction():
    near, far = {"x": np.full((1, 9), 1.1)}, {"x": np.full((1, 9), 0.6)}
    boot = Bootstrap({"near": near, "far": far})
    for better, mean in (("higher", 0.5), ("lower", -0.5), ("one", 0.3)):
        assert boot.difference("near", "far", "x", better).mean == pytest.approx(mean)
        assert boot.difference("far", "near", "x", better).mean == pytest.approx(-mean)


def test_the_lead_names_the_best_and_its_distance_to_each_other():
    scores = pair() | {"c": {"x": pair()["b"]["x"] - 3}}
    assert Bootstrap(scores).lead("x", "higher")["best"] == "a"
    lead = Bootstrap(scores).lead("x", "lower")
    assert lead["best"] == "c"
    assert list(lead["ahead"]) == ["b", "a"]
    assert lead["ahead"]["b"] == pytest.approx([3.0, 3.0, 3.0])


def test_what_has_no_finite_mean_takes_no_part():
    scores = pair(20)
    scores["c"] = {"x": np.full((1, 20), np.inf)}
    boot = Bootstrap(scores)
    assert boot.difference("a", "c", "x", "higher") is None
    assert boot.difference("a", "b", "y", "higher") is None
    assert list(boot.lead("x", "higher")["ahead"]) == ["b"]
    assert boot.lead("y", "higher") is None
    assert Bootstrap({}).lead("x", "higher") is None
