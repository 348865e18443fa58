"""The engine's `View`: what a policy may see at the tick of its decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moesim.engine.reference.host import Host
from moesim.policies.view import View

__all__ = ["EngineView"]


class EngineView(View):
    """Reads the live state of a run; changes nothing."""

    def __init__(self, host: Host) -> None:
        plan = host.plan
        self._host = host
        self._plan = plan
        self.seed = plan.seed
        self.n_experts = plan.n_experts
        self.n_steps = plan.n_steps
        self._prefill: list[bool] = plan.step_prefill.tolist()
        self._batch: list[int] = plan.step_batch.tolist()
        self._moe = np.flatnonzero(plan.is_moe).tolist()
        self._ptr: list[int] = plan.set_ptr.tolist()
        self._pick_ptr: list[int] = plan.pick_ptr.tolist()
        self._top_k: list[int] = plan.top_k.tolist()
        self._kept: dict[int, tuple[int, list[int], list[int]]] = {}

    @property
    def now(self) -> int:
        return int(self._host.env.now)

    def is_resident(self, layer: int, expert: int) -> bool:
        return self._host.memory.is_there(layer * self.n_experts + expert)

    def is_loading(self, layer: int, expert: int) -> bool:
        return layer * self.n_experts + expert in self._host.inflight

    def is_decode(self, step: int) -> bool:
        return not self._prefill[step]

    def batch(self, step: int) -> int:
        return self._batch[step]

    def moe_layers(self) -> Sequence[int]:
        return self._moe

    def was_looked_up(self, step: int, layer: int) -> bool:
        return step * self._plan.n_layers + layer <= self._host.position

    def _past(self, step: int, layer: int) -> int:
        at = step * self._plan.n_layers + layer
        if at > self._host.position:
            raise LookupError(f"step {step}, layer {layer} has not been looked up yet")
        return at

    def _sets(self, step: int) -> tuple[int, list[int], list[int]]:
        """Start, experts and weights of all sets of a step, as lists: policies ask for one layer after the other."""
        kept = self._kept.get(step)
        if kept is None:
            if len(self._kept) > 2:
                self._kept.clear()
            layers = self._plan.n_layers
            begin, end = self._ptr[step * layers], self._ptr[(step + 1) * layers]
            kept = begin, self._plan.set_expert[begin:end].tolist(), self._plan.set_weight[begin:end].tolist()
            self._kept[step] = kept
        return kept

    def past_set(self, step: int, layer: int) -> Sequence[int]:
        at = self._past(step, layer)
        begin, experts, _ = self._sets(step)
        return experts[self._ptr[at] - begin : self._ptr[at + 1] - begin]

    def past_last_token(self, step: int, layer: int) -> Sequence[int]:
        at = self._past(step, layer)
        end = self._pick_ptr[at + 1]
        row: list[int] = self._plan.picks[max(self._pick_ptr[at], end - self._top_k[layer]) : end].tolist()
        return row

    def true_set(self, step: int, layer: int) -> Sequence[tuple[int, int]]:
        at = step * self._plan.n_layers + layer
        begin, experts, weights = self._sets(step)
        first, end = self._ptr[at] - begin, self._ptr[at + 1] - begin
        return list(zip(experts[first:end], weights[first:end], strict=True))

    def experts_of(self, layer: int) -> int:
        return self._plan.n_experts

    def link_backlog_ps(self) -> int:
        link = self._host.link
        return 0 if link is None else link.backlog_ps(self.now)
