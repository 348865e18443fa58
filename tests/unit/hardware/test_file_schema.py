"""The JSON Schemas that editors read: up to date, and true of the shipped files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moesim.hardware.compose import read_yaml
from moesim.hardware.file_schema import schemas

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "moesim/hardware/schema"


def text(schema: dict[str, object]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def test_committed_schemas_are_current() -> None:
    made = schemas()
    assert {path.stem for path in SCHEMA.glob("*.json")} == set(made)
    for kind, schema in made.items():
        assert (SCHEMA / f"{kind}.json").read_text() == text(schema), f"write {kind}.json anew from schemas()"


@pytest.mark.parametrize("path", sorted((ROOT / "hw_profiles").rglob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_files_are_valid(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    kind = path.parent.name if path.parent.parent.name == "parts" else "machine"
    jsonschema.validate(read_yaml(path), schemas()[kind])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("machine", {"acelerator": "rtx-4090"}),
        ("machine", {"accelerator": 3}),
        ("link", {"bandwidth": "26 Gb/s"}),
        ("link", {"bandwidth": 26}),
        ("accelerator", {"compute": {"bf17": "1 TFLOP/s"}}),
        ("runtime", {"sources": {"k": {"kind": "guessed", "title": "abc"}}}),
    ],
)
def test_schema_refuses(kind: str, data: dict[str, object]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schemas()[kind])
