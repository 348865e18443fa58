"""Miss policies: one file each."""

from moesim.policies.miss.base import MISSES, Action, LoadMiss, Miss

__all__ = ["MISSES", "Action", "LoadMiss", "Miss"]
