"""What a scenario file may say about the six seams: one frozen pydantic model per kind, told apart by ``kind``.

Only what an engine obeys is accepted; names that are planned but not built are refused with the list of those that are
(`moesim.scenario.faults.LATER` knows them, for a kinder message). Every leaf has a description: it becomes the JSON
Schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from moesim.core.fields import Quantity, Time, Unit, quantity
from moesim.core.quantity import QuantityError, pattern

__all__ = [
    "Choice", "Choices", "EvictionSection", "ExpertCacheSection", "LoadSection", "NextGateSection", "NoPrefetchSection",
    "PlacementSection", "PrefetchSection", "PreviousSection", "PythonSection", "RatioUpTo", "RouterSelectionSection",
    "ScheduleSection", "Section", "Share",
]  # fmt: skip

_ZERO = quantity(0, "time")


class Section(BaseModel):
    """Base of every section: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True)
class RatioUpTo(Unit):
    """A ratio between 0 and `most`."""

    most: int = 1

    def read(self, data: object) -> Quantity:
        """Text or a bare number to Quantity. Raises QuantityError."""
        made = super().read(data)
        if made.value > self.most:
            raise QuantityError(f'"{data}"', f"0 to {self.most}, or 0 % to {self.most * 100} %")
        return made


Share = Annotated[Quantity, RatioUpTo("ratio")]


@dataclass(frozen=True)
class Choice:
    """One of several ways to say a thing: `kind` says which way, `value` what (Fraction, int, tuple or None)."""

    kind: str
    value: Fraction | int | tuple[int, ...] | None = None
    written: Any = None

    def __str__(self) -> str:
        return str(self.written)

    def __hash__(self) -> int:
        return hash((self.kind, self.value))


@dataclass(frozen=True)
class Choices:
    """Annotation for a field that is a word, a text with a unit, or a map with one key.

    `words`: accepted words. `texts`: (kind, unit) tried in turn on text. `maps`: key -> a Unit, or "count" for a whole
    number >= 0, or "ids" for a list of them. A plain union would report one error per alternative; this one reports a
    single one.
    """

    words: tuple[str, ...]
    allowed: str
    texts: tuple[tuple[str, Unit], ...] = ()
    maps: tuple[tuple[str, Unit | Literal["count", "ids"]], ...] = ()

    def read(self, data: object) -> Choice:
        """Plain data to a Choice. Raises PydanticCustomError naming what was got and what is allowed."""
        if isinstance(data, Choice):
            return data
        got = _shown(data)
        if isinstance(data, str):
            if data in self.words:
                return Choice(data, None, data)
            for kind, unit in reversed(self.texts):
                try:
                    return Choice(kind, unit.read(data).value, data)
                except QuantityError as error:
                    got = error.got  # the first alternative's, with its hint
        if isinstance(data, dict) and len(data) == 1:
            key, inner = next(iter(data.items()))
            reader = dict(self.maps).get(key)
            value = self._inner(reader, inner) if reader is not None else None
            if value is not None:
                return Choice(key, value, data)
        raise PydanticCustomError("choice", "got {got}, allowed {allowed}", {"got": got, "allowed": self.allowed})

    def _inner(self, reader: Unit | str, data: object) -> Fraction | int | tuple[int, ...] | None:
        if isinstance(reader, Unit):
            try:
                return reader.read(data).value
            except QuantityError:
                return None
        if reader == "count":
            return data if _is_count(data) else None  # type: ignore[return-value]
        if isinstance(data, list | tuple) and data and all(map(_is_count, data)) and len(set(data)) == len(data):
            return tuple(data)
        return None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(lambda choice: choice.written)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        any_of: list[dict[str, Any]] = [{"type": "string", "enum": list(self.words)}]
        any_of += [{"type": "string", "pattern": pattern(unit.dimension)} for _, unit in self.texts]
        for key, reader in self.maps:
            properties = {key: _inner_schema(reader)}
            any_of.append(
                {"type": "object", "properties": properties, "required": [key], "additionalProperties": False}
            )
        return {"anyOf": any_of}


