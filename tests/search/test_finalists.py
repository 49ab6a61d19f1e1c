"""Which networks are trained alone, and what is said of the order they had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nas.search.finalists import choose_finalists, measure_fidelity


def frame(number=40):
    rng = np.random.default_rng(0)
    latency = np.linspace(1, 5, number)
    return pd.DataFrame(
        {
            "number": np.arange(number),
            "score": np.log(latency) + rng.normal(0, 0.1, number),
            "latency_ms": latency,
        }
    )


def test_the_best_within_the_target_come_first():
    rows = frame()
    chosen = choose_finalists(rows, target_ms=3.0, best=4, spread=0)
    within = rows[rows["latency_ms"] <= 3.0].nlargest(4, "score")
    assert chosen == within["number"].tolist()


def test_the_others_reach_from_the_worst_to_the_best():
    rows = frame()
    chosen = choose_finalists(rows, target_ms=3.0, best=3, spread=6)
    assert len(set(chosen)) == 9
    order = rows.sort_values("score", ascending=False)["number"].tolist()
    assert order[-1] in chosen
    assert {order.index(n) // 20 for n in chosen[3:]} == {0, 1}


def test_of_networks_that_the_judge_cannot_tell_apart_the_fastest_is_trained():
    rows = frame(6)
    rows["score"] = [0.5, 0.9, 0.9, 0.9 + 1e-13, 0.7, 0.1]
    rows["latency_ms"] = [1.0, 3.0, 2.0, 2.5, 1.5, 1.2]
    assert choose_finalists(rows, target_ms=9.0, best=3, spread=0) == [2, 4, 0]


def test_few_networks_are_all_chosen_once():
    chosen = choose_finalists(frame(3), target_ms=9.0, best=4, spread=4)
    assert sorted(chosen) == [0, 1, 2]


def test_where_none_is_within_the_target_the_fastest_stands_in():
    assert choose_finalists(frame(), target_ms=0.5, best=2, spread=0)[0] == 0


@pytest.mark.parametrize(
    ("noise", "number", "says"),
    [
        (0.0, 20, "as reliably as training"),
        (0.1, 40, "ranks well"),
        (9.0, 12, "better than chance"),
    ],
)
def test_what_the_figures_mean_is_said(noise, number, says):
    rng = np.random.default_rng(1)
    accuracies = np.linspace(0.7, 0.9, number)
    found = measure_fidelity(accuracies + rng.normal(0, noise * 0.2, number), accuracies)
    assert says in found["words"]
    assert found["num_networks"] == number
    for name in ("kendall", "spearman", "top_regret"):
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high


def test_perfect_scores_regret_nothing():
    found = measure_fidelity([1, 2, 3, 4, 5, 6], [0.5, 0.6, 0.7, 0.8, 0.85, 0.9])
    assert (found["kendall"], found["top_regret"]) == (1.0, 0.0)
