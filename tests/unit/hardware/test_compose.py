"""Composing machines from parts: names, extends, overrides, source keys; reading YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moesim.errors import Fault, InputError
from moesim.hardware import load_machine
from moesim.hardware.compose import compose, merge, read_yaml

PARTS: dict[tuple[str, str], dict[str, Any]] = {
    ("accelerator", "a"): {
        "title": "A",
        "memory": {
            "capacity": {"value": "8 GiB", "source": "s"},
            "bandwidth": {"curve": {"x": [], "y": []}, "source": "s"},
        },
        "sources": {"s": {"kind": "assumed", "title": "a's"}},
    },
    ("accelerator", "b"): {
        "extends": "a", "title": "B", "memory": {"capacity": {"value": "9 GiB", "source": "s"}},
        "sources": {"s": {"kind": "assumed", "title": "b's"}},
    },
    ("link", "l"): {"method": "loop", "sources": {}},
    ("accelerator", "round"): {"extends": "about"},
    ("accelerator", "about"): {"extends": "round"},
    ("machine", "m"): {
        "title": "M", "accelerator": "a", "links": {"host_to_device": "l"},
        "host": {"title": {"value": "1 B", "source": "own"}},
        "sources": {"own": {"kind": "assumed", "title": "m's"}},
    },
}  # fmt: skip


def read(kind: str, name: str) -> Mapping[str, Any]:
    if (kind, name) not in PARTS:
        raise InputError(Fault(field=kind, got=name))
    return PARTS[kind, name]


def test_names_become_maps_with_their_own_source_keys() -> None:
    made = compose({"title": "T", "accelerator": "a", "links": {"host_to_device": "l"}}, read)
    assert made["accelerator"]["memory"]["capacity"] == {"value": "8 GiB", "source": "accelerator/a:s"}
    assert made["links"] == {"host_to_device": {"method": "loop"}}
    assert made["sources"] == {"accelerator/a:s": {"kind": "assumed", "title": "a's"}}
    assert "sources" not in made["accelerator"] and PARTS["accelerator", "a"]["memory"]["capacity"]["source"] == "s"


def test_a_part_extends_a_part() -> None:
    made = compose({"accelerator": "b"}, read)
    assert made["accelerator"]["title"] == "B"
    assert made["accelerator"]["memory"]["capacity"] == {"value": "9 GiB", "source": "accelerator/b:s"}
    assert made["accelerator"]["memory"]["bandwidth"]["source"] == "accelerator/a:s"
    assert {key: source["title"] for key, source in made["sources"].items()} == {
        "accelerator/a:s": "a's",
        "accelerator/b:s": "b's",
    }


def test_an_override_drops_the_old_source() -> None:
    raw = {"accelerator": {"extends": "a", "memory": {"bandwidth": {"value": "4 TB/s"}, "capacity": "1 GiB"}}}
    made = compose(raw, read)
    assert made["accelerator"]["memory"] == {"bandwidth": {"value": "4 TB/s"}, "capacity": "1 GiB"}
    assert made["accelerator"]["title"] == "A"


def test_a_machine_extends_a_machine() -> None:
    made = compose({"extends": "m", "accelerator": {"memory": {"capacity": "1 GiB"}}}, read)
    assert made["title"] == "M" and made["accelerator"]["title"] == "A"
    assert made["accelerator"]["memory"]["capacity"] == "1 GiB"
    assert made["host"]["title"]["source"] == "machine/m:own"
    assert set(made["sources"]) == {"accelerator/a:s", "machine/m:own"}
    swapped = compose({"extends": "m", "accelerator": "b", "links": {"host_to_device": None}}, read)
    assert swapped["accelerator"]["title"] == "B" and swapped["links"] == {"host_to_device": None}
    own = compose(
        {"extends": "m", "links": {"host_to_device": {"method": "batch"}}, "sources": {"own": {"title": "t"}}}, read
    )
    assert own["links"]["host_to_device"] == {"method": "batch"} and own["sources"]["own"] == {"title": "t"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"accelerator": "c"}, 'accelerator: got "c"'),
        ({"accelerator": 3}, "accelerator: got 3, allowed a name or a map of fields"),
        ({"accelerator": "round"}, "accelerator.extends: goes round in a circle: round -> about -> round"),
        ({"accelerator": {"extends": ["a"]}}, "accelerator.extends: got ['a']"),
        ({"links": "l"}, 'links: got "l"'),
        ({"extends": 3}, "extends: got 3"),
    ],
)
def test_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        compose(raw, read)
    assert said in str(caught.value)


def test_merge_replaces_lists_and_scalars() -> None:
    assert merge({"a": [1, 2], "b": {"c": 1, "d": 2}}, {"a": [3], "b": {"c": 4}}) == {"a": [3], "b": {"c": 4, "d": 2}}


def test_load_reports_every_fault(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "title: bad\naccelerator: {extends: rtx-4090, kernel_launch: 5}\nhost: ddr5-5600-desktop\n"
        "links: {host_to_device: {extends: pcie4-x16, bandwidth: '26 Gb/s'}}\nruntime: cuda-graph-engine\n"
    )
    with pytest.raises(InputError) as caught:
        load_machine(bad)
    said = str(caught.value)
    assert "accelerator.kernel_launch" in said and "bare number" in said
    assert "links.host_to_device.bandwidth" in said and "bits" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: a\ntitle: b\n", ":2:1: "),
        ("title: [\n", "expected"),
        ("- a\n", "not a map"),
        ("", "not a map"),
        ("a: !!python/object:os.system x\n", "could not determine a constructor"),
    ],
)
def test_bad_yaml(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert said in str(caught.value) and "x.yaml" in str(caught.value)


def test_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("#" * 1_000_001)
    with pytest.raises(InputError, match="larger than"):
        read_yaml(path)
