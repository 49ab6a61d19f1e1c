"""Least squares from moments against numpy on the features themselves; elimination by force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.inheritance.least_squares import RANK, Moments, Problem


def made(n=400, a=12, b=3, seed=0, mean=1.0):
    """Correlated inputs x (n, a) and outputs y (n, b) that they nearly tell."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.normal(size=(a, a)))[0] * np.linspace(0.5, 2, a)
    x = rng.normal(size=(n, a)) @ mix + mean * rng.normal(size=a)
    y = x @ rng.normal(size=(a, b)) + 0.5 * rng.normal(size=(n, b)) + rng.normal(size=b)
    near = rng.normal(size=(a, b))
    return torch.tensor(x).float(), torch.tensor(y).float(), torch.tensor(near)


def problem_of(x, y, cuts=()):
    moments = Moments(x.shape[1], y.shape[1])
    for part, own in zip(x.tensor_split(cuts), y.tensor_split(cuts), strict=True):
        moments.add(part, own)
    return moments.problem()


def centred(x):
    x = x.double().numpy()
    return x - x.mean(0)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_ridge_it_is_plain_least_squares(seed):
    x, y, near = made(seed=seed)
    weight, offset = problem_of(x, y).solve(near, 1e-9)
    assert np.allclose(weight, np.linalg.lstsq(centred(x), centred(y))[0], atol=1e-5)
    with_one = np.column_stack([x.double().numpy(), np.ones(len(x))])
    expected = np.linalg.lstsq(with_one, y.double().numpy())[0]
    assert np.allclose(weight, expected[:-1], atol=1e-5)
    assert np.allclose(offset, expected[-1], atol=1e-4)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_a_ridge_pulls_towards_the_given_weights(ridge):
    x, y, near = made()
    weight, offset = problem_of(x, y).solve(near, ridge)
    features, answers = centred(x), centred(y)
    strength = ridge * features.var(0).mean() * len(x)
    rows = np.vstack([features, np.sqrt(strength) * np.eye(12)])  # the ridge as more samples
    wanted = np.vstack([answers, np.sqrt(strength) * near.numpy()])
    assert np.allclose(weight, np.linalg.lstsq(rows, wanted)[0], atol=1e-5)
    mean = y.double().mean(0) - x.double().mean(0) @ weight
    assert np.allclose(offset, mean, atol=1e-4)


def test_a_great_ridge_keeps_them():
    x, y, near = made()
    weight, _ = problem_of(x, y).solve(near, 1e9)
    assert np.allclose(weight, near, atol=1e-6)


