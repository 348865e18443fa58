"""The Scenario object: replace, resolved, hash, sources, fits; live policies; shipped scenarios; the JSON Schema."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest

from moesim import Eviction, Prefetch
from moesim.errors import InputError
from moesim.hardware import lookup
from moesim.scenario import jsonschema as made
from moesim.scenario.document import read
from moesim.scenario.load import load
from moesim.scenario.provenance import leaves
from moesim.scenario.sections import Sections

ROOT = Path(made.__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))


class MyPolicy(Eviction):
    """Stands for a user's eviction policy."""


class MyPrefetch(Prefetch):
    """Stands for a user's prefetch policy, with a parameter."""

    def __init__(self, depth: int = 1) -> None:
        self.depth = depth


def test_replace_follows_the_rules_of_set(folder: Path) -> None:
    scenario = load("base.yaml")
    other = scenario.replace({"expert_cache.capacity": "5 GiB", "prefetch": "none", "link": "fifo"})
    assert other.division.cache == 5 * 2**30
    assert other.prefetch.kind == "none"
    assert other.hash == load("base.yaml", ["expert_cache.capacity=5 GiB", "prefetch=none", "link=fifo"]).hash
    assert scenario.division.cache == 10 * 2**30
    assert other.replace({"expert_cache.capacity": "10 GiB"}).division.cache == 10 * 2**30
    with pytest.raises(InputError, match=r"^replace\(memory.reserve\): memory.reserve: got 3 \(a bare number\)"):
        scenario.replace({"memory.reserve": 3})
    with pytest.raises(InputError, match=r"replace\(seed\): seed: got \"Fraction\""):
        scenario.replace({"seed": Fraction(1)})


def test_live_policies(folder: Path) -> None:
    scenario = load("base.yaml")
    live = scenario.replace({"expert_cache.eviction": MyPolicy})
    assert live.live == {"expert_cache.eviction": MyPolicy}
    section = live.resolved()["expert_cache"]["eviction"]
    assert section["kind"] == "python"
    assert section["name"].endswith("MyPolicy")
    assert live.hash != scenario.hash
    assert live.replace({"seed": 9}).live == {"expert_cache.eviction": MyPolicy}
    one, two = (scenario.replace({"prefetch": MyPrefetch(depth)}) for depth in (1, 2))
    assert one.hash != two.hash
    assert one.hash == scenario.replace({"prefetch": MyPrefetch(1)}).hash
    back = live.replace({"expert_cache.eviction": "lru"})
    assert back.live == {}
    assert back.hash == scenario.hash


def test_resolved_is_whole_and_plain(folder: Path) -> None:
    scenario = load("base.yaml")
    whole = scenario.resolved()
    assert json.loads(json.dumps(whole)) == whole
    assert whole["expert_cache"] == {
        "capacity": "10 GiB", "scope": "layer", "eviction": {"kind": "lru"}, "evict": "on_claim", "initial": "empty",
        "reset": "never", "staging_slots": 2, "lookup": "host",
    }  # fmt: skip
    assert whole["hardware"]["accelerator"]["compute"]["bf16"]["value"] == "100 TFLOP/s"
    assert whole["model"]["n_layers"] == 32
    assert str(folder) not in json.dumps(whole)


def test_the_hash_is_of_content(folder: Path) -> None:
    first = load("base.yaml").hash
    text = (folder / "base.yaml").read_text()
    (folder / "moved").mkdir()
    (folder / "moved/other.yaml").write_text("# a comment\n" + text.replace("title: a test", "title: another"))
    assert load("moved/other.yaml").hash == first
    assert load("base.yaml", ["seed=4"]).hash != first
    assert load("base.yaml", ["hardware.host.memory.bandwidth=51 GB/s"]).hash != first


def test_every_number_has_a_source(folder: Path) -> None:
    scenario = load("base.yaml")
    sources = scenario.sources()
    assert sources["hardware.accelerator.memory.bandwidth.value"] == (
        "toy gpu datasheet", "datasheet", "https://example.org/gpu.pdf", "2024-01",
    )  # fmt: skip
    assert sources["hardware.runtime.issue.value"] == ("made for this test", "assumed", "", "")
    assert sources["model.n_layers"].kind == "published"
    assert "config.json" in sources["model.n_layers"].title
    assert sources["memory.reserve"] == ("base.yaml:16", "chosen", "", "")
    assert sources["expert_cache.staging_slots"].kind == "default"
    assert "Eliseev" in sources["prefetch.slots"].title
    numbers = {
        field
        for field, value in leaves(scenario.resolved())
        if isinstance(value, int | float) and not isinstance(value, bool) and ".sources." not in field
    }
    assert numbers - sources.keys() == {"moesim"}


