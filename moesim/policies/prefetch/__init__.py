"""Prefetch policies: one file each."""

from moesim.policies.prefetch import next_gate, previous
from moesim.policies.prefetch.base import PREFETCHES, Prefetch

__all__ = ["PREFETCHES", "Prefetch", "next_gate", "previous"]
