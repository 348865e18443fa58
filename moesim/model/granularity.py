"""Granularity: the experts of a model cut into finer ones, or merged into coarser ones.

split(spec, G) has G N experts of width f / G, of which a token takes G k: the same expert parameters, the same expert
FLOPs per token, the same expert bytes up to padding (rows shorter than a block are filled up, or fall back to a
smaller block). G may be 1/2, 1/4, ... (merging). What grows with G is what really grows in such a model: the router's
rows, one output bias per expert where there are biases. Shared experts stay as they are.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from moesim.errors import Fault, InputError
from moesim.model.spec import LayerSpec, ModelSpec

__all__ = ["allowed_granularities", "split"]

FIELD = "model.granularity"


def allowed_granularities(spec: ModelSpec) -> tuple[Fraction, ...]:
    """Every G for which G N, G k and f / G are whole numbers in every layer, in ascending order.

    In lowest terms G = a / b needs a to divide f and b to divide both N and k.
    """
    moes = [layer.moe for layer in spec.layers if layer.moe]
    widths = gcd(*(moe.d_expert for moe in moes))
    counts = gcd(*(n for moe in moes for n in (moe.n_experts, moe.top_k)))
    found = {Fraction(a, b) for a in _divisors(widths) for b in _divisors(counts)}
    return tuple(sorted(g for g in found if widths % g.numerator == 0 and counts % g.denominator == 0))


def split(spec: ModelSpec, granularity: Fraction) -> ModelSpec:
    """The model with G times as many experts, each 1 / G as wide, G times as many of them per token.

    An expert size given in bytes is divided by G and rounded up. Splitting a split model multiplies the granularities.
    Raises InputError (field model.granularity) where the result would not be whole, listing the values allowed.
    """
    if granularity == 1:
        return spec
    allowed = allowed_granularities(spec)
    if granularity not in allowed:
        moe = next(layer.moe for layer in spec.layers if layer.moe)
        near = min(allowed, key=lambda g: (abs(g - granularity), g))
        raise InputError(
            Fault(
                message=f"{moe.n_experts} experts of width {moe.d_expert}, {moe.top_k} per token, do not divide so",
                field=FIELD,
                got=str(granularity),
                allowed=_listed(allowed),
                nearest=str(near),
            )
        )
    source = spec.expert_bytes_source
    return spec.model_copy(
        update={
            "layers": tuple(_split_layer(layer, granularity) for layer in spec.layers),
            "granularity": spec.granularity * granularity,
            "expert_bytes_source": f"{source}, divided by granularity {granularity}" if source else "",
        }
    )


def _split_layer(layer: LayerSpec, granularity: Fraction) -> LayerSpec:
    if layer.moe is None:
        return layer
    moe = layer.moe
    finer = {
        "n_experts": int(moe.n_experts * granularity),
        "top_k": int(moe.top_k * granularity),
        "d_expert": int(moe.d_expert / granularity),
    }
    given = layer.expert_bytes
    size = None if given is None else -(-given * granularity.denominator // granularity.numerator)
    return layer.model_copy(update={"moe": moe.model_copy(update=finer), "expert_bytes": size})


def _divisors(n: int) -> list[int]:
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def _listed(values: tuple[Fraction, ...]) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 40 else f"{', '.join(shown[:39])}, ... {shown[-1]}"
