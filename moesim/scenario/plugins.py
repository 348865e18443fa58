"""Policies of installed plug-ins, named in a scenario like built-in ones: ``eviction: {kind: theirs, share: 0.5}``.

A plug-in registers its class under the entry points ``moesim.eviction`` or ``moesim.prefetch``; the keys beside `kind`
are passed to it. From here on it is treated like a policy that a script hands over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moesim.core.registry import Registry
from moesim.errors import Fault, InputError
from moesim.policies.eviction import EVICTIONS
from moesim.policies.prefetch import PREFETCHES
from moesim.scenario.compose import Composed

__all__ = ["plugged"]

_SEAMS: dict[str, Registry[Any]] = {"expert_cache.eviction": EVICTIONS, "prefetch": PREFETCHES}


def plugged(composed: Composed) -> Mapping[str, Any]:
    """Dotted field -> policy, for kinds that come from plug-ins. Raises InputError if one refuses its parameters."""
    found = {}
    for field, registry in _SEAMS.items():
        node = composed.tree.get(*field.split("."))
        section: Any = node.plain() if node is not None else None
        kind = section.get("kind") if isinstance(section, dict) else None
        if node is None or not isinstance(kind, str) or not registry.is_plugin(kind):
            continue
        params = {key: value for key, value in section.items() if key != "kind"}
        try:
            found[field] = registry.get(kind)(**params)
        except TypeError as error:
            place = node.place
            fault = Fault(field=field, message=f"the plug-in {kind} does not take these: {error}", got=params)
            raise InputError(fault.located(place.file, place.line, place.col)) from error
    return found
