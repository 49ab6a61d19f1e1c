import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import check_grad

from nas.stats import gaussian_process as gp
from nas.stats.gaussian_process import GaussianProcess, Hyperparameters, fit, standardisation


def smooth(seed, num=40, noise=0.0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (num, 3))
    return x, np.sin(2 * x[:, 0]) + 0.3 * x[:, 1] + noise * rng.standard_normal(num)


GROUPS = np.array([0, 1, 2])


def test_scaled_groups_are_one_apart_on_average():
    x = np.random.default_rng(0).normal(3, (1, 5, 9, 0), (500, 4))
    groups = np.array([0, 0, 1, 2])
    centre, scale = standardisation(x, groups)
    z = (x - centre) * scale
    squares = ((z[:, None] - z[None]) ** 2).mean(axis=(0, 1))
    assert_allclose(np.bincount(groups, squares), [1, 1, 0], atol=1e-9)


@pytest.mark.parametrize("with_trend", [False, True])
def test_the_gradient_of_the_likelihood_is_right(with_trend):
    x, y = smooth(0, num=12)
    distances = np.stack([(x[:, None, g] - x[None, :, g]) ** 2 for g in range(3)])
    trend = x[:, :1] if with_trend else None
    around = gp._around(trend, trend, len(y))
    for p in ([0.0, -1.0, 0.5, 0.2, -2.0], [1.0, 0.3, -2.0, -0.5, -4.0]):
        error = check_grad(
            lambda p: gp._loss(np.exp(p), distances, around, y)[0],
            lambda p: gp._loss(np.exp(p), distances, around, y)[1],
            np.array(p),
        )
        assert error < 1e-4


def test_prediction_agrees_with_the_textbook():
    x, y = smooth(1, num=10)
    new = smooth(2, num=1500)[0]  # more than are predicted at once
    hyper = Hyperparameters(np.array([2.0, 0.5, 0.1]), 0.8, 0.05)
    mean, sd = GaussianProcess(x, y, GROUPS, hyper).predict(new)

    def covariance(a, b):
        r = np.sqrt((hyper.weights * (a[:, None] - b[None]) ** 2).sum(axis=2))
        matern = (1 + 5**0.5 * r + 5 / 3 * r**2) * np.exp(-(5**0.5) * r)
        return hyper.signal * matern + gp.TREND_VARIANCE

    inverse = np.linalg.inv(covariance(x, x) + hyper.noise * np.eye(10))
    cross, unit = covariance(new, x), y.std()
    assert_allclose(mean, cross @ inverse @ ((y - y.mean()) / unit) * unit + y.mean(), rtol=1e-8)
    prior = hyper.signal + gp.TREND_VARIANCE
    variance = prior - np.einsum("mn,nk,mk->m", cross, inverse, cross)
    assert_allclose(sd, np.sqrt(variance) * unit, rtol=1e-6)


@pytest.mark.parametrize("with_trend", [False, True])
def test_points_added_later_count_like_those_from_the_start(with_trend):
    x, y = smooth(1, num=30)
    new = smooth(2, num=50)[0]
    trend, new_trend = (x[:, :1], new[:, :1]) if with_trend else (None, None)
    hyper = Hyperparameters(np.array([2.0, 0.5, 0.1]), 0.8, 0.05)
    whole = GaussianProcess(x, y, GROUPS, hyper, trend)
    parts = [None if trend is None else trend[part] for part in (slice(20), slice(20, 30))]
    first = GaussianProcess(x[:20], y[:20], GROUPS, hyper, parts[0])
    before = first.predict(new, new_trend)
    grown = first.extended(x[20:], y[20:], parts[1])
    assert_allclose(grown.predict(new, new_trend), whole.predict(new, new_trend), rtol=1e-8)
    assert_allclose(grown.log_evidence, whole.log_evidence)
    assert_allclose(first.predict(new, new_trend), before)


def test_a_fit_predicts_better_than_the_mean_and_knows_how_well():
    x, y = smooth(3, noise=0.05)
    new, truth = smooth(4, num=200)
    mean, sd = GaussianProcess(x, y, GROUPS, fit(x, y, GROUPS)).predict(new)
    assert np.abs(mean - truth).mean() < 0.25 * truth.std()
    assert 0.6 < np.mean(np.abs(mean - truth) < 2 * sd) <= 1


def test_the_fit_finds_which_columns_matter_and_how_much_is_noise():
    x, y = smooth(5, num=80, noise=0.3)
    hyper = fit(x, y, GROUPS)
    assert hyper.weights[0] > 3 * hyper.weights[2]
    clean = fit(*smooth(5, num=80), GROUPS)
    assert hyper.noise > 10 * clean.noise


def test_columns_of_one_group_share_a_weight():
    x, y = smooth(6)
    assert len(fit(x, y, np.zeros(3, np.int64)).weights) == 1


def test_a_trend_carries_where_nothing_is_known_nearby():
    rng = np.random.default_rng(7)
    x, new = rng.normal(0, 1, (15, 3)), rng.normal(0, 1, (100, 3))
    score, new_score = rng.normal(0, 1, (15, 1)), rng.normal(0, 1, (100, 1))
    y, truth = 70 + 5 * score[:, 0], 70 + 5 * new_score[:, 0]
    hyper = fit(x, y, GROUPS, score)
    with_score, _ = GaussianProcess(x, y, GROUPS, hyper, score).predict(new, new_score)
    without, _ = GaussianProcess(x, y, GROUPS, fit(x, y, GROUPS)).predict(new)
    assert np.corrcoef(with_score, truth)[0, 1] > 0.95
    assert np.corrcoef(without, truth)[0, 1] < 0.5


@pytest.mark.parametrize("values", [[5.0, 5.0, 5.0], [1.0], [1e9, 1e9 + 1, 1e9 - 1]])
def test_ties_single_points_and_large_offsets_do_no_harm(values):
    y = np.array(values)
    x = np.arange(3.0 * len(y)).reshape(-1, 3)
    mean, sd = GaussianProcess(x, y, GROUPS, fit(x, y, GROUPS)).predict(x)
    assert_allclose(mean, y, atol=2)
    assert (sd > 0).all()


def test_the_same_point_may_have_two_values():
    x, y = np.zeros((4, 3)), np.array([1.0, 2.0, 1.0, 2.0])
    mean, _ = GaussianProcess(x, y, GROUPS, fit(x, y, GROUPS)).predict(x[:1])
    assert mean[0] == pytest.approx(1.5)
