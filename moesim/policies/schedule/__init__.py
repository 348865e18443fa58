"""Schedule policies: one file each."""

from moesim.policies.schedule import layerwise
from moesim.policies.schedule.base import SCHEDULES, Schedule
from moesim.policies.schedule.layerwise import DEMAND_ORDERS, GROUPINGS, Layerwise

__all__ = ["DEMAND_ORDERS", "GROUPINGS", "SCHEDULES", "Layerwise", "Schedule", "layerwise"]
