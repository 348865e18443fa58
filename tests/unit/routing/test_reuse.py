"""Hit rates from reuse distances equal a cache that is run, at every capacity."""

import numpy as np
import pytest

from moesim.routing import generate
from moesim.routing.reuse import hit_rates, reuse_counts, reuse_counts_of


def run_caches(picks, lengths, slots, count_from):
    """LRU of `slots` for each layer, cold at each sequence; a token's set is looked up, then brought in whole."""
    hits = lookups = token = 0
    for length in lengths:
        caches = [[] for _ in range(picks.shape[1])]
        for t in range(length):
            for layer, cache in enumerate(caches):
                row = [e for e in picks[token, layer].tolist() if e >= 0]
                if t >= count_from:
                    hits += sum(e in cache for e in row)
                    lookups += len(row)
                kept = [e for e in cache if e not in row]
                cache[:] = (kept + row)[-slots:]
            token += 1
    return hits / lookups


@pytest.mark.parametrize("count_from", [0, 15])
def test_equal_to_caches_that_are_run(count_from):
    lengths = [40, 25, 60]
    params = {"exponent": 0.8, "repeat": 0.3}
    trace = generate("sticky_zipf", n_layers=3, n_experts=12, top_k=3, tokens=lengths, seed=4, params=params)
    picks = trace.experts.astype(np.int64)
    picks[::7, 1] = -1
    rates = hit_rates(*reuse_counts(picks, np.array(lengths), 12, count_from=count_from))
    for slots in range(3, 13):
        assert rates[slots - 1] == pytest.approx(run_caches(picks, lengths, slots, count_from), abs=1e-12)


def test_a_cache_of_all_experts_misses_first_uses_only():
    trace = generate("uniform", n_layers=1, n_experts=8, top_k=2, tokens=[50], seed=0)
    rates = hit_rates(*reuse_counts_of(trace))
    assert rates[-1] == pytest.approx(1 - 8 / 100)
