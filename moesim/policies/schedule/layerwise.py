"""One layer after the other: the order of its loads and the grouping of its compute (rules 5 and 10 of the spec)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moesim.errors import Fault, InputError, nearest
from moesim.policies.schedule.base import SCHEDULES, Schedule

__all__ = ["DEMAND_ORDERS", "GROUPINGS", "Layerwise"]

DEMAND_ORDERS = ("router_weight", "expert_id", "ready_first")
GROUPINGS = ("each", "hits_then_arrived", "hits_then_rest", "after_all")


@SCHEDULES.register("layerwise")
class Layerwise(Schedule):
    """A layer starts when the one before has ended.

    demand_order: `router_weight` larger weight first, then first appearance; `expert_id` ascending; `ready_first` more
    chunks moved first, then as router_weight.
    grouping: `each` one expert at a time, hits by ascending id, then arrivals in order; `hits_then_arrived` all that
    are ready; `hits_then_rest` at first all that are ready, then the rest together; `after_all` all together. The
    latter two run what is ready when a load waits for bytes and none of the set is in flight: it could wait for ever.
    """

    kind = "layerwise"

    def __init__(self, *, demand_order: str = "router_weight", grouping: str = "hits_then_arrived") -> None:
        faults = [
            Fault(field=f"schedule.{name}", got=got, allowed=" | ".join(known), nearest=nearest(got, known))
            for name, got, known in (
                ("demand_order", demand_order, DEMAND_ORDERS),
                ("grouping", grouping, GROUPINGS),
            )
            if got not in known
        ]
        if faults:
            raise InputError(*faults)
        self.demand_order = demand_order
        self.grouping = grouping

    def demands(self, keys: Sequence[int], weight: Mapping[int, int], moved: Mapping[int, int]) -> list[int]:
        if self.demand_order == "expert_id":
            return sorted(keys)
        # sorted is stable, also in reverse: equal weights keep the order of first appearance
        order = sorted(keys, key=weight.__getitem__, reverse=True)
        if self.demand_order == "ready_first":
            order.sort(key=lambda key: moved.get(key, 0), reverse=True)
        return order

    def group(self, ready: Sequence[int], hits: int, in_flight: int, waiting: int, first: bool) -> list[int]:
        if not ready or self.grouping == "hits_then_arrived":
            return list(ready)
        if self.grouping == "each":
            return [min(ready[:hits])] if hits else [ready[0]]
        patient = self.grouping == "after_all" or not first
        stuck = waiting > 0 and in_flight == 0
        return [] if patient and in_flight + waiting > 0 and not stuck else list(ready)
