"""The recordings read as what they are, and the shipped profiles resemble them."""

import time
from collections import OrderedDict

import numpy as np
import pytest

from moesim.routing import generate, load_profile, read
from moesim.routing.fit import hit_error
from moesim.routing.reuse import hit_rates, reuse_counts_of
from moesim.routing.sets import distinct_sets
from moesim.routing.shipped import joined

PHONE = "data/timed/oneplus-15r/qwen3-30b-a3b/route.csv.gz"


@pytest.fixture(scope="module")
def phone(shared):
    return read(shared / PHONE, n_experts=128)


def steps_of(trace):
    """Picks in the order of a run with batched prefill: (step, layer) by (step, layer), with the pointers."""
    prompt = int(trace.prompt_tokens[0])
    bounds = [(0, prompt), *((t, t + 1) for t in range(prompt, trace.n_tokens))]
    parts = [trace.experts[a:b, layer].reshape(-1) for a, b in bounds for layer in range(trace.n_layers)]
    ptr = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return np.concatenate(parts), ptr


def test_the_phone_recording(phone):
    assert (phone.n_experts, phone.n_layers, phone.top_k) == (128, 48, 6)
    assert (phone.n_sequences, phone.n_tokens, phone.prompt_tokens.tolist()) == (1, 156, [28])
    assert (phone.experts[:27, 47] == -1).all(), "only the last prompt token reaches the last layer"
    assert (phone.experts[27:] >= 0).all()
    assert len(phone.header["expert_bytes"]) == 48
    assert set(phone.header["expert_bytes"]) == {3059712, 2654208}
    assert np.allclose(phone.weights[phone.experts[..., 0] >= 0].sum(axis=1), 1, atol=1e-4)


def test_the_phone_looks_up_39526_experts(phone):
    picks, ptr = steps_of(phone)
    sets = distinct_sets(picks, None, ptr)
    assert len(sets.set_expert) == 39_526
    assert sets.set_pairs.sum() == 44_766, "the lines of the file"


def byte_lru(trace, budget):
    """Cumulative hit rate of one LRU for all layers, evicting after each layer's set."""
    picks, ptr = steps_of(trace)
    sets = distinct_sets(picks, None, ptr)
    size = trace.header["expert_bytes"]
    cache: OrderedDict = OrderedDict()
    used = hits = 0
    for i in range(len(sets.set_ptr) - 1):
        layer = i % trace.n_layers
        for expert in sets.set_expert[sets.set_ptr[i] : sets.set_ptr[i + 1]].tolist():
            hits += (layer, expert) in cache
            used += 0 if (layer, expert) in cache else size[layer]
            cache[layer, expert] = None
            cache.move_to_end((layer, expert))
        while used > budget:
            (old, _), _ = cache.popitem(last=False)
            used -= size[old]
    return 100 * hits / len(sets.set_expert)


def test_the_phone_hits_as_it_said(phone):
    assert byte_lru(phone, 4000 << 20) == pytest.approx(74.88, abs=0.02)


def test_the_phone_profile_hits_as_the_phone(phone):
    """The profile was fitted to this recording; the run it is for is another measure (bytes, one cache, prefill)."""
    rates = []
    for seed in range(3):
        made = generate(
            "profile",
            n_layers=48,
            n_experts=128,
            top_k=6,
            tokens=[156],
            prompt_tokens=[28],
            seed=seed,
            params={"profile": "qwen3-30b-a3b"},
        )
        object.__setattr__(made, "header", phone.header)
        made.experts[:27, 47] = -1
        rates.append(byte_lru(made, 4000 << 20))
    assert np.mean(rates) == pytest.approx(74.88, abs=2)


def test_gpt_oss_recordings(shared):
    trace = read(shared / "data/routing/gpt-oss-20b/gpqa_main.parquet")
    assert (trace.n_layers, trace.n_experts, trace.top_k, trace.n_sequences) == (24, 32, 4, 10)
    assert trace.n_tokens * 24 == 86_328
    assert trace.header["first_position"][0] == 382
    assert trace.weights is not None
    rates = hit_rates(*reuse_counts_of(trace))
    got = [100 * rates[m - 1] for m in (4, 8, 12, 16, 24)]
    assert got == pytest.approx([44.15, 65.04, 79.62, 88.49, 96.37], abs=0.01)


def test_gpt_oss_profile_is_within_two_points_of_its_recordings(shared):
    traces = [read(path) for path in sorted((shared / "data/routing/gpt-oss-20b").glob("*.parquet"))]
    trace = joined(traces)
    assert trace.n_sequences == 22
    table = hit_error(load_profile("gpt-oss-20b"), trace, list(range(4, 33)), copies=2)
    assert max(abs(e) for e in table["error"]) < 2


@pytest.mark.parametrize("kind", ["uniform", "sticky_zipf", "profile"])
def test_800_tokens_of_qwen_take_less_than_two_seconds(kind):
    params = {"sticky_zipf": {"exponent": 0.8, "repeat": 0.4}, "profile": {"profile": "qwen3-30b-a3b"}}.get(kind, {})
    start = time.process_time()
    generate(kind, n_layers=48, n_experts=128, top_k=8, tokens=[800], seed=0, params=params)
    assert time.process_time() - start < 2
