"""A machine: parts put together, and the routes that bytes take between its memories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from moesim.errors import Fault, InputError, nearest
from moesim.hardware.accelerator import Accelerator
from moesim.hardware.curves import Frozen
from moesim.hardware.host import Host
from moesim.hardware.link import Link
from moesim.hardware.runtime import Runtime
from moesim.hardware.sourced import Source, Sourced, numbers
from moesim.hardware.storage import Storage

__all__ = ["TIERS", "Links", "Machine"]

TIERS = ("device", "dram", "nvme")
_ASSUMED_HERE = Source(kind="assumed", title="written in the scenario without a source", url="", date="")


class Links(Frozen):
    """Links between the parts."""

    host_to_device: Link | None = Field(default=None, description="host memory to accelerator; none if shared")


class Machine(Frozen):
    """One machine, resolved: every part is here, every source key is in `sources`.

    Validation refuses: a source key that `sources` lacks; a unified machine with a link to itself, or whose accelerator
    claims more memory than the host has; a discrete one without a link.
    """

    kind: Literal["machine"] = "machine"
    name: str = Field(default="", description="name of the profile")
    title: str = Field(min_length=1)
    accelerator: Accelerator
    host: Host
    storage: Storage | None = None
    links: Links = Links(host_to_device=None)
    runtime: Runtime
    sources: dict[str, Source] = Field(default={}, description="where the numbers come from, by key")

    @model_validator(mode="after")
    def _check(self) -> Machine:
        for field, number in self.numbers():
            if number.source and number.source not in self.sources:
                near = nearest(number.source, self.sources)
                allowed = "a key of the sources table" + (f", nearest {near}" if near else "")
                raise _refusal(f"{field}.source", number.source, allowed)
        link, unified = self.links.host_to_device, self.accelerator.unified
        if unified and link is not None:
            raise _refusal("links.host_to_device", "a link on a unified machine", "none: its parts share memory")
        if not unified and link is None:
            raise _refusal("links.host_to_device", "no link", "a link, or accelerator.unified: true")
        if unified and self.accelerator.memory.capacity.at() > self.host.memory.capacity.at():
            raise _refusal("accelerator.memory.capacity", "more than the host's memory", "at most host.memory.capacity")
        return self

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Every number of the machine with its dotted field."""
        return numbers(self)

    def source_of(self, number: Sourced) -> Source:
        """Where a number comes from; one without a key was written by the user, as an assumption."""
        return self.sources[number.source] if number.source else _ASSUMED_HERE

    def route(self, start: str, end: str) -> tuple[str, ...]:
        """The servers, in order, that a transfer between two tiers passes: "storage", "host_to_device".

        On a unified machine dram and device are one pool, so storage alone lies before either. Raises InputError on a
        tier that the machine lacks, or where no route leads (downwards: evicted experts are dropped, not written back).
        """
        tiers = [t for t in TIERS if t != "nvme" or self.storage is not None]
        for tier in (start, end):
            if tier not in tiers:
                known = " | ".join(tiers)
                raise InputError(Fault(field="route", got=tier, allowed=known, nearest=nearest(tier, tiers)))
        link = () if self.accelerator.unified else ("host_to_device",)
        routes = {("dram", "device"): link, ("nvme", "dram"): ("storage",), ("nvme", "device"): ("storage", *link)}
        if (start, end) not in routes:
            allowed = ", ".join(f"{a}->{b}" for a, b in routes if a in tiers)
            raise InputError(Fault(field="route", got=f"{start}->{end}", allowed=allowed))
        return routes[start, end]


def _refusal(field: str, got: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        "machine", "{field}: got {got}, allowed {allowed}", {"field": field, "got": got, "allowed": allowed}
    )
