"""Recorded decoding of gpt-oss-20b through the engine, cold per-layer LRU caches, against its known hit rates.

The known rates are those of an independent replay of the same recording. The machine only has to be large enough: with
demand loads alone hits do not depend on time, which the second test holds by a machine twenty times slower.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import moesim as ms
from moesim import Scenario

TEXT = """\
moesim: 1
title: gpt-oss-20b, recorded decoding, cold cache for each sequence
hardware: h200-node
model: gpt-oss-20b
routing: {{kind: trace, path: {path}}}
workload: {{kind: batch, prompt_tokens: 1, output_tokens: 1000, sequences: 10}}
memory: {{reserve: "1 GiB", kv_tokens: 2048}}
expert_cache: {{capacity: {{slots_per_layer: 4}}, scope: layer, eviction: lru, reset: sequence}}
"""


@pytest.fixture(scope="module")
def scenario(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    path = tmp_path_factory.mktemp("gpt-oss") / "scenario.yaml"
    path.write_text(TEXT.format(path=shared / "data/routing/gpt-oss-20b/gpqa_main.parquet"))
    return ms.load(path)


@pytest.mark.parametrize(("slots", "percent"), [(4, 44.15), (8, 65.04), (12, 79.62), (16, 88.49), (24, 96.37)])
def test_cold_lru_per_layer(scenario: Scenario, slots: int, percent: float) -> None:
    assert scenario.fits().ok
    run = ms.simulate(scenario.replace({"expert_cache.capacity": {"slots_per_layer": slots}}))
    got = 100 * run.summary["hit_rate"]
    print(f"{slots} of 32: {got:.3f} %, known {percent} %: {got - percent:+.3f} point")
    # all 3,597 recorded tokens, four distinct experts at each of 24 layers
    assert run.summary["lookups"] == 3597 * 24 * 4
    assert got == pytest.approx(percent, abs=0.1)
    assert run.summary["bytes_loaded"] == run.summary["misses"] * run.plan.expert_bytes[0]


def test_hits_do_not_depend_on_the_machine(scenario: Scenario) -> None:
    short = scenario.replace({"workload.sequences": 1, "expert_cache.capacity": {"slots_per_layer": 8}})
    fast = ms.simulate(short, check=True)
    slow = ms.simulate(short.replace({"hardware.links.host_to_device.bandwidth": "2 GB/s"}))
    assert fast.result.hits.tolist() == slow.result.hits.tolist()
    assert slow.summary["elapsed_ms"] > 2 * fast.summary["elapsed_ms"]
