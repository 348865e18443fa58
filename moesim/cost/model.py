"""The price of every operation of a run: the only entry point of this package for the rest of moesim.

Which operation holds what, so that nothing is counted twice (launches: moesim.cost.launch):

  attention  both norms of the layer, QKV and output projections, scores, keys and values read and written; in layer 0
             also the embedding rows of the tokens
  router     the router's GEMM
  experts    one group of routed experts, priced by token-expert pairs and distinct experts
  shared     all shared experts of a layer, as one network
  dense      the dense network of a layer without experts
  head       the last norm and the output head, for the tokens whose logits are wanted

Weights move at their stored size and are multiplied in the first of their format's arithmetics that the accelerator has
(moesim.model.formats); where that is not the format's first choice, `notes` says so. Unpacking of quantized weights is
not priced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from moesim.core.ticks import to_ticks
from moesim.cost.attention import attention_parts
from moesim.cost.control import Control, Overhead, make_overhead
from moesim.cost.experts import FfnShape, LinearShape, ffn_part, ffn_table, linear_part
from moesim.cost.explain import Term, explain_operation, explain_runtime, explain_storage, explain_transfer
from moesim.cost.prices import Prices, read_prices
from moesim.cost.roofline import NOTHING, Duration, Part, combine
from moesim.cost.shapes import LayerShape, head_shape, layer_shapes, substitutions
from moesim.cost.storage import StorageReads, make_storage_reads, split_reads
from moesim.cost.transfer import Transfer, make_transfer
from moesim.errors import Fault, InputError
from moesim.hardware.machine import Machine
from moesim.model.spec import ModelSpec

__all__ = ["CostModel"]

Chunks = Sequence[tuple[int, int]]


class CostModel:
    """Durations of one model on one machine; exact, rounded up to ticks of 1 ps.

    launch: graph | piecewise | eager, in place of the machine's own. notes: arithmetic that had to be substituted.
    Raises InputError if the accelerator has no arithmetic for a format, or for an unknown launch mode.
    """

    def __init__(self, machine: Machine, model: ModelSpec, *, launch: str | None = None) -> None:
        self._prices: Prices = read_prices(machine, launch)
        supported = self._prices.rates.peaks.keys()
        self._layers: tuple[LayerShape, ...] = layer_shapes(model, supported)
        self._head: LinearShape = head_shape(model, supported)
        self.notes: tuple[str, ...] = substitutions(model, supported)
        self._expert_classes = _classes([layer.experts for layer in self._layers])
        self._attention_classes = _classes([layer.attention for layer in self._layers])
        self._attention_known: dict[tuple[int, tuple[tuple[int, int], ...]], Duration] = {}

    # --- operations on the stream ---

    def attention(self, layer: int, tokens: int, context: int) -> Duration:
        """Attention of `tokens` new tokens of one sequence, the last of which sees `context` tokens with itself."""
        return self.attention_chunks(layer, [(tokens, context)] if tokens else [])

    def attention_batch(self, layer: int, contexts: Sequence[int]) -> Duration:
        """Attention of one decode step: one new token for each sequence; contexts count it."""
        return self.attention_chunks(layer, [(1, context) for context in contexts])

    def attention_chunks(self, layer: int, chunks: Chunks) -> Duration:
        """Attention of any mix: chunks of (new tokens, context with them). Raises ValueError on an impossible chunk."""
        key = (self._attention_classes[layer], tuple(sorted(chunks)))
        known = self._attention_known.get(key)
        if known is None:
            known = self._attention_known[key] = self._price("attention", self._attention(layer, chunks))
        return known

    def router(self, layer: int, tokens: int) -> Duration:
        """The router on `tokens` tokens; nothing in a layer without experts."""
        return self._price("router", self._linear("router", self._layers[layer].router, tokens))

    def experts(self, layer: int, pairs: int, distinct: int) -> Duration:
        """One group: `distinct` routed experts on `pairs` token-expert pairs.

        Raises ValueError unless 1 <= distinct <= pairs, or for a layer without experts.
        """
        return self._price("experts", self._experts(layer, pairs, distinct))

    def shared(self, layer: int, tokens: int) -> Duration:
        """The shared experts of a layer; nothing where there are none."""
        return self._price("shared", self._ffn("shared", self._layers[layer].shared, tokens))

    def dense(self, layer: int, tokens: int) -> Duration:
        """The dense network of a layer; nothing in a layer with experts."""
        return self._price("dense", self._ffn("dense", self._layers[layer].dense, tokens))

    def head(self, tokens: int) -> Duration:
        """The last norm and the output head for `tokens` tokens."""
        return self._price("head", self._linear("head", self._head, tokens))

    def expert_table(self, layer: int, max_pairs: int, max_distinct: int) -> NDArray[np.int64]:
        """`experts` for every group: ticks, int64 [max_pairs + 1, max_distinct + 1], by pairs and distinct experts.

        Entries without pairs, without experts, or with more experts than pairs are 0. Raises ValueError for a layer
        without experts.
        """
        shape = self._expert_shape(layer)
        return ffn_table(self._prices.rates, shape, max_pairs, max_distinct, self._prices.launch.seconds("experts"))

    # --- classes of equal layers ---

    def expert_class(self, layer: int) -> int:
        """Number of the layer's expert shape: layers of one class share `expert_table`. -1 without experts."""
        return self._expert_classes[layer]

    def attention_class(self, layer: int) -> int:
        """Number of the layer's attention shape: one class takes equal times (layer 0 reads embeddings too)."""
        return self._attention_classes[layer]

    # --- moving experts ---

    def transfer(self, layer: int) -> Transfer:
        """One expert from host memory to the accelerator; where they share their memory, method none and 0 ticks.

        Raises ValueError for a layer without experts.
        """
        prices, total = self._prices, self._expert_shape(layer).weight_bytes
        link = prices.link
        if link is None:
            return Transfer(0, 0, 0, prices.pieces, "none", total)
        return make_transfer(
            total,
            pieces=prices.pieces,
            method=link.method,
            link=link.service,
            ends=(prices.host_memory, prices.rates.memory),
            t0=link.t0,
            resume=link.resume,
        )

    def storage_reads(self, layer: int) -> StorageReads:
        """The reads that bring one expert from storage, and their durations by busy lanes.

        Raises InputError (field hardware.storage) without storage; ValueError for a layer without experts.
        """
        prices, total = self._prices, self._expert_shape(layer).weight_bytes
        if prices.storage is None:
            raise InputError(Fault(field="hardware.storage", message="the machine has no storage to read experts from"))
        reads = split_reads(
            total, pieces=prices.pieces, padding=prices.read_padding, read_bytes=prices.storage.read_bytes
        )
        return make_storage_reads(reads, prices.storage.lanes, prices.host_memory)

    # --- control path ---

    def control(self) -> Control:
        """d2h_sync, lookup, issue, host_gap in ticks."""
        p = self._prices
        return Control(to_ticks(p.d2h_sync), to_ticks(p.lookup), to_ticks(p.issue), to_ticks(p.host_gap))

    def load_overhead(self, layer: int) -> Overhead:
        """What loading one expert of the layer costs beside its bytes; 0 where the machine names none."""
        return self._overhead(layer, self._prices.load_overhead)

    def evict_overhead(self, layer: int) -> Overhead:
        """What evicting one expert of the layer costs; 0 where the machine names none."""
        return self._overhead(layer, self._prices.evict_overhead)

    # --- for people ---

    def explain(self, operation: str, *args: int) -> list[Term]:
        """Lines of (term, value, source) that make up one duration.

        operation: attention | router | experts | shared | dense | head | transfer | storage_reads | load_overhead |
        evict_overhead | control, with the arguments of the method of that name. Raises KeyError for another.
        """
        if operation == "transfer":
            return explain_transfer(self._prices, self.transfer(*args))
        if operation == "storage_reads":
            return explain_storage(self._prices, self.storage_reads(*args))
        if operation in {"load_overhead", "evict_overhead", "control"}:
            return explain_runtime(self._prices, operation, getattr(self, operation)(*args))
        make: dict[str, Callable[..., list[Part]]] = {
            "attention": lambda layer, tokens, context: self._attention(layer, [(tokens, context)]),
            "router": lambda layer, tokens: self._linear("router", self._layers[layer].router, tokens),
            "experts": self._experts,
            "shared": lambda layer, tokens: self._ffn("shared", self._layers[layer].shared, tokens),
            "dense": lambda layer, tokens: self._ffn("dense", self._layers[layer].dense, tokens),
            "head": lambda tokens: self._linear("head", self._head, tokens),
        }
        return explain_operation(self._prices, operation, make[operation](*args))

    # --- parts ---

    def _price(self, operation: str, parts: Sequence[Part]) -> Duration:
        return combine(parts, self._prices.launch.seconds(operation)) if parts else NOTHING

    def _attention(self, layer: int, chunks: Chunks) -> list[Part]:
        return attention_parts(self._prices.rates, self._layers[layer].attention, chunks)

    def _experts(self, layer: int, pairs: int, distinct: int) -> list[Part]:
        return [ffn_part(self._prices.rates, self._expert_shape(layer), pairs, distinct)]

    def _ffn(self, name: str, shape: FfnShape | None, tokens: int) -> list[Part]:
        return [ffn_part(self._prices.rates, shape, tokens, 1, name)] if shape and tokens else []

    def _linear(self, name: str, shape: LinearShape | None, tokens: int) -> list[Part]:
        return [linear_part(self._prices.rates, name, tokens, shape)] if shape and tokens else []

    def _expert_shape(self, layer: int) -> FfnShape:
        shape = self._layers[layer].experts
        if shape is None:
            raise ValueError(f"layer {layer} has no routed experts")
        return shape

    def _overhead(self, layer: int, price: tuple[Fraction, Fraction]) -> Overhead:
        return make_overhead(*price, self._expert_shape(layer).weight_bytes, self._prices.overhead_on)


def _classes(shapes: Sequence[object]) -> tuple[int, ...]:
    """Numbers of equal shapes by first appearance; -1 for None."""
    seen: dict[object, int] = {}
    return tuple(-1 if shape is None else seen.setdefault(shape, len(seen)) for shape in shapes)
