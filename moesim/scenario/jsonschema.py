"""JSON Schemas of scenario and machine files, made from the models that validate them.

A file may extend another and then say only what differs; so nothing inside a section is required here, and
`moesim scenario check` is the judge of what is missing. Editors read the committed copies in `moesim/scenario/schema/`
through the `# yaml-language-server` line of each shipped file.
"""

from __future__ import annotations

import json
from typing import Any

from moesim.hardware.machine import Machine
from moesim.model.fields import ModelFields
from moesim.scenario.sections import SHORT_FORMS, Sections

__all__ = ["machine_schema", "scenario_schema", "text"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARTS = {"Accelerator": "accelerator", "Host": "host", "Storage": "storage", "Link": "link", "Runtime": "runtime"}
_REQUIRED = ("moesim", "hardware", "model", "workload", "memory")
Schema = dict[str, Any]


def scenario_schema() -> Schema:
    """The schema of a scenario file."""
    whole = _relaxed(Sections.model_json_schema(), "")
    defs: Schema = whole.pop("$defs")
    defs.pop("PythonSection")
    machine = _machine(defs, "hardware.")
    model = _relaxed(ModelFields.model_json_schema(), "model.")
    defs.update(model.pop("$defs"))
    model["properties"] = {
        "preset": {"type": "string", "description": "name of a shipped model"},
        "config": {"type": "string", "description": "path of a Hugging Face config.json"},
        **model["properties"],
    }
    model["description"] = "A preset or a config.json; every field below overrides it."
    machine["properties"] = {"extends": _name("machine"), **machine["properties"]}
    properties = {
        "extends": {"type": "string", "description": "path or name of a scenario; this file says what differs"},
        **whole["properties"],
        "hardware": {"anyOf": [_name("machine"), machine], "description": "the machine, by name or with other numbers"},
        "model": {"anyOf": [{"type": "string", "description": "name of a shipped model"}, model]},
    }
    for path, (key, _) in SHORT_FORMS.items():
        if path[0] not in ("hardware", "model"):
            _allow_short_form(properties, defs, path, key)
    return {
        "$schema": _DIALECT,
        "title": "moesim scenario, format 1",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": list(_REQUIRED)},
        "$defs": dict(sorted(defs.items())),
    }


def machine_schema() -> Schema:
    """The schema of a machine file in hw_profiles."""
    defs: Schema = {}
    machine = _machine(defs, "")
    machine["properties"] = {"extends": _name("machine"), **machine["properties"]}
    return {"$schema": _DIALECT, **machine, "title": "moesim machine", "$defs": dict(sorted(defs.items()))}


def text(schema: Schema) -> str:
    """A schema as the text that is committed."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _machine(defs: Schema, prefix: str) -> Schema:
    machine = _relaxed(Machine.model_json_schema(), prefix)
    for name, schema in machine.pop("$defs").items():
        part = _PARTS.get(name.removeprefix(prefix))
        if part is not None:
            schema["properties"] = {"extends": _name(part), **schema["properties"]}
            schema = {"anyOf": [_name(part), schema]}  # noqa: PLW2901
        defs[name] = schema
    made: Schema = machine
    return made


def _name(kind: str) -> Schema:
    return {"type": "string", "description": f"name or path of a {kind} profile"}


def _relaxed(schema: Any, prefix: str, *, names: bool = False) -> Any:
    """A copy without `required`, generated titles and unions by tag; references renamed with a prefix.

    `names`: the keys of this map are names that users chose, not keywords.
    """
    if isinstance(schema, list):
        return [_relaxed(one, prefix) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if names:
            made[key] = _relaxed(value, prefix)
        elif key in ("title", "discriminator") or (key == "required" and isinstance(value, list)):
            continue
        elif key == "$ref":
            made[key] = value.replace("#/$defs/", f"#/$defs/{prefix}")
        elif key == "$defs":
            made[key] = {prefix + name: _relaxed(one, prefix) for name, one in value.items()}
        elif key == "oneOf":
            python = {"$ref": "#/$defs/PythonSection"}
            made["anyOf"] = [_relaxed(one, prefix) for one in value if one != python]
        elif key in ("default", "examples", "enum", "const"):
            made[key] = value
        else:
            made[key] = _relaxed(value, prefix, names=key == "properties")
    return made


def _allow_short_form(properties: Schema, defs: Schema, path: tuple[str, ...], key: str) -> None:
    """Let a scalar stand for {key: scalar} at a path."""
    owner = properties
    for step in path[:-1]:
        owner = defs[owner[step]["$ref"].rsplit("/", 1)[1]]["properties"]
    field = owner[path[-1]]
    full = field.pop("anyOf", None) or [{"$ref": field.pop("$ref")}]
    kinds: list[str] = []
    for one in full:
        tag = defs[one["$ref"].rsplit("/", 1)[1]]["properties"][key]
        kinds += tag["enum"] if "enum" in tag else [tag["const"]]
    owner[path[-1]] = {"anyOf": [{"type": "string", "enum": kinds}, *full], **field}
