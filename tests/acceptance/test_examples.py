"""The scenario that settles the format ships as it was written."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

import moesim as ms

SHIPPED = Path(__file__).resolve().parents[2] / "scenarios" / "mixtral-rtx4090.yaml"


def test_the_example_is_the_shipped_scenario(shared: Path) -> None:
    example = shared / "examples" / "mixtral-rtx4090.yaml"
    read = YAML(typ="safe", pure=True).load
    assert read(SHIPPED) == read(example)
    assert ms.load(SHIPPED).hash == ms.load(example).hash
