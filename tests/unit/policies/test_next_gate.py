"""The parametric gate keeps what its parameters promise: recall of the truth, precision among absent guesses."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import sqrt

import pytest

from moesim.errors import InputError
from moesim.policies.prefetch.next_gate import NextGate
from moesim.policies.view import View

K, N, STEPS = 8, 128, 3000


class Still(View):
    """One set to guess in layer 1; the experts below `resident` are there."""

    def __init__(self, resident: int = 0) -> None:
        self.seed, self.n_experts, self.n_steps = 3, N, STEPS
        self._resident = resident

    now = property(lambda self: 0)

    def is_resident(self, layer: int, expert: int) -> bool:
        return expert < self._resident

    def is_loading(self, layer: int, expert: int) -> bool:
        return False

    def is_decode(self, step: int) -> bool:
        return True

    def batch(self, step: int) -> int:
        return 0

    def moe_layers(self) -> Sequence[int]:
        return [0, 1]

    def was_looked_up(self, step: int, layer: int) -> bool:
        return False

    def past_set(self, step: int, layer: int) -> Sequence[int]:
        raise AssertionError("a gate does not look back")

    past_last_token = past_set

    def true_set(self, step: int, layer: int) -> Sequence[tuple[int, int]]:
        # spread over all ids, heavier first
        return [((step * 7 + slot * 16) % N, 100 - slot) for slot in range(K)]

    def experts_of(self, layer: int) -> int:
        return N

    def link_backlog_ps(self) -> int:
        return 0


def _counts(gate: NextGate, view: Still) -> tuple[int, int, int, int]:
    """(right, wrong, right and absent, most guesses in one step)"""
    right = wrong = absent = most = 0
    for step in range(STEPS):
        guesses = [e for _, _, e in gate.predict(view, step, 0)]
        assert len(set(guesses)) == len(guesses)
        truth = {e for e, _ in view.true_set(step, 1)}
        right += sum(e in truth for e in guesses)
        absent += sum(e in truth and not view.is_resident(1, e) for e in guesses)
        wrong += sum(e not in truth for e in guesses)
        assert not any(view.is_resident(1, e) for e in guesses if e not in truth), "wrong guesses move bytes"
        most = max(most, len(guesses))
    return right, wrong, absent, most


@pytest.mark.parametrize("resident", [0, 64])
@pytest.mark.parametrize("experts, recall, precision", [(64, "0.8", "0.5"), (64, "0.25", "0.9"), (4, "0.8", "0.7")])
def test_recall_and_precision(experts: int, recall: str, precision: str, resident: int) -> None:
    share, p = Fraction(recall), Fraction(precision)
    gate = NextGate(experts=experts, recall=[share], precision=[p])
    right, wrong, absent, most = _counts(gate, Still(resident))
    assert most <= experts
    seen = absent / (absent + wrong)
    # each right absent guess brings a rounded number of wrong ones: at most one draw of variance 1/4 a step
    error = sqrt(STEPS) / 2 / (absent + wrong)
    print(f"precision {seen:.4f}, asked {float(p)} +- {error:.4f}")
    if experts > K / p:
        assert abs(seen - p) <= 4 * error
        got, sd = right / (K * STEPS), sqrt(share * (1 - share) / (K * STEPS))
        print(f"recall {got:.4f}, asked {float(share)} +- {sd:.4f}")
        assert abs(got - share) <= 4 * sd
    else:
        # few guesses cannot have that recall; what room they leave must not make them better than asked
        assert seen <= p + 0.08 and wrong > 0


def test_the_heaviest_come_first() -> None:
    gate = NextGate(experts=3, recall=[1], precision=[1])
    assert [e for _, _, e in gate.predict(Still(), 5, 0)] == [e for e, _ in Still().true_set(5, 1)[:3]]


def test_nothing_past_the_last_layer() -> None:
    assert list(NextGate(experts=3, recall=[1], precision=[1]).predict(Still(), 5, 1)) == []


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"experts": 0, "recall": [1], "precision": [1]}, "prefetch.experts"),
        ({"experts": 1, "recall": [2], "precision": [1]}, "prefetch.recall.0"),
        ({"experts": 1, "recall": [1], "precision": [0]}, "prefetch.precision.0"),
        ({"experts": 1, "recall": [1, 1], "precision": [1]}, "prefetch.precision"),
    ],
)
def test_impossible_parameters_are_refused(wrong: dict, field: str) -> None:
    with pytest.raises(InputError) as caught:
        NextGate(**wrong)
    assert [fault.field for fault in caught.value.faults] == [field]
