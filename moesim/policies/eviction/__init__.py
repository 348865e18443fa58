"""Eviction policies: one file each."""

from moesim.policies.eviction import belady, fifo, lfu, lru, random, static
from moesim.policies.eviction.base import EVICTIONS, CacheFacts, Clock, Eviction

__all__ = ["EVICTIONS", "CacheFacts", "Clock", "Eviction", "belady", "fifo", "lfu", "lru", "random", "static"]
