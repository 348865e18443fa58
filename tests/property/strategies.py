"""Random small plans that hit everything: ties, empty and oversize, all policies, all paths.

`random_plan(seed, off=...)` draws every feature in a fixed order and then replaces those named in `off` by the plainest
value, so that a difference found on a seed can be told by its smallest set of features (`smallest`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from moesim.plan.plan import Plan
from tests.support.plans import small_plan

__all__ = ["FEATURES", "random_plan", "smallest"]

_TICKS = ((0, 1, 2, 5, 10), (0, 1, 2, 5, 10), (0, 10, 20, 60), (0,), (3, 7, 11, 30, 100))
_PLAIN: dict[str, dict[str, Any]] = {
    "attention": {"attention": 10},
    "router": {"router": 0},
    "control": {"d2h": 0, "lookup": 0},
    "issue": {"issue": 0},
    "shared": {"shared": 0},
    "head": {"head": 0},
    "gap": {"gap": 0},
    "overheads": {"load_overhead": 0, "evict_overhead": 0},
    "overhead_on": {"overhead_on": "stream"},
    "capacity": {"capacity": None},
    "initial": {"initial": ()},
    "pinned": {"pinned": ()},
    "eviction": {"eviction": "lru"},
    "evict": {"evict": "on_claim"},
    "reset": {"reset": "never"},
    "discipline": {"discipline": "fifo"},
    "chunks": {"chunks": 1},
    "wakeup": {"wakeup": 0},
    "resume": {"resume": 0},
    "t0": {"t0": 0},
    "method": {"method": "loop", "pieces": 1},
    "path": {"path": "link"},
    "lanes": {"lanes": 1},
    "dram": {"dram_capacity": None},
    "prefetch": {"prefetch": "none", "prefetch_params": None, "script": None},
    "source": {"source": "lookup"},
    "into": {"into": "cache"},
    "t_pred": {"t_pred": 0},
    "touch": {"touch_on_predict": False},
    "grouping": {"grouping": "hits_then_arrived"},
    "demand_order": {"demand_order": "router_weight"},
    "weights": {"weights": None},
    "group_class": {"group_class": 0},
}
FEATURES = tuple(_PLAIN)


def _steps(rng: random.Random, most: int) -> tuple[list[bool], list[int], list[int]]:
    """(prefill, batch, tokens) of each step: one to three batches of prefill chunks, then decode steps."""
    prefill: list[bool] = []
    batch: list[int] = []
    tokens: list[int] = []
    for b in range(rng.choice((1, 1, 2, 3))):
        width = rng.randint(1, 3)
        chunks, decode = rng.choice(((0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (1, 3), (0, 3)))
        for i in range(chunks + decode):
            prefill.append(i < chunks)
            batch.append(b)
            tokens.append(rng.randint(1, 5) if i < chunks else width)
    return prefill[:most], batch[:most], tokens[:most]


def _routing(rng: random.Random, tokens: list[int], moe: list[bool], experts: int) -> list[list[list[list[int]]]]:
    """[step][layer][token][slot]: sticky picks, now and then a pruned token or a whole pruned layer."""
    top = [rng.randint(1, min(3, experts)) for _ in moe]
    stick, prune = rng.choice((0.0, 0.4, 0.8)), rng.choice((0.0, 0.0, 0.15))
    liked = [rng.sample(range(experts), experts) for _ in moe]
    sets = []
    for count in tokens:
        step = []
        for n, routed in enumerate(moe):
            layer = []
            for _ in range(count if routed else 0):
                pick = [e for e in liked[n][: top[n]] if rng.random() < stick]
                pick += rng.sample([e for e in range(experts) if e not in pick], top[n] - len(pick))
                rng.shuffle(pick)
                if rng.random() < 0.2:
                    liked[n] = pick + [e for e in liked[n] if e not in pick]
                if rng.random() >= prune:
                    layer.append(pick)
            step.append(layer if rng.random() >= prune / 2 else [])
        sets.append(step)
    return sets


def _script(
    rng: random.Random, sets: Any, moe: list[bool], experts: int, ahead: tuple[int, ...]
) -> dict[tuple[int, int], Any]:
    """Half of the targets are true, some are wrong, some stale, some far ahead; experts may repeat."""
    order = [(s, n) for s in range(len(sets)) for n in range(len(moe)) if moe[n]]
    script: dict[tuple[int, int], Any] = {}
    for i, source in enumerate(order):
        out = []
        for _ in range(rng.choice((0, 1, 2, 3, 5))):
            s, n = order[max(0, min(len(order) - 1, i + rng.choice(ahead)))]
            true = [e for token in sets[s][n] for e in token]
            e = rng.choice(true) if true and rng.random() < 0.6 else rng.randrange(experts)
            out.append((s, n, e))
        if out:
            script[source] = out
    return script


def _cut(rng: random.Random, total: int, parts: int) -> list[int]:
    """Ends of `parts` pieces of total bytes, none empty."""
    return [*sorted(rng.sample(range(1, total), min(parts, total) - 1)), total]


def _capacity(rng: random.Random, sizes: list[int], experts: int) -> Any:
    how, big = rng.randrange(12), max(sizes)
    if how == 0:
        return 0
    if how <= 4:
        return [rng.choice((0, 1, 2, 3, 4, 6)) * rng.choice((b, b, b, big)) + rng.choice((0, 0, 1)) for b in sizes]
    if how <= 9:
        return ("global", rng.choice((1, 2, 3, 4, 6, 10)) * rng.choice((big, big, min(sizes))) + rng.choice((0, 0, 1)))
    return experts * big


def random_plan(seed: int, off: tuple[str, ...] = (), most_steps: int = 6) -> Plan:
    """A valid plan, the same for the same arguments."""
    rng = random.Random(seed)
    ticks = rng.choice(_TICKS)
    some = lambda: rng.choice(ticks)  # noqa: E731
    prefill, batch, tokens = _steps(rng, most_steps)
    layers, experts = rng.randint(1, 4), rng.randint(3, 8)
    moe = [rng.random() < 0.85 for _ in range(layers)]
    moe[rng.randrange(layers)] = True
    sets = _routing(rng, tokens, moe, experts)
    weights = [[[[rng.randint(1, 3) for _ in token] for token in layer] for layer in step] for step in sets]
    sizes = [rng.choice((12, 20, 31)) for _ in moe] if rng.random() < 0.5 else [rng.choice((7, 12, 30))] * layers
    reads = [_cut(rng, b, rng.choice((1, 1, 2, 3, 4))) for b in sizes]
    padding = rng.choice((0, 0, 2))
    read_sizes = [[b - a + padding for a, b in zip((0, *ends[:-1]), ends, strict=True)] for ends in reads]
    lanes = rng.randint(1, 3)
    speed = [0, *sorted(rng.choice((1, 2, 5, 10)) for _ in range(lanes))]
    each_byte = rng.random() < 0.5
    evictions = ("lru", "lru", "lfu", "lfu-lifetime", "fifo", "random", "random", "belady", "belady", "static")
    one, more, pair = rng.choice((some(), some(), 40)), some(), rng.choice((0, 0, 1))
    base: dict[str, Any] = {
        "weights": weights if rng.random() < 0.7 else None,
        "attention": [[some() for _ in moe] for _ in sets],
        "router": some(),
        "shared": [[rng.choice((0, some())) for _ in moe] for _ in sets] if rng.random() < 0.5 else 0,
        "dense": some(),
        "head": some(),
        "gap": some(),
        "d2h": some(),
        "lookup": some(),
        "issue": some(),
        "group": [lambda p, d: one + (d - 1) * more + p * pair, lambda p, d: 5 * d],
        "group_class": [rng.choice((0, 0, 1)) for _ in moe],
        "load_overhead": rng.choice((0, 0, some())),
        "evict_overhead": rng.choice((0, 0, some())),
        "overhead_on": rng.choice(("host", "link", "stream")),
        "capacity": _capacity(rng, sizes, experts),
        "eviction": rng.choice(evictions),
        "evict": rng.choice(("on_claim", "on_claim", "after_layer")),
        "reset": rng.choice(("never", "sequence")),
        "staging_slots": rng.randint(1, 3),
        "path": rng.choice(("link", "link", "link", "storage", "storage+link", "storage+link")),
        "discipline": rng.choice(("fifo", "two_level", "two_level")),
        "chunks": rng.randint(1, 5),
        "wakeup": rng.choice((0, some())),
        "resume": rng.choice((0, some())),
        "t0": rng.choice((0, some())),
        "method": rng.choice(("loop", "batch", "gather")),
        "pieces": rng.randint(1, 3),
        "D": [rng.choice((5, 6, 10, 20, 60)) for _ in moe] if rng.random() < 0.3 else rng.choice((5, 10, 30, 60, 200)),
        "lanes": lanes,
        "read_sizes": read_sizes,
        "read_ends": reads,
        "dram_capacity": max(sizes) * rng.choice((1, 1, 2, 3, 100)) + rng.choice((0, 0, 5)),
        "source": rng.choice(("layer_start", "lookup")),
        "into": rng.choice(("cache", "cache", "staging")),
        "prefetch_slots": rng.randint(1, 4),
        "t_pred": rng.choice((0, 0, some(), 20)),
        "touch_on_predict": rng.random() < 0.3,
        "grouping": rng.choice(("each", "hits_then_arrived", "hits_then_rest", "after_all")),
        "demand_order": rng.choice(("router_weight", "expert_id", "ready_first")),
    }
    ids = [(n, e) for n in range(layers) if moe[n] for e in range(experts)]
    pinned = [i for i in ids if rng.random() < 0.1] if rng.random() < 0.2 else []
    if rng.random() < 0.1:
        layer = rng.choice([n for n in range(layers) if moe[n]])
        pinned = [i for i in ids if i[0] == layer]
    base["pinned"] = pinned
    base["initial"] = [i for i in rng.sample(ids, rng.randint(0, len(ids))) if i not in pinned]
    kind = rng.choice(("none", "previous", "next_gate", "script", "script", "script"))
    if kind == "script":
        base["script"] = _script(rng, sets, moe, experts, (-1, 0, 0, 1, 1, 1, 2, layers))
    elif kind == "next_gate":
        recall = [Fraction(rng.randint(0, 10), 10) for _ in range(rng.randint(1, 2))]
        precision = [Fraction(rng.randint(1, 10), 10) for _ in recall]
        base["prefetch_params"] = {"recall": recall, "precision": precision, "experts": rng.randint(1, 4)}
    if kind != "script":
        base["prefetch"] = kind
    if rng.random() < 0.35:  # crowd the two-level link: much is predicted, half of it wrong, and chunks are slow
        base.update(
            discipline="two_level", chunks=rng.randint(2, 5), D=rng.choice((30, 60, 200)), prefetch="none",
            script=_script(rng, sets, moe, experts, (1, 1, 1, 2, 0, layers)), dram_capacity=max(sizes) * experts,
        )  # fmt: skip
        base["path"] = "link" if base["path"] == "storage" else base["path"]
    for name in off:
        base.update(_PLAIN[name])
    if base["path"] == "storage" and base["overhead_on"] == "link":
        base["overhead_on"] = "host"
    base["read_ps"] = lambda size, busy: speed[busy] * (size if each_byte else 1)
    return small_plan(
        sets, moe=moe, n_experts=experts, expert_bytes=sizes, seed=seed, prefill=prefill, batches=batch, tokens=tokens,
        **base,
    )  # fmt: skip


def smallest(seed: int, fails: Callable[[Plan], bool]) -> tuple[tuple[str, ...], int]:
    """(features that can be off, steps) of the plainest plan of a seed that still fails."""
    off: tuple[str, ...] = ()
    for name in FEATURES:
        if fails(random_plan(seed, (*off, name))):
            off = (*off, name)
    steps = next(k for k in range(1, 7) if k == 6 or fails(random_plan(seed, off, k)))
    return off, steps
