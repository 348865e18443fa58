"""From a machine file that names its parts to one resolved map.

    kind: machine
    title: ...
    accelerator: rtx-4090              # hw_profiles/parts/accelerator/rtx-4090.yaml
    host: {extends: ddr5-desktop, memory: {capacity: "64 GiB"}}
    links: {host_to_device: pcie4-x16}
    ...

Maps merge, lists and scalars replace; a number that is given anew (`value` or `curve`) drops what its old value had
beside it, its source included. A machine may itself extend one. Source keys become ``accelerator/rtx-4090:KEY``
(``machine/NAME:KEY`` for those of a machine that was extended), so that keys of different files cannot meet; keys in
the outermost file stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moesim.errors import Fault, InputError
from moesim.hardware.lookup import PARTS, find
from moesim.hardware.machine import Machine

__all__ = ["ReadPart", "compose", "load_machine", "merge"]

ReadPart = Callable[[str, str], Mapping[str, Any]]

_MAX_BYTES = 1_000_000
_NUMBER = frozenset({"value", "curve", "rows"})


def compose(raw: Mapping[str, Any], read_part: ReadPart) -> dict[str, Any]:
    """The machine with every part's map in its place and one `sources` table.

    raw: the machine as written. read_part(kind, name): the map of the part or machine that a name means; it raises
    InputError for an unknown one. Raises InputError on a part that is neither a name nor a map, and on `extends` that
    goes round in a circle. Whether the result makes sense is for `Machine` to say.
    """
    return _machine(raw, read_part, ())


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower` by the rules above.

    >>> merge({"a": {"value": "1 s", "source": "k", "low": "0 s"}, "b": 1}, {"a": {"value": "2 s"}})
    {'a': {'value': '2 s'}, 'b': 1}
    """
    merged = dict(lower)
    for key, new in upper.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping) and not _NUMBER & new.keys():
            merged[key] = merge(old, new)
        else:
            merged[key] = new
    return merged


def load_machine(name: str | Path) -> Machine:
    """A machine by name or path. Raises InputError: unknown names, bad YAML, duplicate keys, faults of the profile."""
    path = find(str(name))
    raw = read_yaml(path)

    def read_part(kind: str, part: str) -> Mapping[str, Any]:
        home = path.parent if kind == "machine" else path.parent / "parts" / kind
        return read_yaml(find(part, kind, first=home))

    whole = {"name": path.stem, **compose(raw, read_part)}
    try:
        return Machine.model_validate_json(json.dumps(whole))
    except ValidationError as error:
        raise InputError(*(_fault(one, path) for one in error.errors())) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The map in a YAML 1.2 file. Raises InputError with the place of what is wrong in it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    def fault(message: str, line: int = 0, col: int = 0) -> InputError:
        return InputError(Fault(message=message, file=str(path), line=line, col=col))

    if path.stat().st_size > _MAX_BYTES:
        raise fault(f"larger than {_MAX_BYTES} bytes")
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise fault(str(error.problem).splitlines()[0], *((mark.line + 1, mark.column + 1) if mark else ())) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise fault(str(error).splitlines()[0]) from None
    if not isinstance(data, dict):
        raise fault("not a map of fields")
    return data


def _machine(raw: Mapping[str, Any], read_part: ReadPart, chain: tuple[str, ...]) -> dict[str, Any]:
    own = {key: value for key, value in raw.items() if key != "extends"}
    base = _base("machine", raw, read_part, chain, lambda below, name, so_far: _machine(below, read_part, so_far))
    # names of parts turn into maps before merging, so that a name replaces the part of the machine that is extended
    sources: dict[str, Any] = dict(base.get("sources", {}))
    whole = {key: value for key, value in base.items() if key != "sources"}
    for kind in ("accelerator", "host", "storage", "runtime"):
        if kind in own:
            whole[kind] = _place(kind, kind, own.pop(kind), whole.get(kind), read_part, sources)
    links = own.pop("links", None)
    if isinstance(links, Mapping):
        below = whole.get("links") or {}
        made = {k: _place("link", f"links.{k}", v, below.get(k), read_part, sources) for k, v in links.items()}
        whole["links"] = {**below, **made}
    elif links is not None:
        raise InputError(Fault(field="links", got=links, allowed="a map, such as {host_to_device: pcie4-x16}"))
    sources.update(_table(own.pop("sources", None), "sources"))
    return {**merge(whole, own), "sources": sources}


