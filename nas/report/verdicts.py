"""How far a search can be trusted, in words: what its files say of table, judge and luck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nas.latency.table import missed_bars
from nas.report.kept_run import KeptRun

Facts = list[tuple[str, str]]

# What the accuracies of two runs must have in common: where its files say it, and in words.
COMPARABLE = {
    **{"data": "data", "resolution": "pixels", "images": "images", "budget": "budget"},
    **{"epochs": "epochs", "precision": "precision"},
    "data_fingerprint": "the fingerprint of the images",
}


def describe_gain(gain: Mapping[str, Any]) -> str:
    """What searching gave over drawing at random, in one line."""
    after, number = gain["equal_after"], gain["num_random"]
    many = "as many" if number == len(gain["search"]) else f"{number:,}"
    return (
        f"front of {gain['front']} · {gain['search'][-1]:.3f} of the hypervolume, "
        f"{gain['random'][-1]:.3f} by {many} random networks, "
        f"{f'reached after {after}' if after else 'which the search did not reach'}"
    )


def describe_gain_over(row: Mapping[str, Any]) -> str:
    """One comparison in words; the latency is the table's, and where it was taken the measured."""
    measured = row.get("measured_ms")
    whole = "" if measured is None else f", measured {measured:.3g} ms"
    return (
        f"{100 * row['gain']:+.1f} ± {100 * row['gain_se']:.1f} points over {row['name']} "
        f"({row['test_accuracy']:.1%} on the test images at {row['latency_ms']:.3g} ms{whole}, "
        f"trained alike)"
    )


def describe_refined_gains(refined: Mapping[str, Any]) -> list[str]:
    """What the refined network gained over each rival, or lost to it, in a line each."""
    return [f"{describe_gain_over(row)}: {_told(row)}" for row in refined["gains"]]


def _told(row: Mapping[str, Any]) -> str:
    """Whether it is a gain or a loss by more than two standard errors."""
    if abs(row["gain"]) <= 2 * row["gain_se"]:
        return "not told apart"
    return "a gain" if row["gain"] > 0 else "a loss"


def describe_fidelity(fidelity: Mapping[str, Any]) -> str:
    """How far scores agree with trainings, in one line."""
    low, high = fidelity["kendall_interval"]
    return (
        f"Kendall tau {fidelity['kendall']:.2f} ({low:.2f} to {high:.2f}) of "
        f"scores with {fidelity['num_networks']} trainings: {fidelity['words']}"
    )


