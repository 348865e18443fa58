"""The sections of a scenario file other than hardware, model and policies: one frozen model per section and kind."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, Field

from moesim.core.fields import Bytes, Quantity, Time, quantity
from moesim.policies.schema import (
    Choice,
    Choices,
    ExpertCacheSection,
    LoadSection,
    NoPrefetchSection,
    PlacementSection,
    PrefetchSection,
    RatioUpTo,
    RouterSelectionSection,
    ScheduleSection,
    Section,
    Share,
)

__all__ = [
    "CHOICES", "DISCRIMINATED", "SHORT_FORMS", "FifoLinkSection", "LinkSection", "MemorySection", "RecordSection",
    "RoutingSection", "Sections", "TwoLevelLinkSection", "WorkloadSection", "members",
]  # fmt: skip

Path: TypeAlias = tuple[str, ...]

SplitChoice: TypeAlias = Annotated[
    Choice,
    Choices(
        words=("siblings", "independent"),
        allowed="siblings | independent | {correlation: 0.5}",
        maps=(("correlation", RatioUpTo("ratio")),),
    ),
]
Exponent = Annotated[Quantity, RatioUpTo("ratio", most=10)]
_SIBLINGS = Choice("siblings", None, "siblings")
_SPLIT = "what granularity does to routing: parts of one expert are picked together, independently, or correlated"


class ProfileRouting(Section):
    """Routing drawn from a fitted profile: popularity per layer and repetition between tokens."""

    kind: Literal["profile"] = Field(description="a fitted routing profile")
    profile: str = Field(default="", description="name or path of the profile; the model preset's own if left out")
    split: SplitChoice = Field(default=_SIBLINGS, description=_SPLIT)


class TraceRouting(Section):
    """Recorded routing."""

    kind: Literal["trace"] = Field(description="recorded routing")
    path: str = Field(
        min_length=1, description="the recording: parquet, npy folder or csv; relative to the file that says it"
    )
    split: SplitChoice = Field(default=_SIBLINGS, description=_SPLIT)


class StickyZipfRouting(Section):
    """Zipf popularity, and a slot keeps its expert of the token before with a given probability."""

    kind: Literal["sticky_zipf"] = Field(description="Zipf popularity with repetition from token to token")
    exponent: Exponent = Field(description="popularity of rank r is proportional to r ** -exponent")
    repeat: Share = Field(description="probability that a slot keeps its expert of the token before")
    split: SplitChoice = Field(default=_SIBLINGS, description=_SPLIT)


class ZipfRouting(Section):
    """Zipf popularity, tokens independent."""

    kind: Literal["zipf"] = Field(description="Zipf popularity, tokens independent")
    exponent: Exponent = Field(description="popularity of rank r is proportional to r ** -exponent")
    split: SplitChoice = Field(default=_SIBLINGS, description=_SPLIT)


class UniformRouting(Section):
    """Every expert equally likely: the worst case for a cache, never a default."""

    kind: Literal["uniform"] = Field(description="every expert equally likely")
    split: SplitChoice = Field(default=_SIBLINGS, description=_SPLIT)


RoutingSection: TypeAlias = Annotated[
    ProfileRouting | TraceRouting | StickyZipfRouting | ZipfRouting | UniformRouting, Field(discriminator="kind")
]

_COUNT = 10_000_000


class WorkloadSection(Section):
    """A batch of sequences, decoded in lock step; batches follow one another."""

    kind: Literal["batch"] = Field(description="batch: sequences in lock step, no arrivals")
    prompt_tokens: int = Field(
        ge=1, le=_COUNT, description="prompt length; with recorded routing the most that is used of a recorded prompt"
    )
    output_tokens: int = Field(
        ge=1, le=_COUNT, description="tokens to generate; with recorded routing the most that is used of a recording"
    )
    batch_size: int = Field(default=1, ge=1, le=65536, description="sequences decoded together")
    sequences: int = Field(
        default=1, ge=1, le=_COUNT, description="sequences in all; the cache stays warm between them"
    )
    prefill_chunk: int = Field(default=512, ge=1, le=_COUNT, description="tokens of one prefill step")


class MemorySection(Section):
    """Who gets the accelerator's memory; what is left is the expert cache."""

    reserve: Bytes = Field(description="runtime, activations, fragmentation")
    kv_tokens: int = Field(
        ge=1, le=1_000_000_000, description="the KV cache is sized for batch_size times this many tokens"
    )
    dram_cache: Bytes | None = Field(
        default=None,
        description="host memory that caches experts whose home is nvme, on machines with separate memories",
    )


class FifoLinkSection(Section):
    """Copies are served in issue order; nothing is promoted, cancelled or preempted."""

    discipline: Literal["fifo"] = Field(description="a copy stream: issue order")


