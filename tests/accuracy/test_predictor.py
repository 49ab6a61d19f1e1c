"""The blend of a cheap judge and a few labels: what it learns, says of itself, and refuses."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from conftest import SHARED, needs_shared
from stripes import SPACE, archs

from nas.accuracy.correction import Columns, Correction, features
from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.inherited import InheritedSettings
from nas.accuracy.judge import JudgeContext, JudgeSettings
from nas.accuracy.predictor import (
    MIN_LABELS,
    Predictor,
    PredictorSettings,
    predictor_fidelity,
)
from nas.accuracy.scratch import ScratchSettings
from nas.accuracy.tabular import TabularSettings
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.space.choices import choices, fill, random_picks
from nas.stats.correlation import kendall
from search_spaces.mbconv import mbconv
from search_spaces.mobilenet_v3 import mobilenet_v3
from search_spaces.nas_bench_macro import nas_bench_macro, network


class By(JudgeSettings):
    """A judge by a function of many networks."""

    def __init__(self, function):
        self.function = function

    def open(self, context):
        return self

    def estimate(self, archs, thresholds=()):
        return self.function(archs)


def opened(prior, labels, num_labels=8) -> Predictor:
    context = JudgeContext(SPACE, lambda: None, seed=0, label=By(labels))
    return PredictorSettings(By(prior), num_labels).open(context)


def test_why_labels_failed_is_said():
    def failing(networks):
        yield from ((i, Failure("the loss became nan")) for i in range(len(networks)))

    with pytest.raises(UserError, match=r"0 of 8 networks could be labelled.*the loss became nan"):
        opened(noisy_size, failing)
    judge = opened(failing, noisy_size)
    with pytest.raises(UserError, match=r"accuracy.prior scored 0 of 8.*the loss became nan"):
        one(judge, archs(1)[0])


def one(judge, arch):
    ((_, estimate),) = judge.estimate([arch])
    return estimate


def noisy_size(networks):
    """A cheap judge: log MACs, and what the networks' ids make of them."""
    for i, arch in enumerate(networks):
        noise = int(network_id(arch), 16) % 1000 / 1000
        yield i, Estimate(float(np.log(cost(arch).macs)) + 0.3 * noise, 0.1, 0.0, "size")


def depth(arch):
    return 0.9 - 0.5 ** sum(stage.depth for stage in arch.stages) + 1e-5 * cost(arch).params


def true_depth(networks):
    yield from ((i, Estimate(depth(a), 0.0, 0.0, "true")) for i, a in enumerate(networks))


def test_equal_networks_have_equal_descriptions():
    assert features(network("01200000")) == features(network("01200000"))
    assert features(network("22212220")) == features(network("22212202"))
    assert features(network("22212220")) != features(network("22212120"))


def test_columns_of_what_the_sample_did_not_have_do_not_count():
    sample = [network(code) for code in ("00000000", "11111111", "11110000")]
    columns = Columns(sample)
    assert columns(sample).shape == (3, len(columns.keys))
    assert np.isfinite(columns([network("22222222")])).all()


def test_labels_correct_the_cheap_judge():
    many = list({network_id(a): a for a in archs(200)}.values())
    judge = opened(noisy_size, true_depth, 20)
    rest = [arch for arch in many if network_id(arch) not in judge.labels]
    true = np.array([depth(arch) for arch in rest])
    cheap = np.array([answer.value for _, answer in noisy_size(rest)])
    found = dict(judge.estimate(rest))
    blended = np.array([found[i].value for i in range(len(rest))])
    errors = np.array([found[i].standard_error for i in range(len(rest))])
    assert kendall(blended, true) > kendall(cheap, true) + 0.1
    assert (np.abs(blended - true) < 4 * errors).mean() > 0.9
    assert abs(blended - true).mean() < true.std() / 2
    assert {a.fidelity for a in found.values()} == {f"{len(judge.labels)} labels"}


