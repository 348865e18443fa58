"""From a scenario to a run: build the plan, let an engine run it, keep what readers need to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moesim.engine.reference import simulate as reference
from moesim.errors import InputError
from moesim.plan.build import build
from moesim.plan.plan import Plan
from moesim.results.folder import save
from moesim.results.info import ScenarioInfo, memories
from moesim.results.invariants import check as check_invariants
from moesim.results.metrics import summary
from moesim.results.result import Result
from moesim.results.tokens import frame, token_columns
from moesim.scenario.locate import located
from moesim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["Run", "simulate"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run:
    """A finished run.

    `summary` holds every figure (`moesim.results.metrics.GLOSSARY` defines them), `tokens` the steps one by one.
    """

    scenario: Scenario
    plan: Plan
    result: Result
    info: ScenarioInfo

    @property
    def summary(self) -> dict[str, Any]:
        """Every figure of the run, ready for JSON."""
        return summary(self.plan, self.result, self.info.hash)

    @property
    def tokens(self) -> pd.DataFrame:
        """One row for each step: times, tokens, hits, where the time went."""
        return frame(token_columns(self.plan, self.result))

    def save(
        self,
        folder: str | Path,
        *,
        environment: Mapping[str, Any] | None = None,
        finish: Callable[[Path], object] | None = None,
    ) -> Path:
        """Write the run folder (whole or not at all, replacing an older one of that name) and return its path."""
        return save(self.result, self.plan, self.info, Path(folder), environment=environment, finish=finish)

    def __repr__(self) -> str:
        figures = self.summary
        return f"<Run of {self.info.name}: {figures['tokens']} tokens, {figures['elapsed_ms']:.1f} ms simulated>"


def simulate(scenario: Scenario, *, progress: Callable[[int, int], None] | None = None, check: bool = False) -> Run:
    """Simulate a scenario: no files, no prints.

    `progress(steps done, steps)` is called as the run goes on. `check` verifies the conservation laws of the result.
    Raises InputError for what only shows when the plan is built, InvariantError under `check`.
    """
    try:
        built = build(scenario)
    except InputError as error:
        raise InputError(*located(error.faults, scenario.tree)) from None
    steps = built.plan.n_steps
    tell = None if progress is None else (lambda done: progress(done, steps))
    result = reference(built.plan, tell)
    if check:
        check_invariants(built.plan, result)
    return Run(scenario=scenario, plan=built.plan, result=result, info=_info(scenario, built.notes, built.routing))


def _info(scenario: Scenario, notes: tuple[str, ...], routing: str) -> ScenarioInfo:
    given = scenario.routing_input
    inputs = {}
    if given.sha256:
        name = given.path.name if given.path is not None else given.profile.name if given.profile is not None else ""
        inputs[name] = given.sha256
    machine = scenario.machine
    link = machine.links.host_to_device
    streams = _routing_streams(scenario)
    if scenario.expert_cache.eviction.kind == "random":
        streams.append("eviction")
    if scenario.prefetch.kind == "next_gate":
        streams += ["prefetch", "prefetch-count", "prefetch-wrong"]
    return ScenarioInfo(
        name=scenario.name,
        title=scenario.title,
        resolved=scenario.resolved(),
        hash=scenario.hash,
        sources={
            field: {"kind": source.kind, "title": source.title, "url": source.url, "date": source.date}
            for field, source in scenario.sources().items()
        },
        seed=scenario.seed,
        routing=routing,
        notes=notes,
        fits=memories(scenario.fits()),
        link="host-to-device link" if link is None else link.title,
        machine=machine.title or machine.name,
        model=scenario.model.name,
        inputs=inputs,
        streams=tuple(streams),
    )


def _routing_streams(scenario: Scenario) -> list[str]:
    """Streams that generated routing, and its change of granularity, draw from; a recording alone draws nothing."""
    kind = scenario.sections.routing.kind
    streams = [] if kind == "trace" else [f"routing.{kind}"]
    if kind in ("zipf", "sticky_zipf"):
        streams.append("routing.rank")
    split = scenario.sections.routing.split
    if scenario.model.n_experts != scenario.published.n_experts and split.kind != "siblings":
        streams.append("routing.split" if scenario.model.n_experts > scenario.published.n_experts else "routing.merge")
    return streams
