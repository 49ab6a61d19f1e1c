"""The question that settings ask of these images and this device: space, limits, target."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.files import parse_yaml
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.latency.range import latency_range
from nas.search.evaluator import Evaluator
from nas.search.problem import Problem
from nas.search.settings import SearchSettings
from nas.search.storage import TrialStore
from nas.space.choices import fill
from nas.space.configured import configured_space, width_of
from search_spaces.inherited import at_resolution, inherited, sides_of
from search_spaces.lookup import adapted, at_width, members, resolve_network


def sized_space(
    settings: SearchSettings, data: ImageData | DenseData
) -> tuple[SearchSettings, Arch]:
    """The space for these images, and the settings with the width multiplier that it has."""
    if settings.inherits:
        option, task = settings.space, settings.make_task()
        if task is None:
            return settings, option.make(channels=data.channels, classes=data.num_classes)
        assert isinstance(data, DenseData)
        given = task.with_head(resolve_network(str(settings.arch))[0], data)
        shrunk = partial(inherited, **option.arguments)  # Hydra would take `dense` apart
        return settings, shrunk(classes=given.classes, dense=given.dense)
    option = settings.space
    width = width_of(option.name, option.arguments, settings.width, data.resolution)
    if "width" not in option.arguments:
        width = width_begun_with(settings) or width
    option = option.filled(width=width)
    space = configured_space(option.make, option.name, data.spec)
    return replace(settings, width=width, space=option), space


def width_begun_with(settings: SearchSettings) -> float | None:
    """The width that the run's folder says, None without one.

    Earlier versions named published networks at a width even where the space has none.
    """
    path = Path(settings.results) / "search" / settings.run / "config.yaml"
    try:
        width = parse_yaml(path.read_text(encoding="utf-8"))["width"]
    except (OSError, ValueError, KeyError, TypeError):  # what is damaged is said later
        return None
    return width if isinstance(width, float) else None


def define_problem(
    settings: SearchSettings, space: Arch, store: TrialStore, evaluator: Evaluator
) -> Problem:
    """The question that the settings ask; UserError where the space cannot answer it."""
    assert settings.width is not None
    inside = {} if settings.inherits else members(space, settings.width)
    references = {at_width(name, settings.width) for name in settings.references}
    exempt = {network_id(fill(space, inside[name])) for name in references & inside.keys()}
    reach = latency_range(evaluator.latency)
    problem = Problem(
        space=space,
        width=settings.width,
        members=inside,
        latency=evaluator.latency,
        latency_range=reach,
        limits=settings.limit,
        target_ms=measure_target(settings, space, store, evaluator),
        exempt=frozenset(exempt),
    )
    if settings.limit.latency_ms is not None:
        reach.require(settings.limit.latency_ms, "limit.latency_ms")
    least = settings.limit.min_latency_ms or 0.0
    if least > min(problem.decisive_ms, reach.slowest[0]):
        raise UserError(
            f"limit.min_latency_ms={least:.4g} leaves no network: the target is "
            f"{problem.target_ms:.4g} ms, the limit {problem.max_ms:.4g} ms and the slowest in the "
            f"space {reach.slowest[0]:.4g} ms; lower it"
        )
    if not isinstance(settings.target, str):  # a network that the space cannot reach is a mark
        reach.require(problem.target_ms)
    return problem


def measure_target(
    settings: SearchSettings, space: Arch, store: TrialStore, evaluator: Evaluator
) -> float:
    """The target in ms; that of a published network is measured once in the life of a run."""
    if not isinstance(settings.target, str):
        return float(settings.target)
    assert settings.width is not None
    name = at_width(settings.target, settings.width)
    like = at_resolution(space, sides_of(space)[0]) if settings.inherits else space
    try:
        metrics = store.note(
            f"target:{name}", lambda: evaluator.measure([adapted(name, like)])[0].to_json()
        )
    except UserError as error:
        raise UserError(f"target={name} could not be measured: {error}") from None
    if metrics["latency_ms"] is None:
        raise UserError(f"target={name} could not be measured: {metrics['reason']}")
    return float(metrics["latency_ms"])