class TwoLevelLinkSection(Section):
    """Demand before prefetch, preemption between chunks, cancellation of what proved wrong."""

    discipline: Literal["two_level"] = Field(description="software queues: demand before prefetch")
    chunks: int | None = Field(
        default=None, ge=1, le=65536, description="chunks per expert transfer; overrides schedule.chunks"
    )
    wakeup: Time = Field(
        default=quantity(0, "time"), description="link time before every transfer that starts or resumes"
    )


LinkSection: TypeAlias = Annotated[FifoLinkSection | TwoLevelLinkSection, Field(discriminator="discipline")]


class TimelineSection(Section):
    """The window of steps that is recorded event by event."""

    steps: tuple[int, int] = Field(
        description="first and last step recorded, both included; all steps count, prefill too, from 0"
    )


class RecordSection(Section):
    """What is recorded beyond the figures."""

    timeline: TimelineSection | None = Field(default=None, description="window of the event timeline; none if left out")


class Sections(Section):
    """A scenario without its hardware and its model, which their own packages validate."""

    moesim: Literal[1] = Field(description="number of the scenario format")
    title: str = Field(default="", max_length=500, description="one line for people")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of every random stream of the run")
    routing: RoutingSection = Field(
        default=ProfileRouting(kind="profile"),
        description="which experts each token picks; the model's own profile if left out",
    )
    workload: WorkloadSection = Field(description="what is asked of the machine")
    memory: MemorySection = Field(description="who gets the accelerator's memory")
    placement: PlacementSection = Field(
        default=PlacementSection(), description="where experts wait and which are pinned"
    )
    expert_cache: ExpertCacheSection = Field(default=ExpertCacheSection(), description="the expert cache")
    prefetch: PrefetchSection = Field(default=NoPrefetchSection(kind="none"), description="what is brought early")
    on_miss: LoadSection = Field(default=LoadSection(kind="load"), description="what happens to a missing expert")
    selection: RouterSelectionSection = Field(
        default=RouterSelectionSection(kind="router"), description="which experts are used, given the cache"
    )
    schedule: ScheduleSection = Field(default=ScheduleSection(), description="what waits for what")
    link: LinkSection = Field(
        default=FifoLinkSection(discipline="fifo"),
        description="how the link from host to accelerator serves its copies",
    )
    record: RecordSection = Field(default=RecordSection(), description="what is recorded beyond the figures")


# A scalar in place of these maps is short for {key: scalar}; True: it also replaces whatever `extends` had there.
SHORT_FORMS: dict[Path, tuple[str, bool]] = {
    ("hardware",): ("extends", True),
    ("hardware", "accelerator"): ("extends", True),
    ("hardware", "host"): ("extends", True),
    ("hardware", "storage"): ("extends", True),
    ("hardware", "links", "host_to_device"): ("extends", True),
    ("hardware", "runtime"): ("extends", True),
    ("model",): ("preset", True),
    ("routing",): ("kind", False),
    ("workload",): ("kind", False),
    ("expert_cache", "eviction"): ("kind", False),
    ("prefetch",): ("kind", False),
    ("on_miss",): ("kind", False),
    ("selection",): ("kind", False),
    ("schedule",): ("kind", False),
    ("link",): ("discipline", False),
}


def members(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models an annotation allows (through Annotated, unions, tables and lists)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, dict, tuple, list):
        return [model for part in get_args(annotation) for model in members(part)]
    return []


def _choices(model: type[BaseModel], path: Path = ()) -> frozenset[Path]:
    found = {(*path, n) for n, i in model.model_fields.items() if any(isinstance(m, Choices) for m in i.metadata)}
    return frozenset(found).union(
        *(
            _choices(kind, (*path, name))
            for name, info in model.model_fields.items()
            for kind in members(info.annotation)
        )
    )


def _discriminated(model: type[BaseModel], path: Path = ()) -> dict[Path, tuple[str, frozenset[str]]]:
    found: dict[Path, tuple[str, frozenset[str]]] = {}
    for name, info in model.model_fields.items():
        kinds = members(info.annotation)
        here = (*path, name)
        tag = next((t for t in ("kind", "discipline") if kinds and t in kinds[0].model_fields), "")
        if tag:
            said = [kind for kind in kinds if kind.__name__ != "PythonSection"]
            found[here] = (tag, frozenset.intersection(*(frozenset(kind.model_fields) for kind in said)) - {tag})
        for kind in kinds:
            found |= _discriminated(kind, here)
    return found


# Path of a map with kinds -> (name of its discriminator, fields common to all kinds, which survive a change of kind).
DISCRIMINATED: dict[Path, tuple[str, frozenset[str]]] = _discriminated(Sections)

# Fields that hold one of several things, such as {popular: "4 GiB"}: one replaces another, they never merge.
CHOICES: frozenset[Path] = _choices(Sections)