def _place(kind: str, field: str, new: Any, old: Any, read_part: ReadPart, sources: dict[str, Any]) -> Any:
    """What stands at `field` when `new` is written over `old`; the sources of parts read on the way are added."""
    if new is None:
        return None
    if isinstance(new, str):
        new, old = {"extends": new}, None
    if not isinstance(new, Mapping):
        raise InputError(Fault(field=field, got=new, allowed="a name or a map of fields"))
    if "extends" in new:
        old = _part(kind, new, read_part, (), sources, field)
        new = {key: value for key, value in new.items() if key != "extends"}
    return merge(old or {}, new)


def _part(
    kind: str, raw: Mapping[str, Any], read_part: ReadPart, chain: tuple[str, ...], sources: dict[str, Any], field: str
) -> dict[str, Any]:
    """The part that `raw` extends, resolved, with unique source keys."""

    def below(read: Mapping[str, Any], name: str, so_far: tuple[str, ...]) -> dict[str, Any]:
        prefix = f"{kind}/{name}:"
        sources.update({prefix + key: value for key, value in _table(read.get("sources"), f"{field}.sources").items()})
        own = {key: value for key, value in read.items() if key not in ("extends", "sources")}
        return merge(_part(kind, read, read_part, so_far, sources, field), _prefixed(own, prefix))

    return _base(kind, raw, read_part, chain, below, field)


def _table(data: Any, field: str) -> Mapping[str, Any]:
    """A sources table, empty where there is none. Raises InputError on anything else."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise InputError(Fault(field=field, got=data, allowed="a table of sources by key"))
    return data


def _base(
    kind: str,
    raw: Mapping[str, Any],
    read_part: ReadPart,
    chain: tuple[str, ...],
    resolve: Callable[[Mapping[str, Any], str, tuple[str, ...]], dict[str, Any]],
    field: str = "",
) -> dict[str, Any]:
    if "extends" not in raw:
        return {}
    name, at = raw["extends"], f"{field}.extends".lstrip(".")
    if not isinstance(name, str) or not name:
        raise InputError(Fault(field=at, got=name, allowed=f"one name of kind {kind}"))
    if name in chain:
        raise InputError(Fault(field=at, message=f"goes round in a circle: {' -> '.join([*chain, name])}"))
    made = resolve(read_part(kind, name), name, (*chain, name))
    if kind != "machine":
        return made
    prefix = f"machine/{name}:"
    plain = {key for key in made.get("sources", {}) if not key.startswith(tuple(f"{k}/" for k in ("machine", *PARTS)))}
    renamed = {prefix + key if key in plain else key: value for key, value in made.get("sources", {}).items()}
    return {**_prefixed({k: v for k, v in made.items() if k != "sources"}, prefix, plain), "sources": renamed}


def _prefixed(data: Any, prefix: str, only: set[str] | None = None) -> Any:
    """A copy in which the source keys (all, or those in `only`) carry a prefix."""
    if isinstance(data, Mapping):
        return {
            key: prefix + value
            if key == "source" and isinstance(value, str) and (only is None or value in only)
            else _prefixed(value, prefix, only)
            for key, value in data.items()
        }
    return [_prefixed(one, prefix, only) for one in data] if isinstance(data, list) else data


def _fault(error: Any, path: Path) -> Fault:
    context = error.get("ctx", {})
    field = ".".join(str(step) for step in error["loc"])
    if {"field", "got", "allowed"} <= context.keys():
        return Fault(field=context["field"], got=context["got"], allowed=context["allowed"], file=str(path))
    return Fault(field=field, message=error["msg"], file=str(path))
