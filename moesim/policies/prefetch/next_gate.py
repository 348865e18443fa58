"""Parametric next-layer gate (Eliseev & Mazur, arXiv 2312.17238): later gates applied to the current hidden state.

Hidden states are not simulated, so the predictor's quality is a parameter, and its guesses are drawn around the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from moesim.core.streams import draw, stream_id, threshold
from moesim.errors import Fault, InputError
from moesim.policies.prefetch.base import PREFETCHES, Prefetch
from moesim.policies.view import View

__all__ = ["NextGate"]

_RIGHT, _COUNT, _WRONG = (stream_id(name) for name in ("prefetch", "prefetch-count", "prefetch-wrong"))


@PREFETCHES.register("next_gate")
class NextGate(Prefetch):
    """`experts` guesses for each of the next len(recall) MoE layers, in decode steps.

    recall[d-1] = share of a layer's true experts that a gate d layers ahead finds; precision[d-1] = share of right ones
    among its guesses that were neither resident nor on their way. With c right guesses of that sort, the mean number
    of wrong ones is c * (1 - precision) / precision; right ones give way to them, so that there are `experts` guesses
    at most. Rule 8 of `moesim.engine.spec` gives the draws.
    Changed events: copies queued at each lookup, into staging or the cache; wrong ones waste the link.
    """

    kind = "next_gate"

    def __init__(
        self, *, experts: int, recall: Sequence[Fraction | float], precision: Sequence[Fraction | float]
    ) -> None:
        faults = []
        if experts < 1:
            faults.append(Fault(field="prefetch.experts", got=experts, allowed="at least 1"))
        faults += [
            Fault(field=f"prefetch.recall.{i}", got=float(r), allowed="0 to 1")
            for i, r in enumerate(recall)
            if not 0 <= r <= 1
        ]
        faults += [
            Fault(field=f"prefetch.precision.{i}", got=float(p), allowed="above 0, at most 1")
            for i, p in enumerate(precision)
            if not 0 < p <= 1
        ]
        if len(recall) != len(precision):
            got = f"{len(precision)} distances"
            faults.append(Fault(field="prefetch.precision", got=got, allowed=f"{len(recall)}, as many as recall"))
        if faults:
            raise InputError(*faults)
        self._n = experts
        self._recall = [threshold(r) for r in recall]
        self._wrong_per_right = [(1 - Fraction(p)) / Fraction(p) for p in precision]

    def predict(self, view: View, step: int, layer: int) -> Sequence[tuple[int, int, int]]:
        if not view.is_decode(step):
            return ()
        layers = view.moe_layers()
        at = layers.index(layer)
        guesses: list[tuple[int, int, int]] = []
        for ahead, recall in enumerate(self._recall, 1):
            if at + ahead >= len(layers):
                break
            target = layers[at + ahead]
            guesses += [(step, target, expert) for expert in self._guess(view, step, target, ahead, recall)]
        return guesses

    def _guess(self, view: View, step: int, target: int, ahead: int, recall: int) -> list[int]:
        seed = view.seed
        # sorted is stable: equal weights keep the order of first appearance
        truth = [e for e, _ in sorted(view.true_set(step, target), key=lambda pair: -pair[1])]
        found = [e for rank, e in enumerate(truth) if draw(seed, _RIGHT, step, target, rank, ahead) < recall][: self._n]
        moving = [0]
        for e in found:
            moving.append(moving[-1] + (not (view.is_resident(target, e) or view.is_loading(target, e))))
        share = draw(seed, _COUNT, step, target, 0, ahead)
        # as many right guesses as leave room for the wrong ones that the precision asks for
        for n_right in range(len(found), -1, -1):
            mean = moving[n_right] * self._wrong_per_right[ahead - 1]
            whole = mean.numerator // mean.denominator
            wanted = whole + (share < threshold(mean - whole))
            if n_right + wanted <= self._n:
                break
        right = found[:n_right]
        if not wanted:
            return right
        true = set(truth)
        candidates = [
            e
            for e in range(view.experts_of(target))
            if e not in true and not view.is_resident(target, e) and not view.is_loading(target, e)
        ]
        return right + [
            candidates.pop(draw(seed, _WRONG, step, target, j, ahead) % len(candidates))
            for j in range(min(wanted, len(candidates)))
        ]