def compared(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The winner against what one would do otherwise, and against random networks."""
    return [*summary.get("compared", ()), *filter(None, [summary.get("versus_controls")])]


def verdicts(run: KeptRun) -> Facts:
    """(what, in words) of everything that says how right the run is."""
    summary = run.summary
    facts = [("latency table", _table(run)), ("measured whole", _measured(run))]
    if fidelity := summary.get("fidelity"):
        facts.append(("rank fidelity", describe_fidelity(fidelity)))
    if gain := summary.get("versus_random"):
        facts.append(("random baseline", describe_gain(gain)))
    facts += [("against", describe_gain_over(row)) for row in compared(summary)]
    if refined := summary.get("refined"):
        network = f"{refined['id']} has {refined['accuracy']:.1%} ± {refined['accuracy_se']:.1%} "
        network += f"(test {refined['test_accuracy']:.1%}) at {refined['latency_ms']:.3g} ms"
        facts.append(("refined by NetAdapt", network))
        facts += [("refined by NetAdapt", line) for line in describe_refined_gains(refined)]
    facts.append(("published", _published(summary)))
    return [(what, words) for what, words in facts if words]


def _validation(run: KeptRun) -> Mapping[str, Any]:
    found = (run.environment.get("latency") or {}).get("validation")
    return found if isinstance(found, dict) else {}


def _table(run: KeptRun) -> str:
    v = _validation(run)
    if not v:
        source = run.summary.get("latency", "a table")
        return f"{source}: these files do not say how wrong it is"
    low, high = v["intervals"]["mape"]
    spread = f", run to run {v['run_to_run']:.1%}" if v.get("run_to_run") is not None else ""
    return (
        f"mean error {v['mape']:.1%} ({low:.1%} to {high:.1%}) over {v['num_networks']} networks "
        f"that it never saw; {v['within_10']:.0%} within 10 %; Kendall tau {v['kendall']:.2f}"
        f"{spread}"
    )


def _measured(run: KeptRun) -> str:
    front = run.summary.get("front", [])
    off = [r["measured_ms"] / r["latency_ms"] - 1 for r in front if r.get("measured_ms")]
    if not off:
        return ""
    worst = max(off, key=abs)
    return (
        f"{len(off)} networks of the front, each timed as a whole: the table is off by "
        f"{np.mean(np.abs(off)):.1%} in the mean, and where it is worst the network takes "
        f"{worst:+.1%}"
    )


def _published(summary: Mapping[str, Any]) -> str:
    target = summary.get("target_ms")
    rows = [r for r in summary.get("published", []) if target and r["latency_ms"] <= target]
    rows = [r for r in rows if r.get("accuracy") is not None]
    if not rows or "compared" in summary:  # with more than published networks
        return ""
    best = max(rows, key=lambda row: float(row["accuracy"]))
    return (
        f"{best['name']} has {best['accuracy']:.1%} ± {best['accuracy_se']:.1%} (test "
        f"{best['test_accuracy']:.1%}) at {best['latency_ms']:.3g} ms, trained alike: the best of "
        f"{len(rows)} within the target"
    )


def warnings(run: KeptRun) -> list[str]:
    """What a reader must know before relying on the run, each in a sentence; [] for nothing."""
    return list(_warnings(run, run.summary))


def _warnings(run: KeptRun, summary: Mapping[str, Any]) -> Iterator[str]:
    if not summary:
        yield "There is no summary.json here: target, winner and comparisons are unknown."
        return
    if summary.get("winner") and summary.get("target_met") is False:
        target = summary["target_ms"]
        yield f"No network is within {target:.3g} ms; the fastest of the front stands in."
    if summary.get("winner_latency_agrees") is False:
        yield (
            "The winner, measured whole, disagrees with the table by "
            f"{summary['winner_latency_off']:+.1%}."
        )
    if summary.get("target_met") and summary.get("winner_measured_within") is False:
        yield "The winner, measured whole, is over the target."
    if missed := missed_bars(v) if (v := _validation(run)) else []:
        yield f"The latency table is not to be relied on: {'; '.join(missed)}."
    fidelity = summary.get("fidelity")
    if fidelity and not fidelity["kendall_interval"][0] > 0:
        yield f"Of the judge: {fidelity['words']}."
    if failed := summary.get("failed"):
        judged = "networks could not be scored" if "trained" in summary else "trainings failed"
        yield f"{failed} {judged}; trials.csv has the reasons."
    if failed := summary.get("trained_failed"):
        yield f"{failed} trainings failed (trained.csv); the same command tries them again."
    refined = (summary.get("refined") or {}).get("gains", ())
    pairs = [
        *(("winner", row) for row in compared(summary)),
        *(("refined network", row) for row in refined),
    ]
    for ours, row in pairs:
        gain, error = row["gain"], row["gain_se"]
        if gain < -2 * error:
            points = f"{-100 * gain:.1f} ± {100 * error:.1f} points"
            yield f"The {ours} is {points} below {row['name']} on the test images."
        elif gain < 2 * error:
            yield f"Not told apart on the test images: {ours} and {row['name']}."


def differences(runs: Sequence[KeptRun]) -> list[str]:
    """Why the accuracies, or the latencies, of runs that are drawn together do not compare."""
    judged = [{**run.summary, **_kept(run.config, "data_fingerprint")} for run in runs]
    timed = [{**_kept(run.summary, "latency"), **_timed_by(run)} for run in runs]
    found = [
        f"Accuracies of these runs do not compare: they differ in {what}, {values}."
        for what, values in _unlike(judged, COMPARABLE)
    ]
    columns = {key: key for facts in timed for key in facts}
    if by := [f"{what} ({values})" for what, values in _unlike(timed, columns)]:
        found.append(f"Latencies of these runs do not compare: they differ in {', '.join(by)}.")
    return found


def _unlike(
    facts: Sequence[Mapping[str, Any]], named: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What differs where it is known: how it is `named`, and its values."""
    for key, what in named.items():
        known = dict.fromkeys(str(of_run[key]) for of_run in facts if key in of_run)
        if len(known) > 1:
            yield what, " / ".join(known)


def _timed_by(run: KeptRun) -> Mapping[str, Any]:
    """What is known of the device and runtime, or else of the CSV, that latencies are by."""
    latency = run.environment.get("latency") or {}
    return latency.get("table_of") or _kept(latency, "sha256")


def _kept(facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: facts[key]} if key in facts else {}


def notes(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader should know before trusting the picture, of trainings by the first run."""
    summary = summaries[0]
    sources = " or the ".join(dict.fromkeys(str(s.get("latency", "table")) for s in summaries))
    trained = (
        f"Accuracy is on validation images after the short training "
        f"budget={summary.get('budget')}: it ranks networks, and longer training raises all of "
        "them and may change their order."
    )
    if summary.get("accuracy") == "inherited":
        ranked = "the cross-entropy of inherited weights"
        if metric := summary.get("metric"):
            ranked = f"{metric} of the weights that each network has"
        trained = (
            "Networks have inherited their weights in closed form; those whose hover says so were "
            "trained again. Diamonds are what one would do otherwise, and networks that no score "
            f"chose, trained alike. The front is ranked by {ranked} on "
            "the validation images; the winner is the best of those that were trained again."
        )
    return [
        trained,
        "± is one standard error over the images; the spread between training seeds comes on top.",
        "The search chose by validation accuracy, so for the chosen it is a little optimistic; "
        "test accuracy is on images that no decision has seen.",
        f"Latency is by the {sources}, and compares with nothing measured elsewhere. "
        " Where a hover says so, the network was measured whole too.",
    ]


def subtitle(summary: Mapping[str, Any]) -> str:
    """What was searched, how it was judged and measured, in one line."""
    if not summary:
        return "What was asked for is not known."
    train, val, test = summary["images"]
    return (
        f"{summary['resolution']} px, {train:,} training, {val:,} validation and {test:,} test "
        f"images; training budget {summary['budget']}; latency by {summary['latency']}; "
        f"sampler {summary['sampler']}, seed {summary['seed']}"
    )


def surroundings(run: KeptRun) -> Facts:
    """(what, in words) of the machine, the versions and the command of a run."""
    env, summary = run.environment, run.summary
    versions = {k: v for k, v in (env.get("versions") or {}).items() if v}
    facts = {
        "folder": str(run.folder),
        "command": env.get("command"),
        "seed": summary.get("seed", run.config.get("seed")),
        "data": summary.get("data"),
        "time": f"{summary['seconds']:,.0f} s" if summary.get("seconds") else None,
        "processor": env.get("cpu"),
        "cores": env.get("cores"),
        "system": env.get("platform"),
        "Python": env.get("python"),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "commit": env.get("commit"),
    }
    return [(what, str(fact)) for what, fact in facts.items() if fact not in (None, "")]
