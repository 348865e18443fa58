"""What every eviction policy must do, whatever its order; and counts of hits by other people's caches.

A new policy is held to this by registering: the suite runs over all kinds.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moesim.policies.cache import ABSENT, LOADING, RESIDENT
from moesim.policies.eviction import EVICTIONS, Eviction
from tests.support.caches import facts_of, replay_one, small_cache

KINDS = EVICTIONS.kinds()
SIZES = (3, 2)  # bytes of an expert, by layer
EXPERTS = 5
IDS = len(SIZES) * EXPERTS

# (layer, distinct experts, ids that arrive by prefetch after the set, whether the cache is reset after it)
rounds = st.lists(
    st.tuples(
        st.integers(0, len(SIZES) - 1),
        st.lists(st.integers(0, EXPERTS - 1), min_size=1, max_size=3, unique=True),
        st.lists(st.integers(0, IDS - 1), max_size=2, unique=True),
        st.booleans(),
    ),
    max_size=25,
)


def future(ops):
    """next_use of a list of rounds. Round i is step i + 1: a cache that begins at a later one must not be at (0, 0),
    where nothing has been looked up yet."""
    uses: dict[int, list[int]] = {}
    for step, (layer, experts, _, _) in enumerate(ops, 1):
        for e in experts:
            uses.setdefault(layer * EXPERTS + e, []).append(step * len(SIZES) + layer)

    def next_use(key, now):
        row = uses.get(key, [])
        at = bisect_right(row, now)
        return row[at] if at < len(row) else (len(ops) + 1) * len(SIZES)

    return next_use


@dataclass
class Drive:
    """Plays rounds through a cache as an engine would, and looks at every step whether the accounts agree."""

    kind: str
    ops: list
    capacity: int = 12
    after_layer: bool = False
    resets: bool = True
    first_step: int = 0
    log: list = field(default_factory=list)

    def run(self):
        self.cache, self.residency, self.facts = small_cache(
            self.kind, self.capacity, sizes=SIZES, n_experts=EXPERTS, seed=7, next_use=future(self.ops)
        )
        if self.first_step:
            self.facts.clock.step, self.facts.clock.layer = self.first_step, self.ops[self.first_step - 1][0]
        self.cache.fill([0, 6, 3])
        self.check()
        for step, op in enumerate(self.ops[self.first_step :], self.first_step + 1):
            self.one(step, *op)
        return self

    def check(self):
        state, n = self.residency.state, EXPERTS
        held = [k for k in range(IDS) if state[k] in (LOADING, RESIDENT)]
        may_go = [k for k in held if state[k] == RESIDENT and not self.residency.pinned[k]]
        assert self.cache.used == sum(SIZES[k // n] for k in held)
        assert self.cache.evictable_bytes == sum(SIZES[k // n] for k in may_go)
        assert [k for k in range(IDS) if self.residency.evictable[k]] == may_go
        assert self.residency.by_layer == [sum(state[n * i + e] == RESIDENT for e in range(n)) for i in range(2)]
        assert self.after_layer or self.cache.used <= self.capacity

    def claim(self, key, spare=()):
        before = [k for k in range(IDS) if self.residency.evictable[k]]
        used = self.cache.used
        victims = self.cache.claim(key, spare)
        if victims is None:
            assert used == self.cache.used, "nothing leaves when a claim fails"
            free = self.capacity - used + sum(SIZES[k // EXPERTS] for k in before if k not in spare)
            assert free < SIZES[key // EXPERTS], "a claim fails only when the bytes cannot be had"
            return False
        assert set(victims) <= set(before) - set(spare), "victims are evictable, not pinned, not spared"
        assert len(set(victims)) == len(victims)
        if victims:
            short = used + SIZES[key // EXPERTS] - self.capacity
            assert sum(SIZES[k // EXPERTS] for k in victims[:-1]) < short, "nobody leaves in vain"
        self.log.append((key, victims))
        return True

    def one(self, step, layer, experts, prefetched, reset):
        cache, state = self.cache, self.residency.state
        self.facts.clock.step, self.facts.clock.layer = step, layer
        keys = [layer * EXPERTS + e for e in experts]
        missed = [k for k in keys if state[k] == ABSENT]
        for key in keys:
            cache.policy.lookup(key)
        for key in keys:
            if state[key] == RESIDENT:
                cache.pin(key)
        served = []
        for key in missed if cache.admits(layer) else []:
            if self.after_layer:
                cache.claim_over(key)
            elif not self.claim(key):
                continue
            cache.enter(key, True)
            self.residency.pinned[key] = 1
            self.check()
            served.append(key)
        for key in served:
            cache.arrive(key)
        self.check()
        for key in [k for k in prefetched if state[k] == ABSENT and k not in keys and cache.admits(k // EXPERTS)]:
            if self.claim(key, keys if self.after_layer else ()):
                cache.enter(key, False)
                cache.arrive(key)
            self.check()
        for key in keys:
            if state[key] == RESIDENT:
                cache.unpin(key)
        self.check()
        if self.after_layer:
            over = cache.used - self.capacity
            victims = cache.trim(keys)
            assert not set(victims) & set(keys), "the set itself is spared"
            others = [k for k in range(IDS) if self.residency.evictable[k] and k not in keys]
            assert cache.used <= self.capacity or not others, "trimmed to capacity, or nobody is left"
            assert bool(victims) <= (over > 0)
            self.log.append((-1, victims))
            self.check()
        if reset and self.resets:
            cache.reset(range(IDS), [0, 6, 3])
            assert [k for k in range(IDS) if state[k] == RESIDENT] == [0, 3, 6]
            self.check()


@pytest.mark.parametrize("after_layer", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(ops=rounds)
def test_accounts_claims_and_trims(kind, after_layer, ops):
    Drive(kind, ops, after_layer=after_layer).run()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(ops=rounds)
def test_the_same_run_has_the_same_victims(kind, ops):
    assert Drive(kind, ops).run().log == Drive(kind, ops).run().log


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(ops=rounds, cut=st.integers(0, 25))
def test_after_a_reset_it_is_as_new(kind, ops, cut):
    """Victims after a reset at `cut` are those of a cache that begins there."""
    ops = [(layer, experts, pre, step + 1 == cut) for step, (layer, experts, pre, _) in enumerate(ops)]
    whole = Drive(kind, ops).run().log
    rest = Drive(kind, ops, first_step=min(cut, len(ops))).run().log
    assert whole[len(whole) - len(rest) :] == rest


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_evictable_is_said_not_looped_over(kind):
    policy = EVICTIONS.get(kind)()
    policy.start(facts_of())
    policy.insert(3, False)
    policy.claim(1)
    with pytest.raises(LookupError):
        policy.victim(bytearray(8))


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_the_registered_name(kind):
    assert EVICTIONS.get(kind).kind == kind
    assert issubclass(EVICTIONS.get(kind), Eviction)


@pytest.mark.parametrize("kind", [k for k in KINDS if EVICTIONS.get(k).admits])
def test_two_caches_of_one_run_do_not_share_state(kind):
    one, _, _ = small_cache(kind, 2)
    other, _, _ = small_cache(kind, 2)
    for key in (0, 1):
        assert one.claim(key) == []
        one.enter(key, False)
        one.arrive(key)
    assert other.claim(2) == []
    assert other.used == 1


# ---- other people's caches -----------------------------------------------------------------------------------------


def zipf(n, objects, seed):
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, objects + 1) ** 0.8
    return rng.choice(objects, size=n, p=p / p.sum()).tolist()


TRACES = {
    "zipf": zipf(4000, 100, 1),
    "phases": [x + 20 * (i // 700) for i, x in enumerate(zipf(4000, 40, 2))],
    "loop": [i % 33 for i in range(2000)],
}


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("capacity", [1, 7, 32])
@pytest.mark.parametrize(("kind", "theirs"), [("lru", "LRUCache"), ("lfu", "LFUCache"), ("fifo", "FIFOCache")])
def test_hits_as_cachetools_counts_them(trace, capacity, kind, theirs):
    cachetools = pytest.importorskip("cachetools")
    cache = getattr(cachetools, theirs)(maxsize=capacity)
    hits = []
    for x in TRACES[trace]:
        try:
            cache[x]
            hits.append(1)
        except KeyError:
            cache[x] = True
            hits.append(0)
    assert replay_one(TRACES[trace], capacity, kind).hits.tolist() == hits


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("capacity", [1, 7, 32])
@pytest.mark.parametrize(("kind", "theirs"), [("lru", "LRU"), ("lfu", "LFU"), ("fifo", "FIFO")])
def test_hits_as_libcachesim_counts_them(trace, capacity, kind, theirs):
    libcachesim = pytest.importorskip("libcachesim")
    cache = getattr(libcachesim, theirs)(cache_size=capacity)
    hits = []
    for x in TRACES[trace]:
        request = libcachesim.Request()
        request.obj_id, request.obj_size = x + 1, 1  # ids from 1: 0 is no object there
        hits.append(int(cache.get(request)))
    assert replay_one(TRACES[trace], capacity, kind).hits.tolist() == hits