def test_fits_adds_up(folder: Path) -> None:
    division = load("base.yaml").fits()
    rows = dict(division.rows())
    assert rows.pop("memory") == sum(rows.values()) == 24 * 10**9
    assert division.ok
    # Mixtral's KV cache: 32 layers x 8 heads x 128 x 2 (K and V) x 2 bytes x 64 tokens
    assert division.kv == 32 * 8 * 128 * 2 * 2 * 64
    assert division.per_layer == (10 * 2**30 // 32,) * 32
    assert "expert cache" in str(division)


def test_capacity_in_all_its_forms(folder: Path) -> None:
    scenario = load("base.yaml")
    expert = scenario.model.expert_bytes(0)
    quarter = scenario.replace({"expert_cache.capacity": "25 %"}).division
    assert quarter.cache == scenario.model.routed_bytes() // 4
    slots = scenario.replace({"expert_cache.capacity": {"slots_per_layer": 3}}).division
    assert slots.per_layer == (3 * expert,) * 32
    auto = scenario.replace({"expert_cache.capacity": "auto"}).division
    assert auto.left == 0
    assert auto.cache == auto.before_cache
    whole = scenario.replace(
        {"expert_cache.capacity": "auto", "hardware.accelerator.memory.capacity": "60 GB"}
    ).division
    assert whole.per_layer == (8 * expert,) * 32
    assert whole.resident_share == 1
    none = scenario.replace({"expert_cache.capacity": "0 B"}).division
    assert none.cache == 0
    shared = scenario.replace({"expert_cache.scope": "global"}).division
    assert shared.per_layer == (10 * 2**30,)


def test_pinned_layers_leave_the_cache_to_the_others(folder: Path) -> None:
    scenario = load("base.yaml", ["placement.pinned={layers: [0, 1]}", "expert_cache.capacity=3 GiB"])
    division = scenario.fits()
    assert division.pinned == 2 * 8 * scenario.model.expert_bytes(0)
    assert division.per_layer == (0, 0, *[3 * 2**30 // 30] * 30)
    popular = load("base.yaml", ["placement.pinned={popular: 4 GiB}", "expert_cache.capacity=3 GiB"]).fits()
    assert popular.pinned == 4 * 2**30


def test_granularity_splits_after_routing_was_checked(folder: Path) -> None:
    scenario = load("base.yaml", ["model.granularity=4", "routing.kind=profile", "routing.split={correlation: 0.5}"])
    assert (scenario.published.n_experts, scenario.model.n_experts, scenario.model.top_k) == (8, 32, 8)
    assert scenario.routing.split.value == Fraction(1, 2)
    assert scenario.profile is not None
    assert scenario.profile.name == "mixtral-8x7b"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_load_by_name_and_fit_their_schema(path: Path) -> None:
    scenario = load(path.stem)
    assert scenario.fits().ok
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "moesim/scenario/schema/scenario.json").read_text()))
    assert [error.message for error in schema.iter_errors(read(path).plain())] == []
    lines = path.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../moesim/scenario/schema/scenario.json"
    header = [line.split(":")[0] for line in lines[1:] if line.startswith("#")]
    assert header[:2] == ["# Shows", "# Expect"]


@pytest.mark.parametrize("path", sorted((ROOT / "hw_profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_machines_fit_their_schema(path: Path) -> None:
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "moesim/scenario/schema/machine.json").read_text()))
    assert [error.message for error in schema.iter_errors(read(path).plain())] == []


@pytest.mark.parametrize("name", ["scenario", "machine"])
def test_committed_schemas_are_the_generated_ones(name: str) -> None:
    schema = {"scenario": made.scenario_schema, "machine": made.machine_schema}[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    text = (ROOT / f"moesim/scenario/schema/{name}.json").read_text()
    assert text == made.text(schema), f"run: moesim scenario schema {name} > moesim/scenario/schema/{name}.json"


@pytest.mark.parametrize(
    ("change", "fine"),
    [({}, True), ({"prefetch": "none"}, True), ({"prefetch": "nothing"}, False), ({"memory": {"reserve": 3}}, False),
     ({"expert_cache": {"eviction": "lru"}}, True), ({"expert_cache": {"eviction": "python"}}, False), ({"x": 1}, False),
     ({"hardware": {"extends": "a", "accelerator": {"memory": {"bandwidth": "4 TB/s"}}}}, True), ({"moesim": 2}, False),
     ({"hardware": {"extends": "a", "accelerator": {"memory": {"bandwidth": "4 TB"}}}}, False)],
)  # fmt: skip
def test_the_schema_tells_good_from_bad(folder: Path, change: dict[str, object], fine: bool) -> None:
    data = {**read(folder / "base.yaml").plain(), **change}
    assert jsonschema.Draft202012Validator(made.scenario_schema()).is_valid(data) is fine


def test_every_leaf_of_the_sections_is_described() -> None:
    schema = Sections.model_json_schema()
    models = {"Sections": schema, **schema["$defs"]}
    bare = [f"{m}.{f}" for m, s in models.items() for f, p in s.get("properties", {}).items() if "description" not in p]
    assert bare == []


def test_all_shipped_machines_build(folder: Path) -> None:
    for name in lookup.names("machine"):
        if not name.startswith("oneplus"):
            assert load("base.yaml", [f"hardware={name}"]).machine.name == name
