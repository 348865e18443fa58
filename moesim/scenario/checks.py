"""What no single field can tell: faults between fields of a scenario, with dotted fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moesim.errors import Fault, InputError
from moesim.policies.schema import NextGateSection, PreviousSection
from moesim.scenario.memory import show_bytes
from moesim.scenario.sections import Sections, TwoLevelLinkSection

if TYPE_CHECKING:
    from moesim.hardware.machine import Machine
    from moesim.model.spec import ModelSpec

__all__ = ["check_machine", "check_model", "check_sections", "chunks"]


def chunks(sections: Sections) -> tuple[int, str]:
    """Chunks per expert transfer, and the field that says so: a two_level link's own number wins."""
    link = sections.link
    if isinstance(link, TwoLevelLinkSection) and link.chunks is not None:
        return link.chunks, "link.chunks"
    return sections.schedule.chunks, "schedule.chunks"


def check_sections(sections: Sections) -> list[Fault]:
    """Faults that need neither machine nor model."""
    faults: list[Fault] = []
    workload, memory, prefetch = sections.workload, sections.memory, sections.prefetch
    longest = workload.prompt_tokens + workload.output_tokens
    if memory.kv_tokens < longest:
        allowed = f">= {longest}, prompt_tokens + output_tokens"
        faults.append(Fault(field="memory.kv_tokens", got=memory.kv_tokens, allowed=allowed))
    if workload.sequences < workload.batch_size:
        allowed = f">= {workload.batch_size}, the sequences decoded together (workload.batch_size)"
        faults.append(Fault(field="workload.sequences", got=workload.sequences, allowed=allowed))
    timeline = sections.record.timeline
    if timeline is not None and not 0 <= timeline.steps[0] <= timeline.steps[1]:
        got = f"[{timeline.steps[0]}, {timeline.steps[1]}]"
        faults.append(Fault(field="record.timeline.steps", got=got, allowed="[first, last] with 0 <= first <= last"))
    into_cache = isinstance(prefetch, PreviousSection | NextGateSection) and prefetch.into == "cache"
    if into_cache and "slots" in prefetch.model_fields_set:
        message = "only prefetch into staging has slots"
        faults.append(Fault(message=message, field="prefetch.slots", allowed="into: staging"))
    if isinstance(prefetch, NextGateSection):
        if len(prefetch.recall) != len(prefetch.precision):
            faults.append(
                Fault(
                    field="prefetch.precision",
                    got=f"{len(prefetch.precision)} distances",
                    allowed=f"{len(prefetch.recall)}, as many as prefetch.recall",
                )
            )
        for index, share in enumerate(prefetch.precision):
            if share.value == 0:
                faults.append(Fault(field=f"prefetch.precision.{index}", got=share.text, allowed="more than 0"))
    if memory.dram_cache is not None and sections.placement.home != "nvme":
        message = "only experts whose home is nvme are cached in host memory"
        faults.append(Fault(message=message, field="memory.dram_cache", allowed="placement.home: nvme"))
    return faults


def check_machine(sections: Sections, machine: Machine) -> list[Fault]:
    """Faults between the sections and the machine."""
    faults: list[Fault] = []
    unified, home, dram = machine.accelerator.unified, sections.placement.home, sections.memory.dram_cache
    if home == "nvme" and machine.storage is None:
        fault = Fault(message="the machine has no storage", field="placement.home", got="nvme", allowed="dram")
        faults.append(fault)
    if home == "dram" and unified:
        message = "the accelerator shares the host's memory: nothing would ever be loaded"
        faults.append(Fault(message=message, field="placement.home", got="dram", allowed="nvme"))
    if isinstance(sections.link, TwoLevelLinkSection) and unified:
        message = "the machine has no link between host and accelerator"
        faults.append(Fault(message=message, field="link.discipline", got="two_level", allowed="fifo"))
    if home == "nvme" and machine.storage is not None:
        if unified and dram is not None:
            message = "the accelerator shares the host's memory: its expert cache is the cache of storage"
            faults.append(Fault(message=message, field="memory.dram_cache", allowed="nothing on a unified machine"))
        if not unified and dram is None:
            message = "missing: experts from nvme pass through host memory"
            faults.append(Fault(message=message, field="memory.dram_cache", allowed='bytes such as "32 GiB"'))
    return faults


def check_model(sections: Sections, machine: Machine, model: ModelSpec) -> list[Fault]:
    """Faults between sections, machine and model (after granularity)."""
    faults: list[Fault] = []
    smallest = min(model.expert_bytes(layer) for layer in model.moe_layers)
    largest = max(model.expert_bytes(layer) for layer in model.moe_layers)
    count, field = chunks(sections)
    if count > smallest:
        faults.append(Fault(field=field, got=count, allowed=f"1 to {smallest}, the bytes of the smallest expert"))
    dram = sections.memory.dram_cache
    if dram is not None and sections.placement.home == "nvme" and dram.value < largest:
        allowed = f"at least one expert, {show_bytes(largest)}"
        faults.append(Fault(field="memory.dram_cache", got=dram.text, allowed=allowed))
    prefetch = sections.prefetch
    if isinstance(prefetch, NextGateSection):
        most = min(layer.moe.n_experts for layer in model.layers if layer.moe is not None)
        if prefetch.experts > most:
            faults.append(
                Fault(field="prefetch.experts", got=prefetch.experts, allowed=f"1 to {most}, the experts of a layer")
            )
        if len(prefetch.recall) >= model.n_layers:
            got = f"{len(prefetch.recall)} distances"
            faults.append(Fault(field="prefetch.recall", got=got, allowed=f"fewer than the {model.n_layers} layers"))
    storage = machine.storage
    if sections.placement.home == "nvme" and storage is not None and model.routed_bytes() > storage.capacity.at():
        message = f"{show_bytes(model.routed_bytes())} of experts do not fit"
        faults.append(
            Fault(message=message, field="hardware.storage.capacity", got=show_bytes(int(storage.capacity.at())))
        )
    try:
        for layer in model.moe_layers[:1]:
            for part in ("experts", "attention", "router", "shared", "dense", "head"):
                model.compute_dtype(part, machine.accelerator.compute, layer)
    except InputError as error:
        faults += error.faults
    return faults
