"""Placement policies: one file each."""

from moesim.policies.placement import layers, popular
from moesim.policies.placement.base import PLACEMENTS, NoPlacement, Placement

__all__ = ["PLACEMENTS", "NoPlacement", "Placement", "layers", "popular"]
