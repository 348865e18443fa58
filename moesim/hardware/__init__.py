"""Machines: what they can do, where every number comes from, and how they are put together from parts."""

from __future__ import annotations

from moesim.hardware.accelerator import Accelerator, Cache, Memory
from moesim.hardware.compose import load_machine
from moesim.hardware.host import Host
from moesim.hardware.link import Link
from moesim.hardware.machine import Links, Machine
from moesim.hardware.runtime import Runtime
from moesim.hardware.sourced import Source, Sourced
from moesim.hardware.storage import Storage

__all__ = [
    "Accelerator",
    "Cache",
    "Host",
    "Link",
    "Links",
    "Machine",
    "Memory",
    "Runtime",
    "Source",
    "Sourced",
    "Storage",
    "load_machine",
]
