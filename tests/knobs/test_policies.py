"""Every registered policy of every seam alters an event against its baseline, and its docstring says which."""

from __future__ import annotations

from typing import Any

import pytest

import moesim as ms
from moesim.core.registry import Registry
from moesim.policies.eviction import EVICTIONS
from moesim.policies.miss import MISSES
from moesim.policies.placement import PLACEMENTS
from moesim.policies.prefetch import PREFETCHES
from moesim.policies.schedule import SCHEDULES
from moesim.policies.selection import SELECTIONS
from tests.knobs.effects import judge, run, scenario
from tests.knobs.leaves import leaves
from tests.knobs.rows import read

SEAMS: dict[str, Registry[Any]] = {
    "eviction": EVICTIONS,
    "prefetch": PREFETCHES,
    "placement": PLACEMENTS,
    "miss": MISSES,
    "selection": SELECTIONS,
    "schedule": SCHEDULES,
}
TABLE = read("policies.yaml")


def test_every_seam_is_listed() -> None:
    assert set(TABLE) == set(SEAMS)


@pytest.mark.parametrize("seam", SEAMS)
def test_every_policy_has_a_row(seam: str) -> None:
    assert {TABLE[seam]["baseline"], *TABLE[seam]["kinds"]} == set(SEAMS[seam].kinds())


@pytest.mark.parametrize("seam", SEAMS)
def test_scenarios_can_name_every_policy(seam: str) -> None:
    field = TABLE[seam]["field"]
    known = [*leaves().get(f"{field}.kind", leaves().get(field)).words]  # type: ignore[union-attr]
    known += [name.removeprefix(f"{field}.") for name in leaves() if name.startswith(f"{field}.")]
    assert set(SEAMS[seam].kinds()) <= set(known)


POLICIES = [(seam, kind) for seam in SEAMS for kind in TABLE[seam]["kinds"]]


@pytest.mark.parametrize(("seam", "kind"), POLICIES)
def test_policy_alters_events(seam: str, kind: str) -> None:
    field, row = TABLE[seam]["field"], TABLE[seam]["kinds"][kind]
    given = row.get("with", {})
    before = run(row["on"], {**given, field: TABLE[seam]["baseline"]})
    after = run(row["on"], {**given, field: row.get("value", kind)})
    for name, way in row["then"].items():
        judge(name, way, before, after)


@pytest.mark.parametrize(("seam", "kind"), POLICIES)
def test_docstring_says_which(seam: str, kind: str) -> None:
    assert "Changed events" in (SEAMS[seam].get(kind).__doc__ or "")


class MostRecent(ms.Eviction):
    """The most recently inserted expert leaves first."""

    def start(self, facts: Any) -> None:
        super().start(facts)
        self.order: list[int] = []

    def insert(self, key: int, looked_up: bool) -> None:
        self.order.append(key)

    def remove(self, key: int) -> None:
        self.order.remove(key)

    def victim(self, evictable: bytearray) -> int:
        return next(key for key in reversed(self.order) if evictable[key])


class Everything(ms.Prefetch):
    """All experts of the next layer."""

    def predict(self, view: ms.View, step: int, layer: int) -> list[tuple[int, int, int]]:
        if layer + 1 >= 4 or not view.is_decode(step):
            return []
        return [(step, layer + 1, expert) for expert in range(view.experts_of(layer + 1))]


@pytest.mark.parametrize(
    ("field", "policy", "name", "way"),
    [("expert_cache.eviction", MostRecent, "result.hits", "change"), ("prefetch", Everything, "prefetch.issued", "up")],
)
def test_a_policy_of_a_script_alters_events(field: str, policy: type, name: str, way: str) -> None:
    base = scenario("link", {})
    live = base.replace({field: policy})
    assert live.hash != base.hash
    judge(name, way, run("link", {}), ms.simulate(live))
