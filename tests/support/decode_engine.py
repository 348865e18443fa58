"""The SimPy engine on a trace of sequences that decode together, with what leaves and what stays written down."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

from moesim.engine import reference
from moesim.engine.reference.host import Host
from moesim.plan.plan import PolicyPlan
from moesim.policies.cache import LOADING, RESIDENT, ExpertCache
from moesim.results.result import Result
from moesim.routing.generators import generate
from moesim.routing.trace import RoutingTrace
from tests.support.plans import small_plan

__all__ = ["LAYERS", "SIZE", "STEPS", "Seen", "durations", "engine", "make_trace"]

SIZE = 60
LAYERS, STEPS = 3, 25


def make_trace(n_experts: int, top_k: int, batch: int, steps: int = STEPS, layers: int = LAYERS) -> RoutingTrace:
    params = {"exponent": 0.8, "repeat": 0.4}
    return generate(
        "sticky_zipf", n_layers=layers, n_experts=n_experts, top_k=top_k, tokens=[steps] * batch, seed=5, params=params
    )


@dataclass
class Seen:
    """What an engine run did, by (step, layer) or step."""

    result: Result
    evictions: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    residents: list[set[int]] = field(default_factory=list)


def durations(seed: int, link: str) -> dict[str, Any]:
    """Arbitrary positive ticks; `link` fast: a copy ends before anything else could begin."""
    u = random.Random(seed).randint
    table = {(p, d): u(1, 300) for p in range(200) for d in range(200)}
    return {
        "attention": u(3000, 5000) if link == "fast" else u(1, 200),
        "router": u(1, 50),
        "head": 1000 if link == "fast" else u(1, 50),
        "gap": u(0, 20),
        "d2h": u(1, 30),
        "lookup": u(1, 10),
        "issue": u(0, 12),
        "t0": 0 if link == "fast" else u(0, 9),
        "D": 1 if link == "fast" else u(1, 40) if link == "middle" else u(300, 900),
        "group": lambda p, d: table[p, d],
    }


def engine(
    trace: RoutingTrace,
    monkeypatch: pytest.MonkeyPatch,
    *,
    slots: int,
    ticks: dict[str, Any],
    prefetch: str = "none",
    prefetch_params: dict[str, Any] | None = None,
    eviction: str = "lru",
    grouping: str = "each",
    staging_slots: int = 2,
    seed: int = 9,
) -> Seen:
    """The SimPy engine on the same trace, with what leaves and what stays written down."""
    batch, k = trace.n_sequences, trace.top_k
    steps = trace.n_tokens // batch
    by_token = trace.experts.reshape(batch, steps, trace.n_layers, k).tolist()
    sets = [[[by_token[b][s][n] for b in range(batch)] for n in range(trace.n_layers)] for s in range(steps)]
    plan = small_plan(
        sets,
        n_experts=trace.n_experts,
        expert_bytes=SIZE,
        capacity=slots * SIZE,
        eviction=eviction,
        grouping=grouping,  # type: ignore[arg-type]
        prefetch=PolicyPlan(kind=prefetch, params=prefetch_params or {}),
        staging_slots=staging_slots,
        timeline_steps=None,
        seed=seed,
        **ticks,
    )
    hosts: list[Host] = []
    evictions: dict[tuple[int, int], list[int]] = defaultdict(list)
    residents: list[set[int]] = []

    class Kept(Host):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            hosts.append(self)

    claim = ExpertCache.claim

    def noted(self: ExpertCache, key: int, spare: Any = ()) -> list[int] | None:
        victims = claim(self, key, spare)
        clock = self._facts.clock
        evictions[clock.step, clock.layer] += victims or []
        return victims

    def progress(_: int) -> None:
        residents.append({k for k, s in enumerate(hosts[0].memory.state) if s in (LOADING, RESIDENT)})

    with monkeypatch.context() as patch:
        patch.setattr(reference, "Host", Kept)
        patch.setattr(ExpertCache, "claim", noted)
        result = reference.simulate(plan, progress)
    return Seen(result, evictions, residents)