@pytest.mark.parametrize(
    ("share", "near", "wanted"),
    [
        (0.5, range(12, 24), (4, 4)),
        (1.0, range(12, 24), (0, 8)),
        (0.0, range(12, 24), (8, 0)),
        (0.5, range(12, 14), (6, 2)),  # no more are as fast
        (0.5, range(4), (8, 4)),  # they are among the others too
        (0.5, None, (8, 0)),  # no target
    ],
)
def test_a_share_of_the_labels_is_as_fast_as_the_target(share, near, wanted):
    nets = list({network_id(a): a for a in archs(400)}.values())
    assert len(nets) >= 24
    fast = None if near is None else [nets[i] for i in near]
    context = JudgeContext(
        SPACE,
        lambda: None,
        label=By(true_depth),
        draw=lambda number: nets[:12][:number],
        draw_near=fast and (lambda number: fast[:number]),
    )
    labels = PredictorSettings(By(noisy_size), 8, near_target=share).open(context).labels
    count = (sum(network_id(a) in labels for a in part) for part in (nets[:12], fast or ()))
    assert len(labels) == 8
    assert tuple(count) == wanted


@pytest.mark.parametrize("prior", [ScratchSettings(), InheritedSettings(None)])
def test_a_prior_that_trains_each_network_is_refused(prior):
    with pytest.raises(UserError, match=r"accuracy.prior must be .* that trains no network"):
        PredictorSettings(prior)


def test_a_label_that_is_told_counts_at_once_and_shrinks_the_error():
    judge = opened(noisy_size, true_depth, 6)
    arch = next(a for a in archs(50) if network_id(a) not in judge.labels)
    before = one(judge, arch)
    judge.tell(arch, depth(arch))
    after = one(judge, arch)
    assert abs(after.value - depth(arch)) < abs(before.value - depth(arch))
    assert after.standard_error < before.standard_error


def test_a_worthless_prior_does_little_harm_and_a_good_one_is_believed():
    rng = np.random.default_rng(0)
    space = mbconv()
    draws = Random(0)
    nets = [fill(space, random_picks(space, draws)) for _ in range(120)]
    true = np.log([cost(arch).macs for arch in nets]) + 0.05 * rng.normal(size=120)
    taus = {
        name: predictor_fidelity(nets, scores, true, 20, seed=0)
        for name, scores in {
            "noise": rng.normal(size=120),
            "good": true + 0.05 * rng.normal(size=120),
        }.items()
    }
    assert taus["noise"] > 0.5
    assert taus["good"] > 0.8


def test_a_prior_that_is_wrong_of_size_alone_is_put_right():
    """As where the images that taught it wanted small networks, and these want large ones."""
    rng, draws = np.random.default_rng(0), Random(0)
    nets = [fill(mbconv(), random_picks(mbconv(), draws)) for _ in range(120)]
    size = np.log([cost(arch).macs for arch in nets])
    size = (size - size.mean()) / size.std()
    rest = rng.normal(size=120)  # what no column knows, and the prior does
    true = 0.5 + 0.02 * (2 * size + rest)
    assert predictor_fidelity(nets, rest - 2 * size, true, 20, seed=0) > 0.75


@pytest.mark.parametrize("scores", ["size", "losses"])
def test_what_is_transferred_is_taken_at_face_value(scores):
    """Labels that are all nearly as expected leave little to learn, whatever the prior."""
    nets = list({network_id(a): a for a in archs(400)}.values())

    def expected(networks):
        return np.array([1 + int(network_id(arch), 16) % 100 / 100 for arch in networks])

    def as_expected(networks):
        for i, ratio in enumerate(expected(networks)):
            luck = 1 + int(network_id(networks[i])[:4], 16) % 100 / 10_000
            yield i, Estimate(-0.2 * ratio * luck, 0.0, 0.0, "loss")

    prior = as_expected if scores == "losses" else noisy_size
    judge = opened(prior, as_expected, 8)
    judge.ratios, judge._correction = expected, None
    found = dict(judge.estimate(nets))
    values = np.array([found[i].value for i in range(len(nets))])
    assert values == pytest.approx(-0.2 * expected(nets), rel=0.02)


def test_activations_are_told_apart():
    """Of networks that cost the same the activation of stem and head may be all that matters."""
    space, draws = mobilenet_v3(width=0.25, resolution=32, classes=10), Random(0)
    nets = [fill(space, random_picks(space, draws)) for _ in range(120)]
    true = np.array([0.3 + 0.05 * (arch.stem.act == "hswish") for arch in nets])
    true += 0.02 * np.random.default_rng(0).normal(size=120)
    macs = np.log([cost(arch).macs for arch in nets])
    assert predictor_fidelity(nets, macs, true, 60, seed=0) > 0.3  # about .0 without them


