"""Groups that are timed with a reference, and measured again where they were disturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from fake_machine import MS, Machine

from nas.latency.backends.local import DISTURBED, REFERENCE, RETRIES, Local
from nas.latency.timing import Timing


class Groups(Local):
    """Parts and reference that take 5 ms, or as long as `cost(part, times it was prepared)`."""

    cost: ClassVar[Callable[[str, int], int]]
    machine: ClassVar[Machine]
    prepared_parts: ClassVar[list[str]]

    def prepare(self, rows: Any, padding: str) -> Callable[[], object]:
        if rows is REFERENCE:
            return self.machine.call("reference", lambda: type(self).cost("reference", 0))
        name = rows[0].place
        self.prepared_parts.append(name)
        turn = self.prepared_parts.count(name)
        return self.machine.call(name, lambda: type(self).cost(name, turn))

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> dict[str, Any]:
        return {}

    def _measure_parts(self, parts: Any, on_timing: Any, **_: Any) -> list[Timing]:
        clocks = {"clock": self.machine.clock, "waited": lambda: 0}
        return Local._measure_parts(self, parts, on_timing, **clocks)


def grouped(cost: Callable[[str, int], int]) -> tuple[list[Timing], list[int], Sequence[str]]:
    """Five parts in groups of two: their timings, the order they were told in, what was timed."""
    Groups.machine, Groups.prepared_parts, Groups.cost = Machine(), [], staticmethod(cost)
    parts = [[replace(REFERENCE[0], place=name)] for name in "abcde"]
    heard: list[tuple[int, Timing]] = []
    found = Groups(together=2, max_seconds=0.2).measure_rows(
        parts, on_timing=lambda *news: heard.append(news)
    )
    last = dict(heard)
    assert [last[i] for i in range(5)] == found
    return found, [i for i, _ in heard], Groups.prepared_parts


def test_a_quiet_machine_measures_once():
    found, reported, timed = grouped(lambda name, turn: 5 * MS)
    assert found == [Timing(5.0, 0.0, 5.0, 5.0, 12, noisy=False)] * 5
    assert reported == [0, 1, 2, 3, 4]
    assert timed == list("abcde")


def slow_while(group: set[str], times: int) -> Callable[[str, int], int]:
    """The whole machine is slower by half while `group` is timed, the first `times` times."""

    def cost(name: str, turn: int) -> int:
        latest = Groups.prepared_parts[-1]
        slow = latest in group and Groups.prepared_parts.count(latest) <= times
        return (75 if slow else 50) * MS // 10

    return cost


def test_a_disturbed_group_is_measured_again_in_the_end():
    found, reported, timed = grouped(slow_while({"c", "d"}, 1))
    assert [t.median_ms for t in found] == [5] * 5
    assert not any(t.noisy for t in found)
    assert reported == [0, 1, 2, 3, 4, 2, 3]
    assert timed == list("abcdecd")


def test_a_machine_that_is_disturbed_from_the_start_is_found_out():
    found, reported, timed = grouped(slow_while({"a", "b"}, 1))
    assert [t.median_ms for t in found] == [5] * 5
    assert reported == [0, 1, 2, 3, 4, 0, 1]
    assert timed == list("abcdeab")


def test_what_stays_disturbed_is_flagged():
    found, reported, timed = grouped(slow_while({"c", "d"}, 99))
    assert [t.noisy for t in found] == [False, False, True, True, False]
    assert [t.median_ms for t in found] == [5, 5, 7.5, 7.5, 5]
    assert reported == [0, 1, 2, 3, 4, *[2, 3] * RETRIES]
    assert timed == [*"abcde", *"cd" * RETRIES]


@pytest.mark.parametrize(
    ("factor", "again"), [(DISTURBED - 0.001, False), (DISTURBED + 0.001, True)]
)
def test_how_much_slower_is_disturbed(factor, again):
    def cost(name: str, turn: int) -> int:
        return int(5 * MS * (factor if Groups.prepared_parts[-1] == "d" else 1))

    assert (len(grouped(cost)[2]) > 5) == again


def test_of_disturbed_timings_the_least_disturbed_is_kept():
    factors = [3.0, 1.5, 2.0]

    def cost(name: str, turn: int) -> int:
        latest = Groups.prepared_parts[-1]
        turns = Groups.prepared_parts.count(latest)
        return int(5 * MS * (factors[turns - 1] if latest == "e" else 1))

    found = grouped(cost)[0]
    assert (found[4].median_ms, found[4].noisy) == (7.5, True)


def test_of_noisy_timings_the_narrowest_is_kept():
    spreads, turns = {1: 3, 2: 1, 3: 2}, iter(range(1_000_000))

    def cost(name: str, turn: int) -> int:
        return 10 * MS + (spreads[turn] * MS if name == "b" and next(turns) % 2 else 0)

    found, reported, timed = grouped(cost)
    assert found[1].noisy
    assert found[1].ci_high_ms - found[1].ci_low_ms == 1
    assert reported == [0, 1, 2, 3, 4, 1, 1]
    assert timed == [*"abcde", "b", "b"]


def test_no_parts_take_no_time():
    Groups.prepared_parts = []
    assert Groups().measure_rows([]) == []
    assert not Groups.prepared_parts
