"""Price every operation of a layout: the integer tables that engines read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesim.cost.model import CostModel
from moesim.errors import Fault, InputError
from moesim.model.spec import ModelSpec
from moesim.plan.layout import Layout
from moesim.plan.plan import LinkPlan, StoragePlan

__all__ = ["StreamPrices", "price_link", "price_storage", "price_stream"]

Ints = NDArray[np.int64]
_LARGEST_TABLE = 64_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamPrices:
    """Durations of the stream, as `Plan` names them."""

    attention: Ints
    router: Ints
    shared: Ints
    dense: Ints
    head: Ints
    group_class: Ints
    group: tuple[Ints, ...]


def price_stream(cost: CostModel, model: ModelSpec, layout: Layout, routed: Ints, sets: Ints) -> StreamPrices:
    """Tables of ticks. routed: tokens by [S, L]; sets: distinct experts by [S, L]."""
    steps, layers = routed.shape
    attention = np.zeros((steps, layers), dtype=np.int64)
    classes: dict[int, list[int]] = {}
    for layer in range(layers):
        classes.setdefault(cost.attention_class(layer), []).append(layer)
    for step, chunks in enumerate(layout.chunks):
        seen = [(chunk.tokens, chunk.context) for chunk in chunks]
        for members in classes.values():
            attention[step, members] = cost.attention_chunks(members[0], seen).ticks

    def by_tokens(name: str, layer: int, tokens: Ints) -> Ints:
        price = getattr(cost, name)
        amounts, where = np.unique(tokens, return_inverse=True)
        return np.array([price(layer, int(n)).ticks if n else 0 for n in amounts], dtype=np.int64)[where]

    router, shared, dense = (np.zeros((steps, layers), dtype=np.int64) for _ in range(3))
    group_class = np.zeros(layers, dtype=np.int64)
    most_pairs: dict[int, int] = {}
    most_distinct: dict[int, int] = {}
    example: dict[int, int] = {}
    for layer, spec in enumerate(model.layers):
        if spec.moe is None:
            dense[:, layer] = by_tokens("dense", layer, layout.tokens)
            continue
        router[:, layer] = by_tokens("router", layer, routed[:, layer])
        shared[:, layer] = by_tokens("shared", layer, routed[:, layer])
        number = group_class[layer] = cost.expert_class(layer)
        example.setdefault(number, layer)
        most_pairs[number] = max(most_pairs.get(number, 1), int(routed[:, layer].max(initial=0)) * spec.moe.top_k)
        most_distinct[number] = max(most_distinct.get(number, 1), int(sets[:, layer].max(initial=0)))
    tables = []
    for number in range(max(example, default=-1) + 1):
        size = (most_pairs[number] + 1) * (most_distinct[number] + 1)
        if size > _LARGEST_TABLE:
            raise InputError(
                Fault(
                    field="workload.prefill_chunk",
                    message=f"a step of {most_pairs[number]} token-expert pairs over {most_distinct[number]} experts",
                    allowed=f"at most {_LARGEST_TABLE} entries in the duration table of a layer: smaller chunks",
                )
            )
        tables.append(cost.expert_table(example[number], most_pairs[number], most_distinct[number]))
    head = np.array([cost.head(int(n)).ticks if n else 0 for n in layout.logits], dtype=np.int64)
    return StreamPrices(
        attention=attention, router=router, shared=shared, dense=dense, head=head, group_class=group_class,
        group=tuple(tables),
    )  # fmt: skip


def price_link(cost: CostModel, model: ModelSpec, *, discipline: str, chunks: int, wakeup_ps: int) -> LinkPlan:
    """The link with one expert's duration by layer."""
    transfers = {layer: cost.transfer(layer) for layer in model.moe_layers}
    one = next(iter(transfers.values()))
    made: LinkPlan = LinkPlan(
        discipline=discipline,  # type: ignore[arg-type]  # the schema allows these two only
        chunks=chunks,
        wakeup_ps=wakeup_ps,
        copy_overhead_ps=one.t0,
        resume_ps=one.resume_overhead,
        method=one.method,  # type: ignore[arg-type]
        pieces=one.pieces,
        transfer_ps=tuple(transfers[layer].duration if layer in transfers else 0 for layer in range(model.n_layers)),
    )
    return made


def price_storage(cost: CostModel, model: ModelSpec, lanes: int) -> StoragePlan:
    """Storage with the reads of one expert by layer."""
    sizes: list[tuple[int, ...]] = []
    ends: list[tuple[int, ...]] = []
    durations: dict[int, tuple[int, ...]] = {}
    for layer in range(model.n_layers):
        if not model.is_moe(layer):
            sizes.append(())
            ends.append(())
            continue
        reads = cost.storage_reads(layer)
        sizes.append(tuple(read.moved for read in reads.reads))
        ends.append(tuple(read.end for read in reads.reads))
        durations |= {int(size): tuple(int(t) for t in row) for size, row in reads.by_size.items()}
    return StoragePlan(lanes=lanes, read_sizes=tuple(sizes), read_ends=tuple(ends), read_ps=durations)
