"""Which experts each token picks: recorded, generated from a law, or sampled from a fitted profile."""

from moesim.routing.generators import generate
from moesim.routing.importers import read, write
from moesim.routing.profile import Profile, load_profile, profile_names
from moesim.routing.sets import DistinctSets, distinct_sets
from moesim.routing.trace import RoutingTrace

__all__ = [
    "DistinctSets",
    "Profile",
    "RoutingTrace",
    "distinct_sets",
    "generate",
    "load_profile",
    "profile_names",
    "read",
    "write",
]
