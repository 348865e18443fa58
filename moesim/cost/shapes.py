"""A model's layers as the cost functions take them: widths, stored bytes, and the arithmetic of each tensor class."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from moesim.core.ticks import ceil_div
from moesim.cost.attention import AttentionShape
from moesim.cost.experts import FfnShape, LinearShape
from moesim.model.encoding import BF16
from moesim.model.spec import ModelSpec
from moesim.model.tensors import Tensor

__all__ = ["LayerShape", "head_shape", "layer_shapes", "substitutions"]


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer; equal layers compare equal, so that they can share tables."""

    attention: AttentionShape
    router: LinearShape | None = None
    experts: FfnShape | None = None
    shared: FfnShape | None = None
    dense: FfnShape | None = None


def _layer(model: ModelSpec, index: int, supported: Collection[str]) -> LayerShape:
    layer, d = model.layers[index], model.d_model
    attention = AttentionShape(
        d_model=d,
        n_heads=model.n_heads,
        n_kv_heads=model.n_kv_heads,
        head_dim=model.head_dim,
        window=layer.window,
        weight_bytes=model.attention_bytes(index) + model.norm_bytes(index),
        kv_bytes_per_token=model.kv_bytes_per_token(index),
        embedding_row_bytes=ceil_div(model.embedding_bytes(), model.vocab_size) if index == 0 else 0,
        dtype=model.compute_dtype("attention", supported, index),
        # scores are 16-bit arithmetic whatever the cache stores: stored keys are converted as they are read
        kv_dtype=BF16.compute_dtype(supported),
    )

    def ffn(tensor_class: str, width: int, n_matrices: int, weight_bytes: int) -> FfnShape:
        dtype = model.compute_dtype(tensor_class, supported, index)
        return FfnShape(d_model=d, d_inner=width, n_matrices=n_matrices, weight_bytes=weight_bytes, dtype=dtype)

    moe = layer.moe
    if moe is None:
        dense = ffn("dense", layer.d_ff, 3, model.dense_bytes(index)) if layer.d_ff else None
        return LayerShape(attention=attention, dense=dense)
    wide = moe.n_shared * moe.d_shared
    return LayerShape(
        attention=attention,
        router=LinearShape(
            d_in=d,
            d_out=moe.n_experts,
            weight_bytes=model.router_bytes(index),
            dtype=model.compute_dtype("router", supported, index),
        ),
        experts=ffn("experts", moe.d_expert, moe.n_matrices, model.expert_bytes(index)),
        shared=ffn("shared", wide, moe.n_matrices, model.shared_bytes(index)) if wide else None,
    )


def layer_shapes(model: ModelSpec, supported: Collection[str]) -> tuple[LayerShape, ...]:
    """All layers. `supported`: data types of the accelerator. Raises InputError if a format can run in none of them."""
    return tuple(_layer(model, index, supported) for index in range(model.n_layers))


def head_shape(model: ModelSpec, supported: Collection[str]) -> LinearShape:
    """The output head, with the last norm."""
    return LinearShape(
        d_in=model.d_model,
        d_out=model.vocab_size,
        weight_bytes=model.head_bytes() + model.final_norm_bytes(),
        dtype=model.compute_dtype("head", supported),
    )


def substitutions(model: ModelSpec, supported: Collection[str]) -> tuple[str, ...]:
    """One line for each tensor class whose first choice of arithmetic the accelerator lacks, sorted by class."""
    found: dict[str, str] = {}

    def check(tensor_class: str, made: tuple[Tensor, ...], index: int) -> None:
        if made and tensor_class not in found:
            encoding = model.encoding(tensor_class, made[0], index)
            first, used = encoding.compute[0], encoding.compute_dtype(supported)
            if first != used:
                found[tensor_class] = (
                    f"{tensor_class}: {encoding.name} weights are multiplied in {used}: the accelerator has no {first}"
                )

    for index in range(model.n_layers):
        check("attention", model.attention_tensors(), index)
        check("router", model.router_tensors(index), index)
        check("experts", model.expert_tensors(index), index)
        check("shared", model.shared_tensors(index), index)
        check("dense", model.dense_tensors(index), index)
    check("head", (Tensor("head", model.vocab_size, model.d_model),), 0)
    return tuple(found[name] for name in sorted(found))
