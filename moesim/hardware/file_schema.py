"""JSON Schemas of machine files and part files, for editors.

They describe what is written, where `Machine` describes what that resolves to: a part may be a name, a map may extend
another and then needs only what differs. So nothing but the fields of a source is required here.
"""

from __future__ import annotations

from typing import Any

from moesim.hardware.lookup import PARTS
from moesim.hardware.machine import Machine

__all__ = ["schemas"]

_MODELS = {"accelerator": "Accelerator", "host": "Host", "storage": "Storage", "link": "Link", "runtime": "Runtime"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of every kind of file: machine, and each kind of part."""
    machine = Machine.model_json_schema()
    definitions: dict[str, Any] = machine.pop("$defs")
    sources = machine["properties"]["sources"]
    for name, definition in definitions.items():
        if name != "Source":
            definition.pop("required", None)
    for kind, name in _MODELS.items():
        properties = definitions[name]["properties"]
        properties["extends"] = {"type": "string", "description": f"name of the {kind} that this one changes"}
        properties["sources"] = sources
    either = {kind: {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{name}"}]} for kind, name in _MODELS.items()}
    definitions["Links"]["properties"]["host_to_device"]["anyOf"] += either["link"]["anyOf"][:1]
    machine["properties"] |= {kind: either[kind] for kind in PARTS if kind != "link"}
    machine["properties"]["extends"] = {"type": "string", "description": "name of the machine that this one changes"}
    machine.pop("required")
    made = {"machine": machine} | {kind: definitions[name] for kind, name in _MODELS.items()}
    return {
        kind: {"$schema": _DIALECT, **schema, "$defs": {name: definitions[name] for name in _used(schema, definitions)}}
        for kind, schema in made.items()
    }


def _used(schema: Any, definitions: dict[str, Any]) -> list[str]:
    """Names of the definitions that a schema needs, directly or not, sorted."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(definitions[name])
            waiting += node.values()
    return sorted(found)
