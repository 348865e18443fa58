"""A model as the simulator sees it: layers and experts, and from them parameters and bytes per layer and tensor class.

Layers count from 0 over the whole model; a layer has routed experts (`moe`) or one dense network (`d_ff`). All byte
counts are whole bytes and include scales, padding to whole blocks, biases and norms. Left out: rotary tables,
tokenizer, activations.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, PlainSerializer

from moesim.errors import Fault, InputError
from moesim.model import tensors
from moesim.model.encoding import Encoding
from moesim.model.gguf import Where
from moesim.model.tensors import Tensor
from moesim.model.weights import KvRef, Weights, kv_bits

__all__ = ["Count", "LayerSpec", "MoE", "ModelSpec", "Source"]

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
Count = Annotated[int, Field(ge=1, le=2**40)]
Granularity = Annotated[InstanceOf[Fraction], PlainSerializer(str)]


class Source(BaseModel):
    """Where a figure comes from; `date` is that of the publication."""

    model_config = _STRICT

    title: str
    url: str
    date: Annotated[str, Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]


class MoE(BaseModel):
    """The routed (and shared) experts of one layer.

    n_experts, top_k   routed experts and how many a token takes
    d_expert           width of one expert
    n_shared, d_shared experts that every token takes, and the width of one
    n_matrices         3 for gated networks (gate, up, down), 2 for plain ones
    expert_bias, router_bias   whether they have bias vectors
    """

    model_config = _STRICT

    n_experts: Count
    top_k: Count
    d_expert: Count
    n_shared: Annotated[int, Field(ge=0)] = 0
    d_shared: Annotated[int, Field(ge=0)] = 0
    n_matrices: Literal[2, 3] = 3
    expert_bias: bool = False
    router_bias: bool = False


class LayerSpec(BaseModel):
    """One layer. `window`: how many tokens attention looks back, None for all. `expert_bytes`: one expert's size as
    given, in place of what the format says (`ModelSpec.expert_bytes_source` says by whom).
    """

    model_config = _STRICT

    window: Count | None = None
    moe: MoE | None = None
    d_ff: Count | None = None
    expert_bytes: Count | None = None


class ModelSpec(BaseModel):
    """A mixture-of-experts transformer with grouped-query attention.

    d_model d, n_heads h, n_kv_heads g, head_dim dh, vocab_size V; `granularity` G says how often the experts of the
    published model were split (`moesim.model.granularity`), so that layer.moe.n_experts = G times the published
    number.
    """

    model_config = _STRICT

    name: str
    title: str = ""
    d_model: Count
    n_heads: Count
    n_kv_heads: Count
    head_dim: Count
    vocab_size: Count
    tie_embeddings: bool
    attention_bias: bool = False
    qk_norm: bool = False
    attention_sinks: bool = False
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1)]
    weights: Weights
    kv_cache: KvRef
    granularity: Granularity = Fraction(1)
    expert_bytes_source: str = ""
    sources: dict[str, Source] = {}

    # --- shape ---

    @property
    def n_layers(self) -> int:
        """Layers, dense ones included."""
        return len(self.layers)

    def is_moe(self, layer: int) -> bool:
        """Whether the layer has routed experts."""
        return self.layers[layer].moe is not None

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Indices of the layers with routed experts: row i of a routing trace is layer moe_layers[i]."""
        return tuple(index for index, layer in enumerate(self.layers) if layer.moe is not None)

    @property
    def n_experts(self) -> int:
        """The largest number of routed experts in a layer (0 without any)."""
        return max((layer.moe.n_experts for layer in self.layers if layer.moe), default=0)

    @property
    def top_k(self) -> int:
        """The largest number of routed experts a token takes in a layer (0 without any)."""
        return max((layer.moe.top_k for layer in self.layers if layer.moe), default=0)

    # --- tensors ---

    def attention_tensors(self) -> tuple[Tensor, ...]:
        """Attention matrices of a layer (all layers have the same)."""
        return tensors.attention(
            d_model=self.d_model, n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, head_dim=self.head_dim,
            bias=self.attention_bias, qk_norm=self.qk_norm, sinks=self.attention_sinks,
        )  # fmt: skip

    def expert_tensors(self, layer: int) -> tuple[Tensor, ...]:
        """One routed expert of the layer; empty in a dense layer."""
        moe = self.layers[layer].moe
        if moe is None:
            return ()
        return tensors.ffn(d_model=self.d_model, width=moe.d_expert, n_matrices=moe.n_matrices, bias=moe.expert_bias)

    def shared_tensors(self, layer: int) -> tuple[Tensor, ...]:
        """All shared experts of the layer as the one wide network that checkpoints store."""
        moe = self.layers[layer].moe
        if moe is None or not moe.n_shared:
            return ()
        return tensors.ffn(d_model=self.d_model, width=moe.n_shared * moe.d_shared, n_matrices=moe.n_matrices)

    def router_tensors(self, layer: int) -> tuple[Tensor, ...]:
        """The router of the layer; empty in a dense layer."""
        moe = self.layers[layer].moe
        return tensors.router(d_model=self.d_model, n_experts=moe.n_experts, bias=moe.router_bias) if moe else ()

    def dense_tensors(self, layer: int) -> tuple[Tensor, ...]:
        """The dense network of the layer; empty in a layer with experts."""
        width = self.layers[layer].d_ff
        return tensors.ffn(d_model=self.d_model, width=width, n_matrices=3) if width else ()

    def norm_tensors(self) -> tuple[Tensor, ...]:
        """The two norms of a layer, before attention and before the experts."""
        return (tensors.vector(self.d_model),) * 2

    def _end_tensor(self, role: str) -> Tensor:
        """The token embedding or the output head."""
        return Tensor(role, self.vocab_size, self.d_model)

    # --- bytes ---

    def encoding(self, tensor_class: str, tensor: Tensor, layer: int = 0) -> Encoding:
        """How a tensor is stored. Classes: experts, attention, router, shared, dense, embedding, head, norm."""
        # The mixes look at the published model: splitting its experts must not change its attention bytes.
        published = int(self.n_experts / self.granularity)
        where = Where(layer=layer, n_layers=self.n_layers, n_experts=published, tied=self.tie_embeddings)
        return self.weights.encoding(tensor_class, tensor.role, tensor.cols, where)

    def _bytes(self, tensor_class: str, made: Sequence[Tensor], layer: int = 0) -> int:
        return sum(self.encoding(tensor_class, one, layer).tensor_bytes(one.rows, one.cols) for one in made)

    def expert_bytes(self, layer: int) -> int:
        """Bytes of one routed expert of the layer: as given, else by format. 0 in a dense layer."""
        given = self.layers[layer].expert_bytes
        return given if given is not None else self._bytes("experts", self.expert_tensors(layer), layer)

    def attention_bytes(self, layer: int) -> int:
        """Bytes of the attention weights of the layer, biases, q and k norms and sinks included."""
        return self._bytes("attention", self.attention_tensors(), layer)

    def router_bytes(self, layer: int) -> int:
        """Bytes of the router of the layer."""
        return self._bytes("router", self.router_tensors(layer), layer)

    def shared_bytes(self, layer: int) -> int:
        """Bytes of the shared experts of the layer, all of them."""
        return self._bytes("shared", self.shared_tensors(layer), layer)

    def dense_bytes(self, layer: int) -> int:
        """Bytes of the dense network of the layer."""
        return self._bytes("dense", self.dense_tensors(layer), layer)

    def norm_bytes(self, layer: int = 0) -> int:
        """Bytes of the two norms of a layer."""
        return self._bytes("norm", self.norm_tensors(), layer)

    def final_norm_bytes(self) -> int:
        """Bytes of the norm before the head."""
        return self._bytes("norm", (tensors.vector(self.d_model),))

    def embedding_bytes(self) -> int:
        """Bytes of the token embedding."""
        return self._bytes("embedding", (self._end_tensor("embedding"),))

    def head_bytes(self) -> int:
        """Bytes that the output head reads: its own, or the embedding's if they are one."""
        if self.tie_embeddings:
            return self.embedding_bytes()
        return self._bytes("head", (self._end_tensor("head"),))

    def layer_resident_bytes(self, layer: int) -> int:
        """Bytes of the layer that are not routed experts."""
        return (
            self.attention_bytes(layer) + self.router_bytes(layer) + self.shared_bytes(layer) + self.dense_bytes(layer)
            + self.norm_bytes(layer)
        )  # fmt: skip

    def resident_bytes(self) -> int:
        """Everything that is not a routed expert; a tied embedding counts once."""
        ends = self.embedding_bytes() + self.final_norm_bytes() + (0 if self.tie_embeddings else self.head_bytes())
        return ends + sum(self.layer_resident_bytes(layer) for layer in range(self.n_layers))

    def routed_bytes(self) -> int:
        """All routed experts of all layers."""
        return sum(layer.moe.n_experts * self.expert_bytes(i) for i, layer in enumerate(self.layers) if layer.moe)

    def kv_bytes_per_token(self, layer: int) -> int:
        """Bytes that one token adds to the KV cache of the layer: ceil(2 g dh bits / 8)."""
        self.layers[layer]  # IndexError on a layer that does not exist
        bits = 2 * self.n_kv_heads * self.head_dim * kv_bits(self.kv_cache)
        return -(-bits.numerator // (8 * bits.denominator))

    def kv_bytes(self, tokens: int) -> int:
        """KV cache of one sequence of `tokens`, all layers; a sliding window keeps its last `window` tokens only."""
        kept = (min(tokens, layer.window or tokens) for layer in self.layers)
        return sum(self.kv_bytes_per_token(index) * n for index, n in enumerate(kept))

    # --- arithmetic ---

    def compute_dtype(self, tensor_class: str, supported: Collection[str], layer: int = 0) -> str:
        """Arithmetic that the matrices of a class run in on hardware that has `supported` (see
        Encoding.compute_dtype).
        """
        return self.encoding(tensor_class, self._matrix(tensor_class, layer), layer).compute_dtype(supported)

    def dequantizes(self, tensor_class: str, supported: Collection[str], layer: int = 0) -> bool:
        """Whether the matrices of a class are unpacked or converted before the multiply."""
        return self.encoding(tensor_class, self._matrix(tensor_class, layer), layer).dequantizes(supported)

    def _matrix(self, tensor_class: str, layer: int) -> Tensor:
        """The first matrix of a class: those of one class run in the same arithmetic in every format."""
        if tensor_class in ("embedding", "head"):
            return self._end_tensor(tensor_class)
        if tensor_class == "attention":
            return self.attention_tensors()[0]
        made = {
            "experts": self.expert_tensors,
            "router": self.router_tensors,
            "shared": self.shared_tensors,
            "dense": self.dense_tensors,
        }[tensor_class](layer)
        # A class that this layer does not have gets a stand-in, so that callers need not ask first.
        return made[0] if made else Tensor("up", self.d_model, self.d_model)

    # --- parameters ---

    def expert_params(self, layer: int) -> int:
        """Parameters of one routed expert of the layer."""
        return tensors.params(self.expert_tensors(layer))

    def params(self) -> int:
        """All parameters; a tied embedding counts once."""
        total = self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2) + self.d_model
        for index, layer in enumerate(self.layers):
            total += sum(
                tensors.params(part)
                for part in (
                    self.attention_tensors(), self.router_tensors(index), self.shared_tensors(index),
                    self.dense_tensors(index), self.norm_tensors(),
                )
            )  # fmt: skip
            total += layer.moe.n_experts * self.expert_params(index) if layer.moe else 0
        return total

    def active_params(self, *, embedding: bool = True) -> int:
        """Parameters that one token uses. Publishers differ on the embedding table, of which a token reads one row:
        Mixtral and Qwen3 count it, gpt-oss does not (`embedding=False`).
        """
        idle = sum(
            (layer.moe.n_experts - layer.moe.top_k) * self.expert_params(i)
            for i, layer in enumerate(self.layers)
            if layer.moe
        )
        table = 0 if embedding or self.tie_embeddings else self.vocab_size * self.d_model
        return self.params() - idle - table

    # --- variants ---

    def with_top_k(self, top_k: int) -> Self:
        """The same model with another number of experts per token.

        Raises InputError (field model.top_k) below 1 or above the number of experts of a layer.
        """
        fewest = min((layer.moe.n_experts for layer in self.layers if layer.moe), default=0)
        if not 1 <= top_k <= fewest:
            raise InputError(Fault(field="model.top_k", got=top_k, allowed=f"1 to {fewest}, the number of experts"))
        return self._with_layers(
            [
                layer.model_copy(update={"moe": layer.moe.model_copy(update={"top_k": top_k})}) if layer.moe else layer
                for layer in self.layers
            ]
        )

    def with_expert_bytes(self, sizes: Sequence[int], source: str) -> Self:
        """The same model with the size of one expert given per layer with experts (a recording's header), and by whom.

        Raises InputError (field model.expert_bytes) unless there is one positive size per such layer.
        """
        if len(sizes) != len(self.moe_layers) or any(size < 1 for size in sizes):
            raise InputError(
                Fault(
                    field="model.expert_bytes",
                    got=f"{len(sizes)} sizes from {source}",
                    allowed=f"{len(self.moe_layers)} positive sizes, one per layer with experts",
                )
            )
        given = dict(zip(self.moe_layers, sizes, strict=True))
        changed = [layer.model_copy(update={"expert_bytes": given.get(i)}) for i, layer in enumerate(self.layers)]
        return self._with_layers(changed).model_copy(update={"expert_bytes_source": source})

    def _with_layers(self, layers: Sequence[LayerSpec]) -> Self:
        return self.model_copy(update={"layers": tuple(layers)})