def _inner_schema(reader: Unit | str) -> dict[str, Any]:
    """JSON Schema of what stands under the key of a one-key map."""
    count: dict[str, Any] = {"type": "integer", "minimum": 0}
    if reader == "count":
        return count
    if not isinstance(reader, Unit):
        return {"type": "array", "items": count, "minItems": 1, "uniqueItems": True}
    text: dict[str, Any] = {"type": "string", "pattern": pattern(reader.dimension)}
    return {"anyOf": [text, {"type": "number", "minimum": 0}]} if reader.dimension == "ratio" else text


def _is_count(data: object) -> bool:
    return isinstance(data, int) and not isinstance(data, bool) and data >= 0


def _shown(data: object) -> str:
    text = f'"{data}"' if isinstance(data, str) else repr(data).replace("'", "")
    return text if len(text) <= 60 else text[:57] + "..."


class PythonSection(Section):
    """A policy class or object handed over by a script through `Scenario.replace`; a file cannot say this."""

    kind: Literal["python"] = Field(description="a live Python object")
    name: str = Field(description="module and qualified name of its class")
    sha256: str = Field(default="", description="of its source text and its attributes, where they can be read")


# ---- eviction ------------------------------------------------------------------------------------------------------


class EvictionSection(Section):
    """Who leaves when a claim needs bytes."""

    kind: Literal["lru", "lfu", "lfu-lifetime", "fifo", "random", "static", "belady"] = Field(
        description="lru: longest unused; lfu: fewest lookups while cached; lfu-lifetime: fewest lookups ever, ties by "
        "recency; fifo: oldest arrival; random: seeded draw; static: the initial content stays, nothing is inserted; "
        "belady: farthest next lookup (reads the future; a bound, not a policy)"
    )


CapacityChoice: TypeAlias = Annotated[
    Choice,
    Choices(
        words=("auto",),
        allowed='auto | "10 GiB" | "25 %" | {slots_per_layer: 6}',
        texts=(("bytes", Unit("bytes", whole=True)), ("share", RatioUpTo("ratio"))),
        maps=(("slots_per_layer", "count"),),
    ),
]


class ExpertCacheSection(Section):
    """The expert cache in accelerator memory."""

    capacity: CapacityChoice = Field(
        default=Choice("auto", None, "auto"),
        description="auto: all that memory leaves; bytes; a share of all routed expert bytes; whole experts per layer",
    )
    scope: Literal["layer", "global"] = Field(
        default="layer", description="layer: one cache per layer, equal bytes each; global: one for all layers"
    )
    eviction: EvictionSection | PythonSection = Field(
        default=EvictionSection(kind="lru"), description="who leaves", discriminator="kind"
    )
    evict: Literal["on_claim", "after_layer"] = Field(
        default="on_claim",
        description="on_claim: victims leave before the load starts; after_layer: loads overshoot and the cache is "
        "trimmed when the layer ends",
    )
    initial: Literal["empty", "popular", "trace"] = Field(
        default="empty",
        description="content before the first step: nothing, the most popular experts of the routing, or those "
        "the trace picks first",
    )
    reset: Literal["never", "sequence"] = Field(
        default="never", description="never: stays warm from sequence to sequence; sequence: back to `initial` at each"
    )
    staging_slots: int = Field(
        default=2,
        ge=1,
        le=1024,
        description="slots outside the cache for an expert that alone exceeds its cache's capacity",
    )
    lookup: Literal["host", "device"] = Field(
        default="host",
        description="host: the router's choice travels to the host first (d2h_sync, lookup, issue); device: without it",
    )


# ---- prefetch ------------------------------------------------------------------------------------------------------


class NoPrefetchSection(Section):
    """Nothing is brought early."""

    kind: Literal["none"] = Field(description="no prefetch")


