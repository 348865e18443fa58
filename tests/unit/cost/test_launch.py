"""Launch modes: who pays what, and that the sum over a layer is right."""

from __future__ import annotations

from fractions import Fraction

import pytest

from moesim.cost.launch import OPERATIONS, Launch

KERNELS = {"attention": 7, "router": 3, "experts": 4, "shared": 2, "dense": 3, "head": 2}


def launch(mode: str) -> Launch:
    return Launch(mode=mode, kernel_launch=Fraction(5), graph_replay=Fraction(40), kernels=KERNELS)


@pytest.mark.parametrize(
    ("mode", "paid"),
    [
        ("graph", {"attention": 40, "router": 0, "experts": 40, "shared": 40, "dense": 0, "head": 40}),
        ("piecewise", {"attention": 35, "router": 40, "experts": 40, "shared": 40, "dense": 40, "head": 40}),
        ("eager", {"attention": 35, "router": 15, "experts": 20, "shared": 10, "dense": 15, "head": 10}),
    ],
)
def test_each_operation_pays_its_own(mode: str, paid: dict[str, int]) -> None:
    made = launch(mode)
    assert {op: made.seconds(op) for op in OPERATIONS} == paid


def test_a_graph_layer_with_experts_pays_two_replays_and_a_dense_one_pays_one() -> None:
    made = launch("graph")
    assert sum(made.seconds(op) for op in ("attention", "router", "experts")) == 2 * 40
    assert sum(made.seconds(op) for op in ("attention", "dense")) == 40


def test_unknown_modes_and_operations_are_refused() -> None:
    with pytest.raises(ValueError, match="graph, piecewise, eager"):
        launch("jit")
    with pytest.raises(KeyError):
        launch("graph").seconds("norm")


@pytest.mark.parametrize("mode", ["graph", "piecewise", "eager"])
def test_the_words_say_what_the_number_is(mode: str) -> None:
    made = launch(mode)
    for op in OPERATIONS:
        words = made.formula(op)
        want = {"graph_replay": 40, "inside the replay of attention": 0}.get(words, KERNELS[op] * 5)
        assert made.seconds(op) == want