def test_losses_correct_as_their_logarithms_do():
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=(40, 3)), np.array([0, 0, 1])
    logs = rng.uniform(0.2, 2, 40)
    labels = 0.9 - np.exp(-logs) * 0.1
    sizes = rng.normal(size=40)
    models = {
        kind: Correction(x[:20], groups, scores[:20], sizes[:20], labels[:20])
        for kind, scores in {"logs": logs, "losses": -np.exp(-logs)}.items()
    }
    plain = models["logs"].predict(x[20:], logs[20:], sizes[20:])[0]
    assert np.allclose(plain, models["losses"].predict(x[20:], -np.exp(-logs)[20:], sizes[20:])[0])
    better = np.full(20, 0.5)  # no loss, though those of all labelled networks were
    assert np.isfinite(models["losses"].predict(x[20:], better, sizes[20:])).all()


def test_fidelity_depends_on_the_seed_and_nothing_else():
    nets = list({network_id(a): a for a in archs(100)}.values())
    true = np.array([depth(arch) for arch in nets])
    scores = np.array([answer.value for _, answer in noisy_size(nets)])
    first = [predictor_fidelity(nets, scores, true, 8, seed) for seed in (0, 0, 1)]
    assert first[0] == first[1] != first[2]


def test_constant_labels_and_scores_are_survived():
    x = np.random.default_rng(0).normal(size=(12, 3))
    model = Correction(x, np.array([0, 0, 1]), np.ones(12), np.ones(12), np.full(12, 0.5))
    mean, deviation = model.predict(x, np.ones(12), np.ones(12))
    assert np.allclose(mean, 0.5, atol=1e-3)
    assert np.isfinite(deviation).all()


def test_failures_cost_their_network_and_no_other():
    def truth(networks):
        for i, answer in true_depth(networks):
            yield i, Failure("out of memory") if i == 1 else answer

    def prior(networks):
        for i, answer in noisy_size(networks):
            yield i, Failure("no score") if network_id(networks[i]) == bad else answer

    bad = ""
    judge = opened(prior, truth)
    assert len(judge.labels) == 7
    first, second = archs(20)[3:5]
    bad = network_id(first)
    found = dict(judge.estimate([first, second]))
    assert found[0] == Failure("no score")
    assert isinstance(found[1], Estimate)


def test_a_prior_that_scores_too_few_labels_is_named():
    judge = opened(lambda nets: answered(len(nets)), true_depth)
    with pytest.raises(UserError, match=r"scored 0 of 8 trained networks.*no score"):
        one(judge, archs(1)[0])


def answered(number):
    yield from ((i, Failure("no score")) for i in range(number))


def test_labels_are_scored_once():
    asked = []

    def prior(networks):
        asked.append(len(networks))
        yield from noisy_size(networks)

    judge = opened(prior, true_depth)
    arch = archs(1)[0]
    one(judge, arch)
    judge.tell(arch, depth(arch))
    one(judge, arch)
    assert asked in ([8, 1, 1, 1], [8, 1, 0, 1])


def test_too_few_labels_are_refused():
    with pytest.raises(UserError, match="from 5"):
        PredictorSettings(By(noisy_size), 2)

    def never(networks):
        yield from ((i, Failure("nan")) for i in range(len(networks)))

    with pytest.raises(UserError, match=f"only 0 of 9 .*{MIN_LABELS} or more"):
        opened(noisy_size, never, 9)


@needs_shared
def test_fifty_accuracies_rank_nas_bench_macro_with_multiply_adds_as_prior():
    space = nas_bench_macro()
    path = SHARED / "data" / "nas_bench_macro.csv.gz"
    columns = ["acc1", "acc2", "acc3"]
    settings = TabularSettings(path, named_by="code", accuracy=columns, unit="percent")
    table = settings.open(JudgeContext(space, lambda: None))
    rng, keys = np.random.default_rng(7), list(choices(space))
    codes = {"".join(map(str, code)) for code in rng.integers(3, size=(260, 8))}
    nets = {network_id(n): n for n in (fill(space, dict(zip(keys, c, strict=True))) for c in codes)}
    true = np.array([table(net).value for net in nets.values()])
    macs = np.log([cost(net).macs for net in nets.values()])
    assert kendall(macs, true) < 0.65
    taus = [predictor_fidelity(list(nets.values()), macs, true, 50, seed) for seed in range(3)]
    assert np.median(taus) > 0.8
