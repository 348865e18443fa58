"""Contract of every generator: k distinct experts, the stated distribution, depends on the token, fixed by its seed."""

from fractions import Fraction
from itertools import permutations
from math import comb

import numpy as np
import pytest

from moesim.errors import InputError
from moesim.routing.generators import KINDS, generate, zipf_weights
from moesim.routing.memory import lag_weights, walk
from moesim.routing.profile import Profile

# the 0.999 quantile of chi-square by degrees of freedom (Abramowitz & Stegun, table 26.8)
CHI_999 = {7: 24.32, 27: 55.48, 30: 59.70}


def small_profile(memory=("0.3", "2", "0.2", "20"), weights=()):
    return Profile(
        name="made-up",
        source="none",
        fitted="none",
        n_experts=8,
        top_k=3,
        popularity=((9, 1, 1, 1, 1, 1, 1, 1), (1, 2, 3, 4, 5, 6, 7, 8)),
        memories=(tuple(Fraction(x) for x in memory),) * 2,
        weights=weights,
    )


PARAMS = {
    "uniform": {},
    "zipf": {"exponent": 1.1},
    "sticky_zipf": {"exponent": 0.7, "repeat": 0.4},
    "profile": {"profile": small_profile()},
}


def make(kind, *, top_k=3, tokens=(60, 25), seed=0, **params):
    given = {**PARAMS[kind], **params}
    return generate(kind, n_layers=2, n_experts=8, top_k=top_k, tokens=list(tokens), seed=seed, params=given)


