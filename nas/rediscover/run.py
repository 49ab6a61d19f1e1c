"""Does a search find what MobileNetV3's authors found?

From Python it is what the command line does, in four lines:

    from nas.rediscover.run import rediscover
    from nas.rediscover.settings import RediscoverSettings

    summary = rediscover(RediscoverSettings.of("data=cifar10", "budget=standard"))
    print(summary["conclusion"], summary["taus"]["mean"])
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.accuracy.paired import load_fewer
from nas.arch.arch import Arch
from nas.core.config import config_of
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.core.progress import open_console
from nas.core.run_folder import check_config, lock_folder, open_folder, write_yaml
from nas.data.dataset import ImageData
from nas.rediscover.patterns import PLAIN, TESTED, Rows, by_stage, rows_from, rows_of
from nas.rediscover.report import TABLE_WIDTH, print_results, write_results
from nas.rediscover.searching import (
    Search,
    find_controls,
    find_target,
    search_by,
    search_once,
)
from nas.rediscover.settings import RediscoverSettings
from nas.rediscover.trainings import (
    Row,
    Trainer,
    best_of,
    compare,
    fit_rivals,
    judge_taus,
    train_ranked,
    trained_alone,
)
from nas.rediscover.verdict import agreement_rows, conclusion, hypothesis_rows, worth_rows
from search_spaces.lookup import PUBLISHED

# Those of the lineage whose blocks were searched.
SEARCHED = (
    "mnasnet_a1",
    "mnasnet_b1",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "efficientnet_b0",
)
LIKE = ("mobilenet_v3_large", "mobilenet_v3_small")
ROW = ("id", "arch", "latency_ms", "macs", "params")
MAY_CHANGE = (
    *("run", "results", "device", "executor", "strict", "choices"),
    *("published", "rivals", "rewards", "searches"),
)


def rediscover(settings: RediscoverSettings) -> dict[str, Any]:
    """Search, train, test, and write it down; returns what summary.json holds.

    What an earlier call did, even one that was stopped, is not done again.
    """
    console = open_console(TABLE_WIDTH)
    folder = open_folder(Path(settings.results) / "rediscover" / settings.run)
    with lock_folder(folder):
        try:
            return _rediscover(settings, folder, console)
        except KeyboardInterrupt:
            console.print("stopped   what was done is kept; the same command goes on")
            raise


def _rediscover(settings: RediscoverSettings, folder: Path, console: Console) -> dict[str, Any]:
    published = published_rows(settings.published)  # read before anything is spent
    config = {k: v for k, v in config_of(settings).items() if k not in MAY_CHANGE}
    check_config(folder / "config.yaml", config)
    target_ms = find_target(settings, folder, console)
    controls = find_controls(settings, target_ms)
    write_yaml(folder / "config.yaml", config)
    data = load_fewer(settings.data, settings.size.images)
    trainer = Trainer(settings, data, folder / "trainings.jsonl", console)
    ranked = controls[: settings.ranked]
    trained = train_ranked(trainer, ranked)
    searches = search_all(settings, target_ms, ranked, trained, console)
    winners, timer = [search.winner for search in searches], settings.latency.make()
    number = num_affordable(searches, trained, settings)
    rivals = {
        f"the best of {number} random networks": ranked[best_of(trained, number)],
        **fit_rivals(settings.rivals, winners, timer, folder / "rivals.jsonl", console),
    }
    groups: dict[str, list[Rows]] = {
        "searched": [rows_of(arch) for arch in winners],
        "random": [rows_of(arch) for arch in controls],
        "published": list(published.values()),
    }
    found, random, theirs = groups.values()
    like = {name: rows_of(PUBLISHED[name]) for name in LIKE}
    alone, accuracies = zip(*trained_alone(searches, ranked, trained), strict=True)
    rewards = {name: search_by(name, settings, target_ms, console) for name in settings.rewards}
    summary: dict[str, Any] = {
        **describe_run(settings, data, target_ms),
        "num_controls": len(controls),
        "searches": [
            {"run": s.name, "seconds": s.seconds, **{k: s.row[k] for k in ROW}} for s in searches
        ],
        "taus": judge_taus(searches, trained, settings.seed),
        "hypotheses": hypothesis_rows(found, random, theirs, settings.seed),
        "worth": {
            "networks": len(alone),
            "tested": worth_rows(alone, accuracies, TESTED),
            "plain": worth_rows(alone, accuracies, PLAIN),
        },
        "agreement": agreement_rows(found, random, like, settings.seed),
        "stages": {name: by_stage(group) for name, group in groups.items()},
        "published": list(published),
        "quality": compare(trainer, winners, rivals, timer),
        "rewards": {name: ratio for name, (ratio, _) in rewards.items()},
        "exponents": {name: exponent for name, (_, exponent) in rewards.items()},
    }
    summary["conclusion"] = conclusion(summary)
    write_results(settings, folder, summary, winners, found, like)
    print_results(console, summary, folder)
    return summary


def search_all(
    settings: RediscoverSettings,
    target_ms: float,
    ranked: Sequence[Arch],
    trained: Sequence[Sequence[Row]],
    console: Console,
) -> list[Search]:
    """All searches; how far each judge orders the trained controls rightly is said at once."""
    searches = list[Search]()
    for number in range(settings.size.searches):
        console.print(f"search    {number + 1} of {settings.size.searches}", style="bold")
        searches.append(search_once(settings, number, target_ms, ranked, console))
        tau = judge_taus(searches[-1:], trained, settings.seed)["mean"]
        console.print(f"judge     Kendall's tau {tau:.2f} with {len(ranked)} trainings")
    return searches


def describe_run(settings: RediscoverSettings, data: ImageData, target_ms: float) -> dict[str, Any]:
    """What summary.json says of how it was done."""
    return {
        "space": settings.space.name,
        "data": data.name,
        "images": [len(part) for part in (data.train, data.val, data.test)],
        "resolution": data.resolution,
        "budget": settings.budget.name,
        "epochs": settings.budget.node["epochs"],
        "seeds": settings.seeds,
        "trials": settings.size.trials,
        "judge": settings.describe_judge(),
        "target_ms": target_ms,
    }


def num_affordable(
    searches: Sequence[Search], trained: Sequence[Sequence[Row]], settings: RediscoverSettings
) -> int:
    """How many random networks could be trained in the time of one search, of those that were.

    A search keeps all workers busy, a training one of them.
    """
    of_search = sum(search.seconds for search in searches) / len(searches) * settings.workers
    seconds: list[float] = [row["seconds"] for of in trained for row in of]
    return max(1, min(len(trained), round(of_search * len(seconds) / sum(seconds))))


def published_rows(path: str | None) -> Mapping[str, Rows]:
    """The blocks of searched networks by name: those in the file at `path`, or the lineage's."""
    if not path:
        return {name: rows_of(PUBLISHED[name]) for name in SEARCHED}
    try:
        archs = json.loads(user_path(path).read_text(encoding="utf-8"))["archs"]
        found = {name: rows_from(blocks) for name, blocks in archs.items()}
        if found and all(found.values()):
            return found
        reason = "a network without blocks"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
    raise UserError(
        f"published={path} cannot be read ({reason}): it must be JSON, archs by name, each a list "
        "of blocks with stage (from 1), k, e, se (true or false), act, stride and first"
    )