@given(st.sets(st.integers(1, 399), max_size=6).map(sorted).map(tuple))
@settings(max_examples=20)
def test_moments_do_not_depend_on_the_cuts(cuts):
    x, y, _ = made()
    whole, cut = problem_of(x, y), problem_of(x, y, cuts)
    for name in ("gram", "cross", "x", "y"):
        assert torch.allclose(getattr(whole, name), getattr(cut, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
def test_moments_are_exact_where_means_are_large(mean):
    x, y, near = made(n=3000, mean=mean)
    problem = problem_of(x, y, tuple(range(100, 3000, 100)))
    covariance = np.cov(x.double().numpy().T, y.double().numpy().T, bias=True)
    assert np.allclose(problem.gram, covariance[:12, :12], rtol=1e-4, atol=1e-3)
    assert np.allclose(problem.cross, covariance[:12, 12:], rtol=1e-4, atol=1e-3)
    assert np.allclose(problem.x, x.double().mean(0))
    weight, _ = problem.solve(near, 1e-9)
    assert np.allclose(weight, np.linalg.lstsq(centred(x), centred(y))[0], atol=1e-3)


@pytest.mark.parametrize("number", [1, 5])
def test_few_samples_and_inputs_that_do_not_vary_leave_the_given_weights(number):
    x, y, near = made(n=number)
    x = x[:1].expand(number, -1)  # all the same
    for cuts in ((), (1,)):
        weight, offset = problem_of(x, y, cuts).solve(near, 1e-2)
        assert np.allclose(weight, near, atol=1e-4)
        assert torch.allclose(x.double()[0] @ weight + offset, y.double().mean(0))


def test_fewer_samples_than_inputs_are_answered_and_stay_near():
    x, y, near = made(n=6)
    weight, offset = problem_of(x, y).solve(near, 1e-4)
    assert torch.allclose(x.double() @ weight + offset, y.double(), atol=1e-2)
    blind = torch.tensor(np.linalg.svd(centred(x))[2][5:])  # directions that no sample has
    assert torch.allclose(blind @ weight, blind @ near, atol=1e-2)


def test_half_precision_is_read_exactly():
    x, y, _ = made()
    x, y = x.bfloat16(), y.bfloat16()
    assert torch.equal(problem_of(x, y).gram, problem_of(x.float(), y.float()).gram)


def test_parts_of_a_problem_are_the_problems_of_the_parts():
    x, y, _ = made()
    inputs, outputs = torch.tensor([1, 4, 11]), torch.tensor([2, 0])
    part, alone = problem_of(x, y).of(inputs).to(outputs), problem_of(x[:, inputs], y[:, outputs])
    for name in ("gram", "cross", "x", "y"):
        assert torch.allclose(getattr(part, name), getattr(alone, name), rtol=1e-5, atol=1e-6)


def least(problem: Problem, near: torch.Tensor, kept: list[int], penalty: float) -> float:
    """The least of error and ridge where all rows of W but the `kept` are zero, found anew."""
    part = problem.of(torch.tensor(kept))
    system = part.gram + penalty * torch.eye(len(kept)).double()
    weight = torch.linalg.solve(system, part.cross + penalty * near[kept])
    full = torch.zeros_like(near)
    full[kept] = weight
    error = (full * (problem.gram @ full)).sum() - 2 * (full * problem.cross).sum()
    return (error + penalty * (full - near).square().sum()).item()


def by_force(problem: Problem, near: torch.Tensor, sizes, ridge: float) -> dict[int, list[int]]:
    kept, found, penalty = list(range(len(near))), {}, problem.penalty(ridge)
    for size in sorted(sizes, reverse=True):
        while len(kept) > size:
            out = min(
                kept, key=lambda i: least(problem, near, [j for j in kept if j != i], penalty)
            )
            kept.remove(out)
        found[size] = list(kept)
    return found


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_one_at_a_time_it_is_greedy_elimination(ridge, seed):
    x, y, near = made(a=10, seed=seed)
    problem = problem_of(x, y)
    for weights in (near, torch.linalg.lstsq(x.double(), y.double()).solution):
        kept = problem.eliminate(weights, range(1, 11), ridge, at_once=1)
        assert {n: k.tolist() for n, k in kept.items()} == by_force(
            problem, weights, range(1, 11), ridge
        )


@given(
    st.integers(1, 40),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from([None, 1, 2, 3, 7, 100]),
)
def test_sets_are_nested_and_of_the_sizes_asked_for(inputs, sizes, at_once):
    x, y, near = made(n=60, a=inputs)
    sizes = [min(size, inputs) for size in sizes]
    kept = problem_of(x, y).eliminate(near, sizes, 1e-2, at_once)
    assert set(kept) == set(sizes)
    before = set(range(inputs))
    for size in sorted(kept, reverse=True):
        own = kept[size].tolist()
        assert own == sorted(set(own))
        assert len(own) == size
        assert set(own) <= before
        before = set(own)


def test_inputs_that_tell_nothing_go_first_and_copies_do_not_all_go():
    rng = np.random.default_rng(0)
    useful = torch.tensor(rng.normal(size=(500, 6))).float()
    noise = torch.tensor(rng.normal(size=(500, 4))).float()
    y = useful @ torch.tensor(rng.normal(size=(6, 3))).float()
    x = torch.cat([useful, noise, useful[:, :3]], 1)  # 10, 11, 12 are 0, 1, 2 again
    near = torch.zeros(13, 3).double()
    near[:6] = torch.linalg.lstsq(useful.double(), y.double()).solution
    kept = set(problem_of(x, y).eliminate(near, [6], 1e-4, at_once=1)[6].tolist())
    assert {i - 10 if i > 9 else i for i in kept} == set(range(6))


def test_of_many_inputs_several_go_at_once_and_what_is_left_is_as_good():
    x, y, near = made(n=4000, a=3 * RANK, b=8)
    problem = problem_of(x, y)
    near = torch.linalg.lstsq(x.double(), y.double()).solution
    together, alone = (
        problem.eliminate(near, [RANK], 1e-2, at_once)[RANK] for at_once in (None, 1)
    )
    penalty = problem.penalty(1e-2)
    errors = [least(problem, near, kept.tolist(), penalty) for kept in (together, alone)]
    random = torch.randperm(3 * RANK)[:RANK].tolist()
    at_random = least(problem, near, random, penalty)
    assert errors[0] - errors[1] < 0.2 * (at_random - errors[1])
