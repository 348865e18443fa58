"""Prefetch what the previous step used: routing repeats from token to token."""

from __future__ import annotations

from collections.abc import Sequence

from moesim.policies.prefetch.base import PREFETCHES, Prefetch
from moesim.policies.view import View

__all__ = ["PreviousStep"]


@PREFETCHES.register("previous")
class PreviousStep(Prefetch):
    """At layer l, fetch the set that the step before the target step used at the next MoE layer.

    Past the last layer the target is the first MoE layer of the next step. After a prefill the set is that of its last
    token. Changed events: copies queued at each lookup, late hits.
    """

    kind = "previous"

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        layers = view.moe_layers()
        at = layers.index(layer) + 1
        target_step, target = (step, layers[at]) if at < len(layers) else (step + 1, layers[0])
        before = target_step - 1
        if target_step >= view.n_steps or before < 0 or not view.is_decode(target_step):
            return ()
        if view.batch(before) != view.batch(target_step):
            return ()
        if not view.was_looked_up(before, target):
            return ()
        past = view.past_set if view.is_decode(before) else view.past_last_token
        return [(target_step, target, expert) for expert in past(before, target)]
