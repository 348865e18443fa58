"""A model as written down, in the flat fields of a preset or of a scenario's `model` section, to a ModelSpec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from moesim.core.fields import Bytes, Quantity
from moesim.errors import Fault, InputError, nearest
from moesim.model.granularity import split
from moesim.model.spec import Count, LayerSpec, ModelSpec, MoE, Source
from moesim.model.weights import KvRef, Weights

__all__ = ["ModelFields", "from_dict"]

_SECTION = "model"


def _one_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, (list, tuple)) else "<one>"


def _window(value: Any) -> str:
    return "<full>" if isinstance(value, str) else "<tokens>"


def _number_or_ratio(value: Any) -> str:
    return "<ratio>" if isinstance(value, str) else "<number>"


Window = Annotated[
    Annotated[Count, Tag("<tokens>")] | Annotated[Literal["full"], Tag("<full>")], Discriminator(_window)
]
GranularityRef = Annotated[
    Annotated[float, Field(gt=0, le=2**20, allow_inf_nan=False), Tag("<number>")]
    | Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}/[1-9][0-9]{0,6}$"), Tag("<ratio>")],
    Discriminator(_number_or_ratio),
]
ExpertBytes = Annotated[
    Annotated[Bytes, Tag("<one>")] | Annotated[tuple[Bytes, ...], Tag("<list>")], Discriminator(_one_or_list)
]


class ModelFields(BaseModel):
    """Fields of a model. Names as in `ModelSpec` and `MoE`; besides:

    windows       what attention looks back to, layer by layer, repeated to the last: [128, full] alternates
    dense_layers  layers that have one dense network of width d_ff in place of experts
    granularity   split the experts (4) or merge them (0.5, "1/3"); see `moesim.model.granularity`
    expert_bytes  size of one expert with its unit, for all layers or a list per layer with experts; wins over `weights`
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    n_layers: Annotated[int, Field(ge=1, le=10_000)]
    d_model: Count
    n_heads: Count
    n_kv_heads: Count
    head_dim: Count
    vocab_size: Count
    tie_embeddings: bool
    attention_bias: bool = False
    qk_norm: bool = False
    attention_sinks: bool = False
    windows: tuple[Window, ...] = ("full",)
    n_experts: Count
    top_k: Count
    d_expert: Count
    n_matrices: Literal[2, 3] = 3
    expert_bias: bool = False
    router_bias: bool = False
    n_shared: Annotated[int, Field(ge=0, le=10_000)] = 0
    d_shared: Annotated[int, Field(ge=0, le=2**40)] = 0
    dense_layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    d_ff: Count | None = None
    weights: Weights
    kv_cache: KvRef
    granularity: GranularityRef = 1
    expert_bytes: ExpertBytes | None = None
    sources: dict[str, Source] = {}


def from_dict(data: Mapping[str, Any]) -> ModelSpec:
    """The model that a plain dict of fields describes (top-k is overridden before granularity multiplies it).

    Raises InputError with one fault per wrong field, named `model.<field>`.
    """
    fields = _validate(data)
    if faults := _faults(fields):
        raise InputError(*faults)
    moe = MoE(
        n_experts=fields.n_experts, top_k=fields.top_k, d_expert=fields.d_expert, n_matrices=fields.n_matrices,
        expert_bias=fields.expert_bias, router_bias=fields.router_bias,
        n_shared=fields.n_shared, d_shared=fields.d_shared,
    )  # fmt: skip
    layers = []
    for index in range(fields.n_layers):
        window = fields.windows[index % len(fields.windows)]
        seen = None if window == "full" else window
        is_dense = index in fields.dense_layers
        layers.append(LayerSpec(window=seen, d_ff=fields.d_ff) if is_dense else LayerSpec(window=seen, moe=moe))
    spec = ModelSpec(
        name=fields.name, title=fields.title, d_model=fields.d_model,
        n_heads=fields.n_heads, n_kv_heads=fields.n_kv_heads, head_dim=fields.head_dim,
        vocab_size=fields.vocab_size, tie_embeddings=fields.tie_embeddings,
        attention_bias=fields.attention_bias, qk_norm=fields.qk_norm, attention_sinks=fields.attention_sinks,
        layers=tuple(layers), weights=fields.weights, kv_cache=fields.kv_cache, sources=fields.sources,
    )  # fmt: skip
    if fields.expert_bytes is not None:
        given = fields.expert_bytes
        sizes = [given] * len(spec.moe_layers) if isinstance(given, Quantity) else list(given)
        spec = spec.with_expert_bytes([int(size.value) for size in sizes], "given as model.expert_bytes")
    return split(spec, Fraction(str(fields.granularity)))


