"""Build the plan of a scenario: lay out routing, price every operation, divide memory, name the policies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from moesim.core.ticks import to_ticks
from moesim.cost.model import CostModel
from moesim.plan.content import initial_by_popularity, initial_by_trace, pick_counts, pinned_mask
from moesim.plan.layout import Layout, lay_out, picks_of, spans_of
from moesim.plan.plan import Plan, PolicyPlan
from moesim.plan.pricing import price_link, price_storage, price_stream
from moesim.policies.guard import GuardedEviction, GuardedPrefetch
from moesim.policies.prefetch.base import NoPrefetch, Prefetch
from moesim.policies.schema import (
    ExpertCacheSection,
    NextGateSection,
    NoPrefetchSection,
    PreviousSection,
    PythonSection,
)
from moesim.routing.generators import generate
from moesim.routing.regranulate import regranulate
from moesim.routing.sets import distinct_sets
from moesim.routing.trace import RoutingTrace
from moesim.scenario.scenario import Scenario
from moesim.scenario.sections import (
    ProfileRouting,
    StickyZipfRouting,
    TraceRouting,
    TwoLevelLinkSection,
    ZipfRouting,
)

__all__ = ["Built", "build"]

_POPULARITY_TOKENS = 1024
"""Tokens of the extra sequence whose picks say which experts are popular: sampled apart from those that run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A plan, and what readers of its results should know about how it came about."""

    plan: Plan
    notes: tuple[str, ...]
    routing: str
    """Which routing was used, one line."""


def build(scenario: Scenario) -> Built:
    """The plan of a scenario. Raises InputError for what only shows when everything comes together."""
    model, machine, sections = scenario.model, scenario.machine, scenario.sections
    workload = sections.workload
    cost = CostModel(machine, model)
    notes = list(cost.notes)
    trace, extra, origin = _routing(scenario, notes)
    spans = spans_of(
        trace, sequences=workload.sequences, prompt_tokens=workload.prompt_tokens, output_tokens=workload.output_tokens
    )
    layout = lay_out(spans, batch_size=workload.batch_size, prefill_chunk=workload.prefill_chunk)
    if scenario.trace is not None:
        notes += _shortened(scenario, layout)
    moe = list(model.moe_layers)
    layers, steps, n = model.n_layers, len(layout.tokens), model.n_experts
    picks, weights, pick_ptr, routed = picks_of(trace, layout, moe, layers)
    sets = distinct_sets(picks, weights if len(weights) else None, pick_ptr)
    set_sizes = np.diff(sets.set_ptr).reshape(steps, layers)
    prices = price_stream(cost, model, layout, routed, set_sizes)

    sizes = [model.expert_bytes(layer) if model.is_moe(layer) else 0 for layer in range(layers)]
    popularity = pick_counts(trace, extra, model)
    pinned = pinned_mask(scenario, popularity, sizes)
    exists = popularity >= 0
    division = scenario.fits()
    cache = sections.expert_cache
    cache_of = np.full(layers, -1, dtype=np.int64)
    cache_of[moe] = 0 if cache.scope == "global" else np.arange(len(moe))
    capacity = division.per_layer
    initial: tuple[int, ...] = ()
    if cache.initial == "popular":
        initial = initial_by_popularity(popularity, sizes, pinned, cache_of.tolist(), capacity)
    elif cache.initial == "trace":
        cell = np.repeat(np.arange(steps * layers), np.diff(pick_ptr))
        initial = initial_by_trace(picks, cell, layers, n)

    control = cost.control()
    wholly = np.array([model.is_moe(layer) and bool(pinned[layer][exists[layer]].all()) for layer in range(layers)])
    on_host = np.array([model.is_moe(layer) for layer in range(layers)]) & ~wholly
    notes += _hits_nothing(cache, [(sizes[at], capacity[cache_of[at]]) for at in moe if not wholly[at]])
    if cache.lookup == "device":
        on_host[:] = False

    def where_host(ticks: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.where(on_host, ticks, 0).astype(np.int64)

    def by_layer(price: Callable[[int], Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([price(layer).ticks if model.is_moe(layer) else 0 for layer in range(layers)], dtype=np.int64)

    unified = machine.accelerator.unified
    nvme = sections.placement.home == "nvme"
    link = sections.link
    two_level = isinstance(link, TwoLevelLinkSection)
    prefetch = sections.prefetch
    timeline = sections.record.timeline
    if timeline is not None and timeline.steps[1] >= steps:
        wanted = " to ".join(map(str, timeline.steps))
        notes.append(f"record.timeline asks for steps {wanted}; the run has steps 0 to {steps - 1}")
    # a policy of a script says itself when it predicts and where its copies go
    timed = prefetch if isinstance(prefetch, PreviousSection | NextGateSection) else _own_timing(scenario)
    plan = Plan(
        seed=sections.seed,
        n_layers=layers,
        n_experts=n,
        is_moe=np.array([model.is_moe(layer) for layer in range(layers)], dtype=np.bool_),
        expert_bytes=np.array(sizes, dtype=np.int64),
        step_batch=layout.batch,
        step_prefill=layout.prefill,
        step_tokens=layout.tokens,
        step_generated=layout.generated,
        step_first=layout.first,
        step_arrival=layout.arrival,
        picks=picks,
        weights=weights,
        pick_ptr=pick_ptr,
        set_expert=sets.set_expert,
        set_touch=sets.set_touch,
        set_pairs=sets.set_pairs,
        set_weight=sets.set_weight,
        set_ptr=sets.set_ptr,
        top_k=np.array([spec.moe.top_k if spec.moe else 0 for spec in model.layers], dtype=np.int64),
        attention_ps=prices.attention,
        router_ps=prices.router,
        shared_ps=prices.shared,
        dense_ps=prices.dense,
        head_ps=prices.head,
        host_gap_ps=np.full(steps, control.host_gap, dtype=np.int64),
        group_class=prices.group_class,
        group_ps=prices.group,
        d2h_sync_ps=where_host(control.d2h_sync),
        lookup_ps=where_host(control.lookup),
        issue_ps=where_host(control.issue),
        load_overhead_ps=by_layer(cost.load_overhead),
        evict_overhead_ps=by_layer(cost.evict_overhead),
        overhead_on=cost.load_overhead(moe[0]).on,  # type: ignore[arg-type]  # the runtime part allows these three
        cache_of_layer=cache_of,
        cache_capacity=np.array(capacity, dtype=np.int64),
        pinned=pinned,
        initial=initial,
        evict=cache.evict,
        reset=cache.reset,
        staging_slots=cache.staging_slots,
        path="storage" if unified else "storage+link" if nvme else "link",
        link=None
        if unified
        else price_link(
            cost,
            model,
            discipline="two_level" if two_level else "fifo",
            chunks=scenario.chunks,
            wakeup_ps=to_ticks(link.wakeup.value) if isinstance(link, TwoLevelLinkSection) else 0,
        ),
        storage=price_storage(cost, model, int(machine.storage.lanes)) if nvme and machine.storage else None,
        dram_capacity=division.dram_cache,
        eviction=_eviction(scenario),
        prefetch=_prefetch(scenario),
        prefetch_source=timed.source,
        prefetch_into=timed.into,
        prefetch_slots=timed.slots,
        t_pred_ps=timed.t_pred_ps if isinstance(timed, Prefetch) else to_ticks(timed.t_pred.value),
        touch_on_predict=timed.touch_on_predict,
        grouping=sections.schedule.grouping,
        demand_order=sections.schedule.demand_order,
        timeline_steps=timeline.steps if timeline is not None else None,
    )
    return Built(plan=plan.validate(), notes=tuple(notes), routing=origin)


def _routing(scenario: Scenario, notes: list[str]) -> tuple[RoutingTrace, slice, str]:
    """The routing of all sequences, the rows that say which experts are popular, and one line about it.

    Generated routing gets one more sequence, of which nothing runs: what it picks is what an offline profile of the
    model would have seen. A recording's popularity is that of the whole recording.
    """
    published, sections = scenario.published, scenario.sections
    section, workload, seed = sections.routing, sections.workload, sections.seed
    if scenario.trace is not None:
        assert isinstance(section, TraceRouting)
        trace = scenario.trace
        name = scenario.trace_path.name if scenario.trace_path is not None else "trace"
        origin = f"recorded: {name}"
    else:
        length = workload.prompt_tokens + workload.output_tokens - 1
        params: dict[str, Any] = {}
        origin = section.kind
        if isinstance(section, ProfileRouting):
            params = {"profile": scenario.profile}
            assert scenario.profile is not None
            origin = f"profile {scenario.profile.name}: {scenario.profile.source}"
            if scenario.profile.top_k != published.top_k:
                fitted, used = scenario.profile.top_k, published.top_k
                notes.append(f"the routing profile was fitted to {fitted} experts a token and is drawn for {used}")
        elif isinstance(section, StickyZipfRouting):
            params = {"exponent": section.exponent, "repeat": section.repeat.value}
            origin = f"sticky Zipf, exponent {section.exponent}, repeat {section.repeat.text}"
        elif isinstance(section, ZipfRouting):
            params = {"exponent": section.exponent}
            origin = f"Zipf, exponent {section.exponent}"
        else:
            origin = "uniform: every expert equally likely"
        wants = sections.placement.pinned.kind == "popular" or sections.expert_cache.initial == "popular"
        tokens = [length] * workload.sequences + ([_POPULARITY_TOKENS] if wants else [])
        prompts = [workload.prompt_tokens] * workload.sequences + ([0] if wants else [])
        trace = generate(
            section.kind,
            n_layers=len(published.moe_layers),
            n_experts=published.n_experts,
            top_k=published.top_k,
            tokens=tokens,
            seed=seed,
            params=params,
            prompt_tokens=prompts,
        )
    granularity = scenario.model.n_experts / Fraction(published.n_experts)
    if granularity != 1:
        split = section.split
        how: Any = split.kind if split.kind in ("siblings", "independent") else {"correlation": split.value}
        trace = regranulate(trace, granularity, how, seed=seed)
        origin += f"; granularity {granularity} ({split})"
    if trace.weights is None and sections.schedule.demand_order == "router_weight":
        notes.append("the routing has no router weights: demand loads go in order of first appearance")
    begin = 0 if scenario.trace is not None else int(trace.sequence_ptr[workload.sequences])
    rows = slice(begin, int(trace.sequence_ptr[-1]))
    return trace, rows, origin


def _shortened(scenario: Scenario, layout: Layout) -> list[str]:
    """What a recording made of the workload that was asked for."""
    workload = scenario.workload
    prompt = int(layout.tokens[layout.prefill].sum())
    made = int(layout.generated.sum())
    wanted_prompt, wanted = (workload.sequences * t for t in (workload.prompt_tokens, workload.output_tokens))
    notes = []
    if prompt != wanted_prompt:
        notes.append(f"the recording has {prompt} prompt tokens in all where the workload asks for {wanted_prompt}")
    if made != wanted:
        notes.append(f"the recording gives {made} tokens in all where the workload asks for {wanted}")
    if scenario.routing_input.expert_bytes:
        notes.append("sizes of experts are those in the recording's header, not the preset's")
    return notes


def _hits_nothing(cache: ExpertCacheSection, room: list[tuple[int, int]]) -> list[str]:
    """Caches that can only miss. `room`: bytes of an expert and of its cache, for each layer that needs one."""
    if cache.eviction.kind == "static" and cache.initial == "empty" and room:
        return ["a static cache that starts empty stays empty: only experts pinned by placement are ever hit"]
    small = sum(size > capacity for size, capacity in room)
    if small:
        return [f"the caches of {small} layers are smaller than one expert: what is loaded there never stays"]
    return []


def _live(policy: Any) -> Callable[..., Any]:
    """A maker of fresh instances: a class makes them itself, an object is copied."""
    return policy if isinstance(policy, type) else partial(copy.deepcopy, policy)


def _eviction(scenario: Scenario) -> PolicyPlan:
    section = scenario.expert_cache.eviction
    if isinstance(section, PythonSection):
        make = partial(GuardedEviction, section.name, _live(scenario.live["expert_cache.eviction"]))
        return PolicyPlan(kind=section.name, make=make)
    return PolicyPlan(kind=section.kind)


def _own_timing(scenario: Scenario) -> Prefetch:
    """An instance that carries the timing of a script's policy; without one, of no prefetch at all."""
    made: Prefetch = _live(scenario.live["prefetch"])() if "prefetch" in scenario.live else NoPrefetch()
    return made


def _prefetch(scenario: Scenario) -> PolicyPlan:
    section = scenario.prefetch
    if isinstance(section, PythonSection):
        return PolicyPlan(
            kind=section.name, make=partial(GuardedPrefetch, section.name, _live(scenario.live["prefetch"]))
        )
    if isinstance(section, NextGateSection):
        params = {
            "experts": section.experts,
            "recall": tuple(share.value for share in section.recall),
            "precision": tuple(share.value for share in section.precision),
        }
        return PolicyPlan(kind=section.kind, params=params)
    assert isinstance(section, NoPrefetchSection | PreviousSection)
    return PolicyPlan(kind=section.kind)
