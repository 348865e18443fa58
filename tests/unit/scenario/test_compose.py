"""extends, --set, short forms, and the rules by which maps merge."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesim.errors import InputError
from moesim.scenario.compose import merge, normal, open_scenario, set_text
from moesim.scenario.document import parse
from moesim.scenario.load import load


def merged(lower: str, upper: str) -> object:
    return merge(normal(parse(lower, "low")), normal(parse(upper, "up"))).plain()


def test_maps_merge_lists_and_scalars_replace() -> None:
    assert merged("a: {x: 1, y: [1, 2]}\nb: 1", "a: {y: [3]}\nc: 2") == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}


def test_a_changed_kind_keeps_only_fields_common_to_all_kinds() -> None:
    lower = (
        "routing: {kind: zipf, exponent: 1, split: independent}\nprefetch: {kind: next_gate, experts: 2, recall: [1]}"
    )
    assert merged(lower, "routing: {kind: uniform}\nprefetch: none") == {
        "routing": {"split": "independent", "kind": "uniform"},
        "prefetch": {"kind": "none"},
    }
    assert merged(lower, "prefetch: {experts: 3}")["prefetch"] == {"kind": "next_gate", "experts": 3, "recall": [1]}  # type: ignore[index]
    assert merged("link: {discipline: two_level, wakeup: 1 us}", "link: fifo") == {"link": {"discipline": "fifo"}}


def test_a_kind_that_stays_keeps_the_rest() -> None:
    assert merged("prefetch: {kind: next_gate, experts: 2}", "prefetch: next_gate") == {
        "prefetch": {"kind": "next_gate", "experts": 2}
    }


def test_kind_outside_the_seams_is_an_ordinary_field() -> None:
    lower, upper = "hardware: {storage: {kind: ufs, lanes: 4}}", "hardware: {storage: {kind: nvme}}"
    assert merged(lower, upper) == {"hardware": {"storage": {"kind": "nvme", "lanes": 4}}}


def test_naming_a_machine_replaces_all_of_the_old_one() -> None:
    lower = "hardware: {extends: a, links: {host_to_device: {method: loop}}}"
    assert merged(lower, "hardware: b") == {"hardware": {"extends": "b"}}
    want = {"hardware": {"extends": "a", "storage": {"extends": "x"}}}
    assert merged("hardware: a", "hardware: {storage: x}") == want


def test_a_number_changes_the_part_that_was_named() -> None:
    lower = "hardware: {extends: a, accelerator: x, links: {host_to_device: y}}"
    upper = "hardware: {accelerator: {kernel_launch: 1 us}, links: {host_to_device: {method: loop}}}"
    assert merged(lower, upper) == {
        "hardware": {
            "extends": "a",
            "accelerator": {"extends": "x", "kernel_launch": "1 us"},
            "links": {"host_to_device": {"extends": "y", "method": "loop"}},
        }
    }


def test_preset_and_config_push_each_other_out() -> None:
    assert merged("model: {preset: a, top_k: 2}", "model: {config: c}") == {"model": {"top_k": 2, "config": "c"}}


def test_choices_replace_each_other() -> None:
    lower = "expert_cache: {capacity: {slots_per_layer: 2}}\nplacement: {pinned: {layers: [1]}}"
    upper = "expert_cache: {capacity: auto}\nplacement: {pinned: {popular: 1 GiB}}"
    assert merged(lower, upper) == {
        "expert_cache": {"capacity": "auto"},
        "placement": {"pinned": {"popular": "1 GiB"}},
    }


def test_a_path_implies_a_trace() -> None:
    assert merged("routing: {kind: zipf, exponent: 1, split: independent}", "routing: {path: f}") == {
        "routing": {"split": "independent", "path": "f", "kind": "trace"}
    }


def test_set_values_are_yaml() -> None:
    assert set_text("a.b=[1, x]").plain() == {"a": {"b": [1, "x"]}}
    assert set_text('a.b="4 TB/s"').plain() == {"a": {"b": "4 TB/s"}}
    assert set_text("a=4 TB/s").plain() == {"a": "4 TB/s"}
    assert set_text("a=b=c").plain() == {"a": "b=c"}
    assert set_text("a=").plain() == {"a": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.b", "--set a.b: has no =, allowed --set field.name=value"),
        ("=3", '--set =3: not a field, got "", allowed dotted names, as in memory.reserve'),
        ("a..b=3", '--set a..b=3: not a field, got "a..b", allowed dotted names, as in memory.reserve'),
        ("a=[1", "--set a=[1: not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"),
        ("a={b: 1, b: 2}", "--set a={b: 1, b: 2}: b: duplicate key"),
        ("a=.nan", '--set a=.nan: not a finite number, got ".nan"'),
    ],
)
def test_set_faults_say_the_whole_argument(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        set_text(text)
    assert str(caught.value) == said


def test_sets_apply_in_order_and_fault_at_the_last(folder: Path) -> None:
    assert load("base.yaml", ["seed=5", "seed=6"]).seed == 6
    with pytest.raises(InputError, match=r"^--set seed=x: seed: got "):
        load("base.yaml", ["seed=5", "seed=x"])


def test_set_reaches_into_machine_parts(folder: Path) -> None:
    scenario = load("base.yaml", ["hardware.accelerator.memory.bandwidth=4 TB/s", "hardware.runtime.launch=eager"])
    assert scenario.machine.accelerator.memory.bandwidth.at() == 4 * 10**12
    assert scenario.machine.accelerator.memory.capacity.at() == 24 * 10**9
    assert scenario.machine.runtime.launch == "eager"
    source = scenario.sources()["hardware.accelerator.memory.bandwidth"]
    assert (source.kind, source.title) == ("assumed", "--set hardware.accelerator.memory.bandwidth=4 TB/s")


def test_extends_chains_and_faults_point_to_the_file_that_wrote(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/b.yaml").write_text("extends: ../base.yaml\nseed: 4\nworkload: {output_tokens: 9}\n")
    (folder / "c.yaml").write_text("extends: sub/b.yaml\nworkload:\n  batch_size: 0\n")
    with pytest.raises(InputError) as caught:
        load("c.yaml", ["expert_cache.scope=all"])
    assert str(caught.value).splitlines() == [
        '--set expert_cache.scope=all: expert_cache.scope: got "all", allowed layer | global',
        "c.yaml:3:15: workload.batch_size: got 0, allowed >= 1",
    ]
    (folder / "c.yaml").write_text("extends: sub/b.yaml\nworkload:\n  batch_size: 2\n  sequences: 2\n")
    scenario = load("c.yaml")
    assert (scenario.seed, scenario.workload.output_tokens, scenario.workload.batch_size) == (4, 9, 2)
    assert scenario.sources()["workload.output_tokens"].title == "b.yaml:3"
    assert scenario.sources()["workload.prompt_tokens"].title == "base.yaml:13"


def test_a_missing_field_of_a_base_is_reported_there(folder: Path) -> None:
    (folder / "base.yaml").write_text((folder / "base.yaml").read_text().replace("  output_tokens: 8\n", ""))
    (folder / "c.yaml").write_text("extends: base\n")
    (folder / "c.yaml").write_text("extends: base.yaml\nseed: 1\n")
    with pytest.raises(InputError, match=r"^base.yaml:11:1: workload.output_tokens: missing"):
        load("c.yaml")


def test_extends_by_name(folder: Path) -> None:
    (folder / "scenarios").mkdir()
    (folder / "base.yaml").rename(folder / "scenarios/my-base.yaml")
    (folder / "c.yaml").write_text("extends: my-base\nseed: 8\n")
    assert load("c.yaml").seed == 8
    assert load("my-base").seed == 3
    (folder / "c.yaml").write_text("seed: 8\nextends: my-bass\n")
    with pytest.raises(InputError, match=r'^c.yaml:2:10: extends: unknown scenario, got "my-bass", .*nearest my-base'):
        load("c.yaml")


@pytest.mark.parametrize("text", ["extends: a.yaml", "extends: b.yaml"])
def test_cycles(folder: Path, text: str) -> None:
    (folder / "a.yaml").write_text(f"{text}\n")
    (folder / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(InputError, match=r"extends: goes round in a circle: a.yaml -> "):
        open_scenario("a.yaml")


def test_long_chains_are_refused(folder: Path) -> None:
    for i in range(30):
        (folder / f"s{i}.yaml").write_text(f"extends: s{i + 1}.yaml\n")
    with pytest.raises(InputError, match="a chain of more than 20 files"):
        open_scenario("s0.yaml")


@pytest.mark.parametrize("text", ["extends: [a]", "extends: 3", "extends: ''"])
def test_extends_is_one_name(folder: Path, text: str) -> None:
    (folder / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^a.yaml:1:10: extends: got .*, allowed the path or name of one scenario"):
        open_scenario("a.yaml")


@pytest.mark.parametrize(("text", "said"), [("", "got nothing"), ("- a", "got a list"), ("word", "got a scalar")])
def test_a_file_is_a_map(folder: Path, text: str, said: str) -> None:
    (folder / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=f"^a.yaml:1:1: {said}, allowed a map of sections"):
        open_scenario("a.yaml")


def test_an_unknown_name_lists_the_names(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        load("quickstrat")
    assert 'got "quickstrat"' in str(caught.value)
    assert "nearest quickstart" in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        load("nothing/here.yaml")


def test_a_machine_beside_the_scenario(folder: Path) -> None:
    home = folder.parent / "profiles"
    (folder / "mine.yaml").write_text((home / "toy-desktop.yaml").read_text().replace("desktop for tests", "mine"))
    text = (folder / "base.yaml").read_text().replace("hardware: toy-desktop", "hardware: mine.yaml")
    (folder / "sub").mkdir()
    (folder / "sub/s.yaml").write_text(text.replace("mine.yaml", "../mine.yaml"))
    assert load("sub/s.yaml").machine.title == "a mine"


def test_what_a_machine_made_of_parts_lacks_is_missing_in_the_scenario(folder: Path) -> None:
    """Not in the file of the part that comes first, which lacks nothing."""
    text = (folder / "base.yaml").read_text().replace("hardware: toy-desktop", "hardware: {accelerator: rtx-4090}")
    (folder / "s.yaml").write_text(text)
    line = text.splitlines().index("hardware: {accelerator: rtx-4090}") + 1
    with pytest.raises(InputError) as caught:
        load("s.yaml")
    lacking = [fault for fault in caught.value.faults if fault.message == "missing"]
    assert {"hardware.host", "hardware.runtime"} <= {fault.field for fault in lacking}
    assert {(fault.file, fault.line) for fault in lacking} == {("s.yaml", line)}