def test_every_kind_is_tested():
    assert set(PARAMS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_picks_are_k_distinct_ids(kind, top_k):
    trace = make(kind, top_k=top_k).validate(8)
    assert trace.experts.shape == (85, 2, top_k)
    assert trace.experts.min() >= 0
    assert trace.source.startswith(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_depends_on_token_layer_and_seed_and_repeats_itself(kind):
    trace = make(kind)
    assert (trace.experts == make(kind).experts).all()
    assert (trace.experts != make(kind, seed=1).experts).any()
    assert len({row.tobytes() for row in trace.experts[:, 0]}) > 20
    assert (trace.experts[:, 0] != trace.experts[:, 1]).any()
    assert (trace.experts[:25] != trace.experts[60:]).any(), "sequences must not be copies of each other"


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_sequence_changes_no_other(kind):
    short, long = make(kind, tokens=(10, 25)), make(kind, tokens=(60, 25))
    assert (short.experts[:10] == long.experts[:10]).all()
    assert (short.experts[10:] == long.experts[60:]).all()


def test_bytes_of_the_generator_are_pinned():
    """Any change of these numbers changes every user's results: it needs a line in the change log."""
    assert make("uniform").experts[:2].tolist() == GOLDEN["uniform"]
    assert make("sticky_zipf").experts[:2].tolist() == GOLDEN["sticky_zipf"]
    assert make("profile").experts[-2:].tolist() == GOLDEN["profile"]


def test_uniform_picks_every_set_equally_often():
    trace = generate("uniform", n_layers=4, n_experts=8, top_k=2, tokens=[7000], seed=5)
    sets = np.sort(trace.experts.reshape(-1, 2), axis=1)
    counts = np.bincount(sets[:, 0] * 8 + sets[:, 1], minlength=64)
    counts = counts[counts > 0]
    expected = 4 * 7000 / comb(8, 2)
    assert len(counts) == comb(8, 2)
    assert ((counts - expected) ** 2 / expected).sum() < CHI_999[27]


def inclusion(weights, k):
    """Inclusion probabilities of successive sampling, by brute force over all ordered picks."""
    total = sum(weights)
    out = np.zeros(len(weights))
    for order in permutations(range(len(weights)), k):
        left, p = total, 1.0
        for i in order:
            p *= weights[i] / left
            left -= weights[i]
        out[list(order)] += p
    return out


@pytest.mark.parametrize("exponent", [0.5, 1.2, 4])
def test_zipf_inclusion_frequencies_equal_brute_force(exponent):
    layers, tokens, k = 2, 6000, 3
    trace = make("zipf", exponent=exponent, top_k=k, tokens=(tokens,))
    want = np.sort(inclusion(zipf_weights(8, Fraction(str(exponent))), k))
    for layer in range(layers):
        got = np.bincount(trace.experts[:, layer].reshape(-1), minlength=8)
        rank = np.sort(got) / tokens
        sigma = np.sqrt(np.maximum(want * (1 - want), 1e-12) / tokens)
        assert (np.abs(rank - want) < 5 * sigma + 0.004).all(), (rank, want)


@pytest.mark.parametrize(("n", "k", "exponent"), [(64, 6, 0.5), (64, 6, 1.0), (128, 8, 0.8)])
def test_zipf_inclusion_is_near_law_x5(n, k, exponent):
    """T-X5: pi_i = 1 - exp(-p_i t) with sum pi_i = k, within the 0.022 the law's table states."""
    trace = generate("zipf", n_layers=2, n_experts=n, top_k=k, tokens=[8000], seed=2, params={"exponent": exponent})
    p = np.array(zipf_weights(n, Fraction(str(exponent))), dtype=float)
    p /= p.sum()
    low, high = 0.0, 1e9
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if (1 - np.exp(-p * t)).sum() < k else (low, t)
    law = 1 - np.exp(-p * low)
    for layer in range(2):
        got = np.sort(np.bincount(trace.experts[:, layer].reshape(-1), minlength=n))[::-1] / 8000
        assert np.abs(got - law).max() < 0.03
    assert law.sum() == pytest.approx(k)


def test_popular_ids_differ_by_layer():
    trace = generate("zipf", n_layers=12, n_experts=64, top_k=1, tokens=[400], seed=0, params={"exponent": 2})
    top = {int(np.bincount(trace.experts[:, layer, 0]).argmax()) for layer in range(12)}
    assert len(top) > 6


def lru_hit_rate(rows, slots, warm):
    """A cache of `slots` experts that protects the token's whole set, token by token; the first `warm` do not count."""
    cache: list[int] = []
    hits = lookups = 0
    for t, row in enumerate(rows):
        if t >= warm:
            hits += sum(expert in cache for expert in row)
            lookups += len(row)
        for expert in row:
            if expert in cache:
                cache.remove(expert)
            cache.append(expert)
        del cache[:-slots]
    return hits / lookups


@pytest.mark.parametrize(
    ("n", "k", "slots", "repeat", "simulated", "law"),
    [
        (64, 6, 16, 0.3, 0.463, 0.4598),
        (64, 6, 16, 0.6, 0.687, 0.6821),
        (64, 6, 32, 0.5, 0.740, 0.7377),
        (8, 2, 4, 0.3, 0.635, 0.6216),
        (128, 8, 32, 0.5, 0.614, 0.6129),
    ],
)
def test_sticky_lru_vectors_of_law_x7(n, k, slots, repeat, simulated, law):
    """T-X7. The law is an approximation stated to 0.014; the simulated column is somebody else's simulation."""
    params = {"exponent": 0, "repeat": repeat}
    trace = generate("sticky_zipf", n_layers=10, n_experts=n, top_k=k, tokens=[700], seed=3, params=params)
    got = np.mean([lru_hit_rate(trace.experts[:, layer].tolist(), slots, warm=100) for layer in range(10)])
    assert got == pytest.approx(simulated, abs=0.007)
    assert got == pytest.approx(law, abs=0.017)


def test_sticky_slots_keep_their_expert_as_often_as_said():
    params = {"exponent": 0, "repeat": 0.25}
    trace = generate("sticky_zipf", n_layers=1, n_experts=512, top_k=4, tokens=[4000], seed=3, params=params)
    same = (trace.experts[1:] == trace.experts[:-1]).mean()
    # beside kept slots, a fresh draw hits the same slot's old expert once in about 512
    assert same == pytest.approx(0.25 + 0.75 / 512, abs=4 * (0.25 * 0.75 / 16000) ** 0.5)
    always = make("sticky_zipf", repeat=1)
    assert (always.experts[:60] == always.experts[0]).all()


def test_lag_weights_follow_two_exponentials():
    weights = lag_weights((Fraction("0.3"), Fraction(4), Fraction("0.2"), Fraction(50)))
    assert sum(weights) == 1 << 24
    lag = np.arange(1, len(weights))
    want = 0.3 / 4 * (3 / 4) ** (lag - 1) + 0.2 / 50 * (49 / 50) ** (lag - 1)
    assert np.abs(np.array(weights[1:]) / 2**24 - want).max() < 1e-7
    assert weights[0] / 2**24 == pytest.approx(0.5, abs=1e-3)
    assert lag_weights((Fraction(1), Fraction(1), Fraction(0), Fraction(1))) == (0, 1 << 24)
    with pytest.raises(ValueError, match="more than 1"):
        lag_weights((Fraction("0.7"), Fraction(1), Fraction("0.7"), Fraction(1)))


def test_walk_draws_the_stated_mixture():
    """Second pick given the first, one pick a token: p_i = (1-a) popularity_i + a [i was picked before]."""
    popularity = np.array([[1, 2, 3, 4]])
    memory = (Fraction("0.6"), Fraction(1), Fraction(0), Fraction(1))
    picks = walk(popularity, [memory], top_k=1, tokens=[2] * 20000, seed=1, stream=9).reshape(-1, 2)
    popular = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.abs(np.bincount(picks[:, 0]) / 20000 - popular).max() < 0.014
    for first in range(4):
        rows = picks[picks[:, 0] == first, 1]
        want = 0.4 * popular + 0.6 * (np.arange(4) == first)
        sigma = np.sqrt(want * (1 - want) / len(rows))
        assert (np.abs(np.bincount(rows, minlength=4) / len(rows) - want) < 4 * sigma).all()


def test_rows_that_redraws_do_not_complete_have_the_same_distribution():
    """A memory of nothing but the last token's two experts: the third pick of four is uniform among the other two."""
    popularity = np.array([[1000, 1000, 1, 3]])
    memory = (Fraction("0.99"), Fraction(1), Fraction(0), Fraction(1))
    picks = walk(popularity, [memory], top_k=3, tokens=[2] * 20000, seed=1, stream=9).reshape(-1, 2, 3)
    same = picks[(picks[:, 0] == [0, 1, 2]).all(axis=1), 1]
    gone = np.bincount([6 - int(row.sum()) for row in same], minlength=4) / len(same)
    mass = np.array([0.33, 0.33, 0.33, 0.0]) + 0.01 * np.array([1000, 1000, 1, 3]) / 2004
    want = 1 - inclusion(mass.tolist(), 3)
    assert np.abs(gone - want).max() < 0.01


def test_profile_with_another_top_k_and_rank_weights():
    profile = small_profile(weights=(0.5, 0.3, 0.2))
    two = make("profile", profile=profile, top_k=2)
    assert two.weights is not None
    assert two.weights[5, 1].tolist() == pytest.approx([0.625, 0.375])
    assert make("profile", profile=profile, top_k=4).weights is None
    assert make("profile").weights is None


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("zip", {}, "nearest zipf"),
        ("zipf", {"params": {}}, "needs it"),
        ("zipf", {"params": {"exponent": -1}}, "from 0 to 10"),
        ("zipf", {"params": {"exponent": float("nan")}}, "from 0 to 10"),
        ("zipf", {"params": {"exponent": True}}, "from 0 to 10"),
        ("zipf", {"params": {"exponent": 1, "repat": 1}}, "no such parameter"),
        ("sticky_zipf", {"params": {"exponent": 1, "repeat": 1.5}}, "from 0 to 1"),
        ("uniform", {"top_k": 9}, "1 to 8"),
        ("uniform", {"tokens": []}, "tokens"),
        ("profile", {"params": {"profile": "mixtral-8x7"}}, "nearest mixtral-8x7b"),
        ("profile", {"params": {"profile": small_profile()}, "n_layers": 3}, "was fitted on 2 MoE layers of 8"),
    ],
)
def test_bad_requests_are_refused_in_words(kind, change, text):
    request = {"n_layers": 2, "n_experts": 8, "top_k": 2, "tokens": [4], "seed": 0, "params": {}} | change
    with pytest.raises(InputError, match=text):
        generate(kind, **request)


GOLDEN = {
    "uniform": [[[6, 4, 7], [1, 5, 6]], [[1, 7, 5], [5, 0, 7]]],
    "sticky_zipf": [[[1, 6, 3], [5, 1, 3]], [[0, 6, 3], [5, 4, 1]]],
    "profile": [[[3, 7, 6], [2, 7, 1]], [[3, 6, 7], [7, 5, 6]]],
}
