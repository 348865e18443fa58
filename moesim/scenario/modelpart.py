"""The model of a scenario: a preset's or config.json's fields, the scenario's own over them, and the ModelSpec."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from moesim.errors import Fault, InputError
from moesim.model import presets
from moesim.model.fields import from_dict
from moesim.model.granularity import split
from moesim.model.huggingface import fields_from_config, read_config
from moesim.model.spec import ModelSpec
from moesim.scenario.compose import Composed, merge, shown
from moesim.scenario.document import Place, Tree, from_plain, read
from moesim.scenario.faults import at

__all__ = ["build_model", "model_tree", "preset_name"]

_GIVEN_BY = ("preset", "config")


def model_tree(composed: Composed) -> Tree:
    """Every field of the model with its place. Raises InputError, located."""
    section = composed.tree.get("model")
    allowed = "preset: NAME | config: path/to/config.json"
    if section is None:
        place = composed.tree.place
        raise InputError(at(Fault(message="missing", field="model", allowed=allowed), place))
    if not section.is_map:
        raise InputError(at(Fault(field="model", got=section.plain(), allowed=allowed), section.place))
    said = [name for name in _GIVEN_BY if name in section.value]
    # not `whole`, even where the section was the short form `model: NAME`: what is left lies over the preset
    own = Tree({k: child for k, child in section.value.items() if k not in _GIVEN_BY}, section.place, section.key)
    if len(said) == 2:
        fault = Fault(message="preset and config exclude each other", field="model.config", allowed=allowed)
        raise InputError(at(fault, section.value["config"].key))
    if not said:
        if "n_layers" in section.value:  # a whole model written out in the scenario
            return own
        known = ", ".join(presets.names())
        fault = Fault(
            message="names no model", field="model", allowed=f"preset: {known.replace(', ', ' | ')} | config: FILE"
        )
        raise InputError(at(fault, section.key))
    node = section.value[said[0]]
    if not isinstance(node.value, str) or not node.value:
        raise InputError(at(Fault(field=f"model.{said[0]}", got=node.plain(), allowed="text"), node.place))
    base = _preset(node) if said[0] == "preset" else _config(node, composed, has_weights="weights" in own.value)
    return merge(base, own, ("model",))


def _preset(node: Tree) -> Tree:
    try:
        path = presets.path(node.value)
    except InputError as error:
        raise InputError(*(at(fault, node.place) for fault in error.faults)) from None
    return read(path, shown(path))


def _config(node: Tree, composed: Composed, *, has_weights: bool) -> Tree:
    path = composed.folder(node.place) / node.value
    if not path.exists():
        raise InputError(at(Fault(message="no such file", field="model.config", got=node.value), node.place))
    fields = fields_from_config(read_config(path), name=_name(node.value), file=shown(path), weights=not has_weights)
    return from_plain(fields, Place(shown(path)))


def _name(text: str) -> str:
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    named = parts[:-1] if len(parts) > 1 and parts[-1].endswith(".json") else parts
    return named[-1].removesuffix(".json")


def preset_name(composed: Composed) -> str:
    """The name of the preset as the library spells it; empty for a model from elsewhere."""
    node = composed.tree.get("model", "preset")
    if node is None or not isinstance(node.value, str):
        return ""
    try:
        return presets.path(node.value).stem
    except InputError:
        return ""


def build_model(tree: Tree, given_bytes: Sequence[int] | None = None, source: str = "") -> tuple[ModelSpec, ModelSpec]:
    """The model as published (top-k and formats applied), and after `granularity`.

    `given_bytes`: sizes of one expert per layer with experts, from a recording's header; they win over the preset's
    formats but not over a size that the scenario itself states. Raises InputError with dotted fields.
    """
    data = tree.plain()
    granularity = data.pop("granularity", 1)
    published = from_dict(data)
    if isinstance(granularity, str):
        fine = re.fullmatch(r"[1-9][0-9]{0,6}/[1-9][0-9]{0,6}", granularity) is not None
    else:
        fine = isinstance(granularity, int | float) and not isinstance(granularity, bool) and 0 < granularity <= 2**20
    if not fine:
        allowed = 'a number such as 4 or 0.5, or a ratio such as "1/3"'
        raise InputError(Fault(field="model.granularity", got=granularity, allowed=allowed))
    if given_bytes is not None and data.get("expert_bytes") is None:
        published = published.with_expert_bytes(given_bytes, source)
    return published, split(published, Fraction(str(granularity)))
