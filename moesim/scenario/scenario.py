"""A scenario, read and checked: what a plan is built from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moesim.policies.schema import (
    ExpertCacheSection,
    LoadSection,
    PlacementSection,
    PrefetchSection,
    RouterSelectionSection,
    ScheduleSection,
)
from moesim.scenario import checks
from moesim.scenario.compose import Composed
from moesim.scenario.document import Tree
from moesim.scenario.memory import MemoryDivision
from moesim.scenario.provenance import NumberSource, sources
from moesim.scenario.sections import (
    LinkSection,
    MemorySection,
    RecordSection,
    RoutingSection,
    Sections,
    WorkloadSection,
)

if TYPE_CHECKING:
    from moesim.hardware.machine import Machine
    from moesim.model.spec import ModelSpec
    from moesim.routing.profile import Profile
    from moesim.routing.trace import RoutingTrace
    from moesim.scenario.routingpart import RoutingInput

__all__ = ["Scenario"]


@dataclass(frozen=True, eq=False, repr=False)
class Scenario:
    """One scenario, resolved and frozen. Made by `moesim.scenario.load.load`; no field is ever half valid.

    machine         the machine, parts composed, overrides applied
    model           the model after formats, top-k, a recording's expert sizes and granularity
    published       the model before granularity, which routing is recorded for
    sections        everything else; the properties below name its parts
    tree            the resolved whole with the place of every value
    live            policies handed over by a script: dotted field -> class or object
    """

    name: str
    sections: Sections
    machine: Machine
    model: ModelSpec
    published: ModelSpec
    division: MemoryDivision
    tree: Tree
    composed: Composed
    routing_input: RoutingInput
    live: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Scenario {self.name}: {self.model.name} on {self.machine.name or self.machine.title}, {self.hash[:12]}>"
        )

    @property
    def title(self) -> str:
        """One line for people; the name where none is given."""
        return self.sections.title or self.name

    @property
    def seed(self) -> int:
        """Seed of every random stream of the run."""
        return self.sections.seed

    @property
    def routing(self) -> RoutingSection:
        """Section `routing` of the file."""
        return self.sections.routing

    @property
    def workload(self) -> WorkloadSection:
        """Section `workload` of the file."""
        return self.sections.workload

    @property
    def memory(self) -> MemorySection:
        """Section `memory` of the file."""
        return self.sections.memory

    @property
    def placement(self) -> PlacementSection:
        """Section `placement` of the file."""
        return self.sections.placement

    @property
    def expert_cache(self) -> ExpertCacheSection:
        """Section `expert_cache` of the file."""
        return self.sections.expert_cache

    @property
    def prefetch(self) -> PrefetchSection:
        """Section `prefetch` of the file."""
        return self.sections.prefetch

    @property
    def on_miss(self) -> LoadSection:
        """Section `on_miss` of the file."""
        return self.sections.on_miss

    @property
    def selection(self) -> RouterSelectionSection:
        """Section `selection` of the file."""
        return self.sections.selection

    @property
    def schedule(self) -> ScheduleSection:
        """Section `schedule` of the file."""
        return self.sections.schedule

    @property
    def link(self) -> LinkSection:
        """Section `link` of the file."""
        return self.sections.link

    @property
    def record(self) -> RecordSection:
        """Section `record` of the file."""
        return self.sections.record

    @property
    def chunks(self) -> int:
        """Chunks per expert transfer: the link's own number, else the schedule's."""
        return checks.chunks(self.sections)[0]

    @property
    def trace(self) -> RoutingTrace | None:
        """The recording that `routing.path` names, or None."""
        return self.routing_input.trace

    @property
    def trace_path(self) -> Path | None:
        """The file or folder of that recording, or None."""
        return self.routing_input.path

    @property
    def profile(self) -> Profile | None:
        """The fitted profile that routing is drawn from, or None."""
        return self.routing_input.profile

    def replace(self, changes: Mapping[str, Any]) -> Scenario:
        """The same scenario with other values at dotted fields, by the rules of `--set`; checked as a whole again.

        `expert_cache.eviction` and `prefetch` also take a policy class or object written in the calling script.
        Raises InputError with every fault.
        """
        from moesim.scenario.load import replaced

        return replaced(self, changes)

    def resolved(self) -> dict[str, Any]:
        """The whole scenario as plain data, nothing left out or left to look up; names of files, no folders.

        It is a scenario itself: read again where its routing file lies, it gives the same run (a policy handed over
        by a script aside, of which only the name is written).
        """
        data = self.sections.model_dump(mode="json")
        whole: dict[str, Any] = {"moesim": data.pop("moesim"), "title": data.pop("title"), "seed": data.pop("seed")}
        whole["hardware"] = self.tree.value["hardware"].plain()
        whole["model"] = self.tree.value["model"].plain()
        whole.update(data)
        given = self.routing_input
        if given.path is not None:
            whole["routing"]["path"] = given.path.name
        if given.profile is not None:
            whole["routing"]["profile"] = given.profile.name
        if whole["prefetch"].get("into") == "cache":
            del whole["prefetch"]["slots"]  # nothing has slots there, and a file that says so is refused
        return whole

    @property
    def hash(self) -> str:
        """sha256 (hex) of the canonical JSON of `resolved()` without title; routing files count by content."""
        data = self.resolved()
        del data["title"]
        data["routing"].pop("path", None)
        data["routing"]["sha256"] = self.routing_input.sha256
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def sources(self) -> dict[str, NumberSource]:
        """Where every number comes from: dotted field -> (title, kind, url)."""
        return sources(self.resolved(), self.tree, self.machine)

    def fits(self) -> MemoryDivision:
        """Who gets which bytes of the accelerator's memory."""
        return self.division
