"""What a run folder says about its scenario, beside the numbers: their sources, and what was decided on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesim.scenario.memory import MemoryDivision

__all__ = ["ScenarioInfo", "memories"]


@dataclass(frozen=True, kw_only=True)
class ScenarioInfo:
    """The scenario as readers of a result see it. Plain JSON values only; nothing here is read by an engine."""

    name: str
    """Short name: of the file, without its folder."""
    title: str
    resolved: Mapping[str, Any]
    """The whole scenario, resolved: what `scenario.yaml` holds."""
    hash: str
    """sha256 of the resolved scenario, hexadecimal."""
    sources: Mapping[str, Mapping[str, str]]
    """Dotted field of `resolved` -> {kind: datasheet | measured | assumed, title, url, date}."""
    seed: int
    routing: str
    """Which routing was used, one line."""
    notes: tuple[str, ...] = ()
    """What was adjusted on the way from the file to the plan, one sentence each."""
    fits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Division of each memory: name -> {"capacity": bytes, "parts": {label: bytes}}; what the parts leave is free."""
    link: str = "host-to-device link"
    """What readers call the link, such as "PCIe 4.0 x16 link"."""
    machine: str = ""
    model: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """File that took part (profile, trace; base name) -> sha256."""
    streams: tuple[str, ...] = ()
    """Names of the random streams that the run draws from."""


def memories(division: MemoryDivision) -> dict[str, dict[str, Any]]:
    """`ScenarioInfo.fits` of a division of memory; parts of 0 bytes are left out."""
    parts = dict(list(division.rows())[1:-1])
    name = "memory (shared by accelerator and host)" if division.unified else "accelerator memory"
    found: dict[str, dict[str, Any]] = {name: {"capacity": division.capacity, "parts": parts}}
    if not division.unified:
        host = {"experts": division.host_experts, "DRAM cache of experts": division.dram_cache}
        found["host memory"] = {"capacity": division.host_capacity, "parts": host}
    for memory in found.values():
        memory["parts"] = {label: size for label, size in memory["parts"].items() if size}
    return found
