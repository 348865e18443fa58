"""Eviction policies: one file each."""

from moesim.policies.eviction import lru
from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Clock, Eviction

__all__ = ["EVICTIONS", "CacheFacts", "Clock", "Eviction", "lru"]