def _validate(data: Mapping[str, Any]) -> ModelFields:
    try:
        # Through JSON, so that lists become tuples while everything else stays strict.
        return ModelFields.model_validate_json(json.dumps(dict(data), allow_nan=False))
    except ValidationError as error:
        raise InputError(*(_fault(one, data) for one in error.errors(include_url=False))) from error
    except (TypeError, ValueError) as error:
        raise InputError(Fault(message=f"not plain data: {error}", field=_SECTION)) from error


def _fault(error: Any, data: Mapping[str, Any]) -> Fault:
    path = [str(part) for part in error["loc"] if not str(part).startswith("<")]
    name, field = (path[-1] if path else ""), ".".join([_SECTION, *path])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = ["bits_per_weight"] if isinstance(data.get(path[0]), str) else _known(path)
        return Fault(message="unknown field", field=field, allowed=", ".join(known), nearest=nearest(name, known))
    if kind == "missing":
        return Fault(message="missing", field=field)
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        got = error["input"]
        near = nearest(got, expected.split(", ")) if isinstance(got, str) else ""
        extra = " or {bits_per_weight: x}" if path[0] in ("weights", "kv_cache") else ""
        return Fault(field=field, got=got, allowed=expected + extra, nearest=near)
    if kind == "quantity":
        return Fault(message=error["msg"], field=field)
    return Fault(message=error["msg"][:1].lower() + error["msg"][1:], field=field, got=error["input"])


def _known(path: list[str]) -> list[str]:
    """Names allowed beside the last part of a path."""
    if path[0] == "weights" and len(path) == 2:
        return list(Weights.model_fields)
    if path[0] in ("weights", "kv_cache"):
        return ["bits_per_weight"]
    return list(Source.model_fields) if path[0] == "sources" else list(ModelFields.model_fields)


def _faults(fields: ModelFields) -> list[Fault]:
    """What no single field can tell."""
    found = []

    def say(name: str, got: Any, allowed: str) -> None:
        found.append(Fault(field=f"{_SECTION}.{name}", got=got, allowed=allowed))

    if fields.top_k > fields.n_experts:
        say("top_k", fields.top_k, f"1 to {fields.n_experts}, the number of experts")
    if fields.n_heads % fields.n_kv_heads:
        say("n_kv_heads", fields.n_kv_heads, f"a divisor of n_heads ({fields.n_heads})")
    if not 1 <= len(fields.windows) <= fields.n_layers:
        say("windows", f"{len(fields.windows)} windows", f"1 to {fields.n_layers}, at most one per layer")
    if (fields.n_shared == 0) != (fields.d_shared == 0):
        say("d_shared", fields.d_shared, "a width if there are shared experts (n_shared), else 0")
    bad = [layer for layer in fields.dense_layers if layer >= fields.n_layers]
    if bad:
        say("dense_layers", bad[0], f"0 to {fields.n_layers - 1}")
    if len(set(fields.dense_layers) - set(bad)) == fields.n_layers:
        say("dense_layers", "every layer", "at least one layer with experts")
    if bool(fields.dense_layers) != (fields.d_ff is not None):
        say("d_ff", fields.d_ff, "a width if there are dense layers (dense_layers), else nothing")
    return found
