"""Scenario files to Scenarios: reads, composes, validates, cross-checks; every fault at once, each at its place."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from moesim.errors import Fault, InputError
from moesim.policies.eviction.base import Eviction
from moesim.policies.prefetch.base import Prefetch
from moesim.scenario import checks
from moesim.scenario.compose import Composed, open_scenario, override
from moesim.scenario.document import Tree
from moesim.scenario.hardwarepart import build_machine, machine_tree
from moesim.scenario.locate import located
from moesim.scenario.memory import divide
from moesim.scenario.modelpart import build_model, model_tree, preset_name
from moesim.scenario.plugins import plugged
from moesim.scenario.routingpart import RoutingInput, check_routing, read_routing
from moesim.scenario.scenario import Scenario
from moesim.scenario.sections import ProfileRouting
from moesim.scenario.validate import LIVE_FIELDS, validate_sections

__all__ = ["load", "replaced"]

_BASES: dict[str, type] = {"expert_cache.eviction": Eviction, "prefetch": Prefetch}


def load(name_or_path: str | Path, set: Iterable[str] = ()) -> Scenario:
    """The scenario of a name (`quickstart`) or a path, with ``a.b=value`` texts applied in order.

    Raises InputError with all faults, sorted by file and line.
    """
    return finish(open_scenario(name_or_path, set), {})


def replaced(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """`Scenario.replace`."""
    live = dict(scenario.live)
    plain: dict[str, Any] = {}
    for field, value in changes.items():
        live.pop(field, None)
        if _is_plain(value):
            plain[field] = value
        elif field in LIVE_FIELDS:
            base = _BASES[field]
            if not (issubclass(value, base) if isinstance(value, type) else isinstance(value, base)):
                allowed = f"a kind, or a class (or object) derived from moesim.{base.__name__}"
                raise InputError(Fault(field=field, file=f"replace({field})", got=_name(value), allowed=allowed))
            live[field] = value
            plain[field] = _shown(value)
        else:
            allowed = "text, numbers, lists, maps; a policy object only at " + " | ".join(LIVE_FIELDS)
            raise InputError(Fault(field=field, file=f"replace({field})", got=type(value).__name__, allowed=allowed))
    return finish(override(scenario.composed, plain), live)


def finish(composed: Composed, live: Mapping[str, Any]) -> Scenario:
    """Validate a composed scenario as a whole. Raises InputError."""
    plugs = plugged(composed)
    if plugs:
        composed = override(composed, {field: _shown(policy) for field, policy in plugs.items()})
        live = {**live, **plugs}
    found = _Findings(composed.tree)
    sections, faults, replaced = validate_sections(composed.tree, live)
    found.add(faults)
    hardware = found.run(lambda: machine_tree(composed))
    machine = found.run(lambda: build_machine(hardware)) if hardware is not None else None
    fields = found.run(lambda: model_tree(composed))
    for name, part in (("hardware", hardware), ("model", fields)):
        found.tree = found.tree.set((name,), part) if part is not None else found.tree
    given = RoutingInput()
    if sections is not None:
        found.add(checks.check_sections(sections), but=replaced)
        own_profile = isinstance(sections.routing, ProfileRouting) and not sections.routing.profile
        if fields is not None or not own_profile:  # without a model there is no profile of its own
            given = found.run(lambda: read_routing(sections, composed, preset_name(composed))) or given
    models = found.run(lambda: build_model(fields)) if fields is not None else None
    if models is not None and sections is not None:
        found.add(check_routing(given, models[0], sections), but=replaced)
        if given.expert_bytes and len(given.expert_bytes) == len(models[0].moe_layers):
            models = found.run(lambda: build_model(fields, given.expert_bytes, given.source))
    division = None
    if machine is not None and sections is not None:
        found.add(checks.check_machine(sections, machine), but=replaced)
        if models is not None:
            found.add(checks.check_model(sections, machine, models[1]), but=replaced)
            division, faults = divide(sections, machine, models[1])
            guessed = any(field.startswith(("memory.kv", "workload", "placement")) for field in replaced)
            found.add([] if guessed else faults, but=replaced)
    found.raise_all()
    assert sections is not None and machine is not None and models is not None and division is not None
    return Scenario(
        name=composed.name,
        sections=sections,
        machine=machine,
        model=models[1],
        published=models[0],
        division=division,
        tree=found.tree,
        composed=composed,
        routing_input=given,
        live=dict(live),
    )


class _Findings:
    """Collects the faults of all parts, so that one wrong part does not hide the others."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.faults: list[Fault] = []

    def run(self, part: Any) -> Any:
        """What `part()` returns; None, with its faults kept, if it raises InputError."""
        try:
            return part()
        except InputError as error:
            self.faults += error.faults
            return None

    def add(self, faults: Iterable[Fault], but: Iterable[str] = ()) -> None:
        """Keep the faults, except those of fields below one of `but`, whose value is a stand-in."""
        self.faults += [f for f in faults if not any(f"{f.field}.".startswith(f"{field}.") for field in but)]

    def raise_all(self) -> None:
        """Raise everything found, once each."""
        if not self.faults:
            return
        done = {str(fault): fault for fault in located(self.faults, self.tree)}
        raise InputError(*done.values())


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(child) for key, child in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def _shown(policy: object) -> dict[str, str]:
    """What stands for a live policy in the resolved scenario."""
    return {"kind": "python", "name": _name(policy), "sha256": _fingerprint(policy)}


def _name(policy: object) -> str:
    cls = policy if isinstance(policy, type) else type(policy)
    return f"{cls.__module__}.{cls.__qualname__}"


def _fingerprint(policy: object) -> str:
    """sha256 of a policy's source and attributes, so that the scenario's hash changes when the policy does.

    Empty where there is no source to read (a class typed at a prompt): the name must then do.
    """
    cls = policy if isinstance(policy, type) else type(policy)
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return ""
    state = {} if isinstance(policy, type) else {k: v for k, v in vars(policy).items() if _is_plain(v)}
    return hashlib.sha256(f"{source}\n{json.dumps(state, sort_keys=True)}".encode()).hexdigest()
