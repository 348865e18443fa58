"""Invariants of the execution model over random scenarios, through the public API alone: load, replace, simulate.

I1 to I6, I8 and I11 by `moesim.results.invariants` and by the tests' own checker; I7 (same seed, same bytes), I9 (more
bandwidth never slows a run that reads no time) and I10 (nothing beats Belady) by runs beside one another. The examples
are always the same; MOESIM_EXAMPLES=1000 draws so many, and other ones each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moesim as ms
from moesim import Scenario
from tests.support.invariants import check
from tests.support.tiny import tiny

MORE = int(os.environ.get("MOESIM_EXAMPLES", "0"))
"""More examples than by default, and other ones."""


def examples(count: int) -> settings:
    return settings(max_examples=MORE or count, deadline=None, derandomize=not MORE, database=None)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The same model without a link, experts straight from storage."""
    return tiny(tmp_path_factory.mktemp("tiny"), unified=True)


times = st.sampled_from(["0 s", "1 us", "37 us", "400 us"])
EVICTIONS = ("lru", "lfu", "lfu-lifetime", "fifo", "random")


@st.composite
def routings(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["uniform", "zipf", "sticky_zipf"]))
    more = {"zipf": {"exponent": 1.1}, "sticky_zipf": {"exponent": 0.7, "repeat": 0.5}}.get(kind, {})
    return {"kind": kind, **more}


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    batch = draw(st.integers(1, 3))
    return {
        "kind": "batch", "prompt_tokens": draw(st.integers(1, 6)), "output_tokens": draw(st.integers(1, 5)),
        "batch_size": batch, "sequences": draw(st.integers(batch, 4)), "prefill_chunk": draw(st.integers(1, 4)),
    }  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    experts = draw(st.integers(2, 8))
    layers = draw(st.integers(1, 3))
    dense = draw(st.lists(st.integers(0, layers - 1), max_size=layers - 1, unique=True))
    shared = draw(st.integers(0, 1))
    return {
        "n_layers": layers, "n_experts": experts, "top_k": draw(st.integers(1, min(3, experts))),
        "dense_layers": sorted(dense), **({"d_ff": 500} if dense else {}), "n_shared": shared, "d_shared": 300 * shared,
        "weights": {"default": "bf16", "experts": draw(st.sampled_from(["bf16", "int8"]))},
    }  # fmt: skip


@st.composite
def prefetches(draw: st.DrawFn, model: dict[str, Any]) -> Any:
    ahead = min(2, model["n_layers"] - 1)  # a gate sees no layer beyond the last
    kind = draw(st.sampled_from(["none", "previous", *["next_gate"] * 2 * ahead]))
    if kind == "none":
        return "none"
    made: dict[str, Any] = {
        "kind": kind, "into": draw(st.sampled_from(["cache", "staging"])), "t_pred": draw(times),
        "source": draw(st.sampled_from(["lookup", "layer_start"])), "touch_on_predict": draw(st.booleans()),
    }  # fmt: skip
    if made["into"] == "staging":
        made["slots"] = draw(st.integers(1, 4))
    if kind == "next_gate":
        far = draw(st.integers(1, ahead))
        shares = st.lists(st.sampled_from([0.2, 0.5, 1]), min_size=far, max_size=far)
        made |= {"experts": draw(st.integers(1, model["n_experts"])), "recall": draw(shares), "precision": draw(shares)}
    return made


@st.composite
def changes(draw: st.DrawFn, *, unified: bool) -> dict[str, Any]:
    """Values for every mechanism, all of them allowed together."""
    model = draw(models())
    experts = model["n_experts"]
    moe = [n for n in range(model["n_layers"]) if n not in model["dense_layers"]]
    capacity = st.one_of(
        st.just("auto"), st.sampled_from(["25 %", "60 %", "7 MB", "20 MB"]),
        st.integers(0, experts).map(lambda n: {"slots_per_layer": n}),
    )  # fmt: skip
    pinned = st.one_of(
        st.just("none"), st.just({"popular": "9 MB"}), st.sampled_from(moe).map(lambda n: {"layers": [n]})
    )
    spends = ["host", "stream"] if unified else ["host", "link", "stream"]
    changed = {
        "seed": draw(st.integers(0, 99)),
        "routing": draw(routings()),
        "workload": draw(workloads()),
        **{f"model.{name}": value for name, value in model.items()},
        "expert_cache": {
            "capacity": draw(capacity), "scope": draw(st.sampled_from(["layer", "global"])),
            "eviction": draw(st.sampled_from([*EVICTIONS, "belady", "static"])),
            "evict": draw(st.sampled_from(["on_claim", "after_layer"])),
            "initial": draw(st.sampled_from(["empty", "popular", "trace"])),
            "reset": draw(st.sampled_from(["never", "sequence"])), "staging_slots": draw(st.integers(1, 3)),
            "lookup": draw(st.sampled_from(["host", "device"])),
        },
        "placement.pinned": draw(pinned),
        "prefetch": draw(prefetches(model)),
        "schedule": {
            "grouping": draw(st.sampled_from(["each", "hits_then_arrived", "hits_then_rest", "after_all"])),
            "demand_order": draw(st.sampled_from(["router_weight", "expert_id", "ready_first"])),
            "chunks": draw(st.integers(1, 4)),
        },
        "hardware.runtime.launch": draw(st.sampled_from(["graph", "eager"])),
        "hardware.runtime.pieces_per_expert": draw(st.sampled_from([1, 3])),
        "hardware.runtime.load_overhead": {
            "fixed": draw(times), "per_byte": "0.001 ms/MB", "on": draw(st.sampled_from(spends)),
        },
        "hardware.runtime.evict_overhead": {"fixed": draw(times), "per_byte": "0 s/B"},
        "hardware.accelerator.kernel_launch": draw(times),
        "hardware.storage.lanes": draw(st.integers(1, 4)),
        "record": {"timeline": {"steps": [0, 999]}},
    }  # fmt: skip
    if not unified:
        if draw(st.booleans()):
            changed["link"] = {"discipline": "two_level", "wakeup": draw(times)}
        changed["hardware.links.host_to_device.method"] = draw(st.sampled_from(["loop", "batch", "gather"]))
        if draw(st.booleans()):
            changed |= {
                "placement.home": "nvme",
                "memory.dram_cache": draw(st.sampled_from(["13 MB", "40 MB", "1 GB"])),
            }
    return changed


