"""The models that ship with moesim: one YAML file each under ``presets/``, with the source of its figures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesim.errors import Fault, InputError, nearest
from moesim.model.fields import from_dict
from moesim.model.spec import ModelSpec

__all__ = ["load_preset", "names", "path", "read_fields"]

_FOLDER = Path(__file__).with_name("presets")


def names() -> tuple[str, ...]:
    """Names of all presets, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def path(name: str) -> Path:
    """The file of a preset. Spelling is loose: case, spaces and punctuation do not count, a beginning is enough if
    only one preset has it. A path to a YAML file with the same fields is taken as it is.

    >>> path("Mixtral 8x7B").stem, path("qwen3").stem
    ('mixtral-8x7b', 'qwen3-30b-a3b')

    Raises InputError (field model.preset) with all names and the nearest.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if not Path(name).is_file():
            raise InputError(Fault(message="no such file", field="model.preset", got=name))
        return Path(name)
    wanted = _loose(name)
    found = [known for known in names() if _loose(known) == wanted]
    found = found or [known for known in names() if wanted and _loose(known).startswith(wanted)]
    if len(found) != 1:
        raise InputError(
            Fault(
                message="no such model" if not found else "several models begin so",
                field="model.preset",
                got=name,
                allowed=", ".join(found or names()),
                nearest="" if found else nearest(name, names()),
            )
        )
    return _FOLDER / f"{found[0]}.yaml"


def read_fields(name: str) -> dict[str, Any]:
    """The fields of a preset as plain data, for a caller that overrides some before `from_dict`.

    Raises InputError on an unknown name or a file that is not a YAML map.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    file = path(name)
    try:
        data = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(Fault(message=f"not YAML: {error}", field="model.preset", file=str(file))) from error
    if not isinstance(data, dict):
        raise InputError(Fault(message="not a map of fields", field="model.preset", file=str(file)))
    return data


def load_preset(name: str) -> ModelSpec:
    """The model of a preset. Raises InputError on an unknown name; its faults name the file."""
    file = path(name)
    try:
        return from_dict(read_fields(name))
    except InputError as error:
        raise InputError(*(replace(fault, file=str(file)) for fault in error.faults)) from error


def _loose(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
