"""Finer and merged routing: k distinct picks, frequencies kept, siblings together or strangers, as said."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.routing import generate
from moesim.routing.regranulate import regranulate

SPLITS = ["siblings", "independent", {"correlation": 0.5}]


def coarse(n=8, k=2, tokens=(500, 300)):
    params = {"exponent": 0.8, "repeat": 0.4}
    trace = generate("sticky_zipf", n_layers=3, n_experts=n, top_k=k, tokens=list(tokens), seed=1, params=params)
    weights = np.broadcast_to(np.linspace(0.8, 0.2, k, dtype=np.float32), trace.experts.shape)
    experts = trace.experts.copy()
    experts[:20, 2] = -1  # a prompt that skipped the last layer
    return replace(trace, experts=experts, weights=weights, header={"expert_bytes": [10, 11, 12], "model": "m"})


def indicator(trace):
    """[T, L, N] of 0 and 1."""
    out = np.zeros((trace.n_tokens, trace.n_layers, trace.n_experts))
    t, layer, slot = np.nonzero(trace.experts >= 0)
    out[t, layer, trace.experts[t, layer, slot]] = 1
    return out


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("g", [2, 4, Fraction(1, 2)])
def test_contract(split, g):
    trace = coarse()
    fine = regranulate(trace, g, split, seed=3).validate()
    assert (fine.n_experts, fine.top_k, fine.n_tokens) == (8 * g, 2 * g, 800)
    assert ((fine.experts[:, :, 0] < 0) == (trace.experts[:, :, 0] < 0)).all(), "a token not routed stays so"
    assert fine.sequence_ptr.tolist() == trace.sequence_ptr.tolist()
    assert (fine.experts == regranulate(trace, g, split, seed=3).experts).all()
    if split != "siblings":
        assert (fine.experts != regranulate(trace, g, split, seed=4).experts).any()
    assert len({row.tobytes() for row in fine.experts[:, 0]}) > 3, "depends on the token"


@pytest.mark.parametrize("g", [2, 4])
@pytest.mark.parametrize("split", ["siblings", "independent"])
def test_every_child_is_as_frequent_as_its_parent(split, g):
    trace = coarse()
    fine = indicator(regranulate(trace, g, split)).sum(axis=0).reshape(3, 8, g)
    assert (fine == indicator(trace).sum(axis=0)[:, :, None]).all()


@pytest.mark.parametrize(
    ("split", "want"), [("siblings", 1), ("independent", 0), ({"correlation": 0.5}, 0.5), ({"correlation": 0.2}, 0.2)]
)
def test_correlation_of_siblings(split, want):
    fine = indicator(regranulate(coarse(tokens=[4000]), 4, split))[20:]
    siblings = np.kron(np.eye(8), np.ones((4, 4))) - np.eye(32) > 0
    pairs = [np.corrcoef(fine[:, layer].T)[siblings] for layer in range(3)]
    assert np.mean(pairs) == pytest.approx(want, abs=0.04)


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_repetition_from_token_to_token_survives(split):
    def repeats(trace):
        rows = indicator(trace)[20:500]
        return (rows[1:] * rows[:-1]).sum() / rows[1:].sum()

    trace = coarse()
    assert repeats(regranulate(trace, 4, split)) == pytest.approx(repeats(trace), abs=0.04)


def test_siblings_are_numbered_and_weighted_as_said():
    trace = coarse()
    fine = regranulate(trace, 2, "siblings")
    a, b = trace.experts[700, 1].tolist()
    assert fine.experts[700, 1].tolist() == [2 * a, 2 * a + 1, 2 * b, 2 * b + 1]
    assert fine.weights[700, 1].tolist() == pytest.approx([0.4, 0.4, 0.1, 0.1])
    assert fine.header == {"expert_bytes": [5, 6, 6], "model": "m"}
    assert fine.source.endswith("granularity 2 (siblings)")
    for split in SPLITS:
        assert np.allclose(regranulate(trace, 2, split).weights.sum(axis=2), 1)


def test_merging_adds_weights_and_keeps_the_heaviest():
    trace = replace(
        coarse(n=8, k=4, tokens=(2,)),
        experts=np.array([[[0, 2, 4, 3]] * 3, [[6, 7, 1, 0]] * 3], dtype=np.int16),
        weights=np.array([[[0.4, 0.3, 0.2, 0.1]] * 3] * 2, dtype=np.float32) * np.float32(1),
    )
    merged = regranulate(trace, Fraction(1, 2), "siblings")
    # 0 -> group 0 (0.4), 2 and 3 -> group 1 (0.3 + 0.1), 4 -> group 2 (0.2): groups 0 and 1 tie but for rounding
    assert set(merged.experts[0, 0].tolist()) == {0, 1}
    assert merged.experts[1, 0].tolist() == [3, 0]
    assert merged.weights[1, 0].tolist() == pytest.approx([0.7, 0.3])
    assert merged.header["expert_bytes"] == [20, 22, 24]
    plain = regranulate(replace(trace, weights=None), 0.5, "siblings")
    assert plain.experts[0, 0].tolist() == [0, 1], "without weights: those picked first"
    assert plain.weights is None


def test_independent_merging_pairs_at_random_and_correlation_lies_between():
    trace = coarse(n=128, k=2)

    def together(split):
        merged = regranulate(trace, Fraction(1, 2), split, seed=2)
        # recover the pairing from picks that kept their first expert
        known = dict(zip(trace.experts[20:, 0, 0].tolist(), merged.experts[20:, 0, 0].tolist(), strict=True))
        return np.mean([known[e] == known[e + 1] for e in range(0, 128, 2) if e in known and e + 1 in known])

    plain = replace(trace, weights=None)
    trace = plain
    assert together("siblings") == 1
    assert together("independent") < 0.1
    assert 0.3 < together({"correlation": 0.5}) < 0.7


def test_granularity_one_changes_nothing():
    trace = coarse()
    assert regranulate(trace, 1, "independent") is trace


@pytest.mark.parametrize(
    ("g", "split", "text"),
    [
        (Fraction(3, 2), "siblings", "whole number, or one over one"),
        (0, "siblings", "whole number"),
        (-2, "siblings", "whole number"),
        (Fraction(1, 4), "siblings", "2 picks for each token do not divide"),
        (Fraction(1, 3), "siblings", "8 experts do not divide"),
        (2, "sibling", r"routing.split: got .sibling., allowed siblings"),
        (2, {"correlation": 1.5}, "correlation"),
        (2, {"correlation": True}, "correlation"),
        (2, {"corelation": 0.5}, "corelation"),
    ],
)
def test_refusals(g, split, text):
    with pytest.raises(InputError, match=text):
        regranulate(coarse(), g, split)