class PreviousSection(Section):
    """Fetches for the next layer what the previous step used there (after a prefill: its last token)."""

    kind: Literal["previous"] = Field(description="the set that the previous step used at the next layer")
    touch_on_predict: bool = Field(
        default=False, description="a prediction that is resident already renews recency (ProMoE)"
    )
    into: Literal["cache", "staging"] = Field(
        default="cache", description="cache: claims bytes there; staging: own slots, inserted when used"
    )
    slots: int = Field(
        default=4, ge=1, le=4096, description="staging slots, with `into: staging` (4: Eliseev & Mazur 2023)"
    )
    t_pred: Time = Field(default=_ZERO, description="from the source point to the prediction's issue")
    source: Literal["lookup", "layer_start"] = Field(
        default="lookup", description="the point in the layer that predicts"
    )


class NextGateSection(Section):
    """A gate-based predictor of the next layers, reduced to its recall and precision (Eliseev & Mazur 2023).

    A trace has no hidden states, so the predictor cannot be run; its quality is drawn from two numbers per lookahead
    distance.
    """

    kind: Literal["next_gate"] = Field(description="the next layer's gate applied early, by recall and precision")
    experts: int = Field(ge=1, le=4096, description="experts predicted per layer ahead")
    recall: tuple[Share, ...] = Field(
        min_length=1,
        max_length=64,
        description="share of the experts used there that were predicted, by lookahead distance",
    )
    precision: tuple[Share, ...] = Field(
        min_length=1,
        max_length=64,
        description="share of the predicted experts, among those not resident, that were used, by lookahead distance",
    )
    touch_on_predict: bool = Field(
        default=False, description="a prediction that is resident already renews recency (ProMoE)"
    )
    into: Literal["cache", "staging"] = Field(
        default="staging", description="staging: own slots, inserted when used; cache: claims bytes there"
    )
    slots: int = Field(
        default=4, ge=1, le=4096, description="staging slots, with `into: staging` (4: Eliseev & Mazur 2023)"
    )
    t_pred: Time = Field(default=_ZERO, description="from the source point to the prediction's issue")
    source: Literal["lookup", "layer_start"] = Field(
        default="lookup", description="the point in the layer that predicts"
    )


PrefetchSection: TypeAlias = Annotated[
    NoPrefetchSection | PreviousSection | NextGateSection | PythonSection, Field(discriminator="kind")
]


# ---- miss, selection, placement, schedule --------------------------------------------------------------------------


class LoadSection(Section):
    """A missing expert is loaded over the link and computed on the accelerator."""

    kind: Literal["load"] = Field(description="load the expert")


class RouterSelectionSection(Section):
    """The router's own top-k, whatever the cache holds."""

    kind: Literal["router"] = Field(description="what the router picked")


PinnedChoice: TypeAlias = Annotated[
    Choice,
    Choices(
        words=("none",),
        allowed='none | {popular: "4 GiB"} | {layers: [0, 1]}',
        maps=(("popular", Unit("bytes", whole=True)), ("layers", "ids")),
    ),
]


class PlacementSection(Section):
    """Where experts wait and which never leave the accelerator."""

    home: Literal["dram", "nvme"] = Field(default="dram", description="where an expert waits until it is needed")
    pinned: PinnedChoice = Field(
        default=Choice("none", None, "none"),
        description="experts that stay on the accelerator outside the cache: none, the most popular within so many "
        "bytes, or all experts of the listed layers",
    )
    cpu_expert_layers: Literal[0] = Field(
        default=0,
        description="layers whose experts the CPU computes (llama.cpp --n-cpu-moe); only 0 until CPU experts are built",
    )


class ScheduleSection(Section):
    """What waits for what within a layer."""

    kind: Literal["layerwise"] = Field(default="layerwise", description="a layer starts when the one before has ended")
    demand_order: Literal["router_weight", "expert_id", "ready_first"] = Field(
        default="router_weight", description="order of a layer's demand loads in the link's queue"
    )
    chunks: int = Field(
        default=1, ge=1, le=65536, description="chunks per expert transfer; only a two_level link preempts between them"
    )
    grouping: Literal["each", "hits_then_arrived", "hits_then_rest", "after_all"] = Field(
        default="hits_then_arrived", description="which of a layer's experts are computed in one launch"
    )