@examples(150)
@given(data=st.data())
def test_laws_of_every_scenario(base: Scenario, phone: Scenario, data: st.DataObject) -> None:
    """I1 to I6, I8, I11 by both checkers."""
    unified = data.draw(st.integers(0, 3)) == 0
    scenario = (phone if unified else base).replace(data.draw(changes(unified=unified)))
    run = ms.simulate(scenario, check=True)
    check(run.plan, run.result)
    figures = run.summary
    assert figures["hits"] + figures["late"] + figures["misses"] == figures["lookups"]
    # each sequence's tokens, however they are batched and chunked
    assert figures["tokens"] == scenario.workload.sequences * scenario.workload.output_tokens
    assert len(run.tokens) == run.plan.n_steps


def contents(folder: Path) -> dict[str, str]:
    """sha256 of every file; of the manifest without its environment."""
    found = {}
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        if file.name == "manifest.json":
            whole = json.loads(data)
            del whole["environment"]
            data = json.dumps(whole, sort_keys=True).encode()
        found[file.name] = hashlib.sha256(data).hexdigest()
    return found


@examples(10)
@given(data=st.data())
def test_same_seed_same_bytes(
    base: Scenario, phone: Scenario, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """I7: every file of the run folder, from two simulations; another seed is another run."""
    unified = data.draw(st.booleans())
    changed = data.draw(changes(unified=unified)) | {"routing": "uniform", "model.n_experts": 8, "model.top_k": 2}
    folder = tmp_path_factory.mktemp("runs")
    start = phone if unified else base
    for name in ("a", "b"):
        ms.simulate(start.replace(changed)).save(folder / name, environment={"test": name})
    assert contents(folder / "a") == contents(folder / "b")
    ms.simulate(start.replace(changed | {"seed": changed["seed"] + 1})).save(folder / "c")
    assert contents(folder / "c") != contents(folder / "a")


@st.composite
def demands(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """One stream, demand loads only, on_claim, a policy that counts lookups, every set fits. (changes, slots)."""
    experts, k = draw(st.integers(3, 8)), draw(st.integers(1, 3))
    workload = draw(workloads())
    largest = min(experts, k * max(workload["batch_size"], min(workload["prefill_chunk"], workload["prompt_tokens"])))
    slots = draw(st.integers(largest, experts))
    changed = {
        "seed": draw(st.integers(0, 99)), "routing": draw(routings()), "workload": workload,
        "model.n_experts": experts, "model.top_k": k, "expert_cache.capacity": {"slots_per_layer": slots},
        "expert_cache.initial": draw(st.sampled_from(["empty", "popular", "trace"])),
        "expert_cache.reset": draw(st.sampled_from(["never", "sequence"])),
        "expert_cache.scope": draw(st.sampled_from(["layer", "global"])),
        "schedule.grouping": draw(st.sampled_from(["each", "hits_then_arrived", "hits_then_rest", "after_all"])),
        "schedule.demand_order": draw(st.sampled_from(["router_weight", "expert_id"])),
    }  # fmt: skip
    return changed, slots


@examples(40)
@given(data=st.data())
def test_more_bandwidth_never_slows(base: Scenario, data: st.DataObject) -> None:
    """I9: no step ends later for a faster link, whatever a launch costs that a group of experts shares."""
    changed, _ = data.draw(demands())
    changed["expert_cache.eviction"] = data.draw(st.sampled_from(EVICTIONS))
    changed["hardware.accelerator.graph_replay"] = data.draw(times)
    scenario = base.replace(changed)
    took, hits = [], []
    for bandwidth in ("3 GB/s", "25 GB/s", "26 GB/s", "90 GB/s"):
        run = ms.simulate(scenario.replace({"hardware.links.host_to_device.bandwidth": bandwidth}), check=True)
        took.append(run.result.step_end.tolist())
        hits.append(run.result.hits.tolist())
    for slower, faster in pairwise(took):
        assert all(f <= s for f, s in zip(faster, slower, strict=True))
    assert hits == [hits[0]] * 4


@examples(20)
@given(data=st.data())
def test_nothing_beats_belady(base: Scenario, data: st.DataObject) -> None:
    """I10: equal sizes, every miss inserted, on_claim, every set fits: no policy has fewer misses."""
    changed, slots = data.draw(demands())
    scenario = base.replace(changed)
    misses = {}
    for kind in (*EVICTIONS, "belady"):
        run = ms.simulate(scenario.replace({"expert_cache.eviction": kind}), check=True)
        misses[kind] = run.summary["misses"]
        assert run.summary["waits_for_bytes"] == 0
    assert misses["belady"] == min(misses.values()), misses
    if slots == changed["model.n_experts"]:
        assert len(set(misses.values())) == 1
