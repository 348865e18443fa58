"""The `weights` and `kv_cache` fields: which format each class of tensors is stored in."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from moesim.model.encoding import Encoding
from moesim.model.formats import FORMATS, KV_BITS, Format, bits_per_weight
from moesim.model.gguf import Where

__all__ = ["FormatRef", "KvRef", "SizedFormat", "Weights", "kv_bits"]

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class SizedFormat(BaseModel):
    """A format of which only the size is known: ``{bits_per_weight: 4.85}``."""

    model_config = _STRICT

    bits_per_weight: Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)]

    @property
    def bits(self) -> Fraction:
        """The number as written in decimal, not its nearest binary float."""
        return Fraction(str(self.bits_per_weight))


def _which(value: Any) -> str:
    return "<sized>" if isinstance(value, (dict, SizedFormat)) else "<named>"


# Tags in <> are taken out of the dotted names of faults.
FormatRef = Annotated[
    Annotated[Literal["bf16", "fp16", "fp8", "int8", "int4-g128", "mxfp4", "q4_k_m", "q8_0"], Tag("<named>")]
    | Annotated[SizedFormat, Tag("<sized>")],
    Discriminator(_which),
]
KvRef = Annotated[
    Annotated[Literal["bf16", "fp16", "fp8", "int8", "q8_0"], Tag("<named>")] | Annotated[SizedFormat, Tag("<sized>")],
    Discriminator(_which),
]


def _format(ref: str | SizedFormat) -> Format:
    return bits_per_weight(ref.bits) if isinstance(ref, SizedFormat) else FORMATS[ref]


def kv_bits(ref: str | SizedFormat) -> Fraction:
    """Bits of one stored key or value element."""
    return ref.bits if isinstance(ref, SizedFormat) else KV_BITS[ref]


class Weights(BaseModel):
    """Format per tensor class; a class that is not named has the default (and see `Format.leaves`)."""

    model_config = _STRICT

    default: FormatRef
    experts: FormatRef | None = None
    attention: FormatRef | None = None
    router: FormatRef | None = None
    shared: FormatRef | None = None
    dense: FormatRef | None = None
    embedding: FormatRef | None = None
    head: FormatRef | None = None

    def format(self, tensor_class: str) -> Format:
        """The format of a class ("norm" has the default). Raises KeyError on a class that does not exist."""
        if tensor_class == "norm":
            return _format(self.default)
        if tensor_class not in type(self).model_fields:
            raise KeyError(tensor_class)
        return _format(getattr(self, tensor_class) or self.default)

    def encoding(self, tensor_class: str, role: str, cols: int, where: Where) -> Encoding:
        """The encoding of one tensor of a class (see `Format.encoding`)."""
        named = getattr(self, tensor_class, None) is not None
        return self.format(tensor_class).encoding(tensor_class, role, cols, where, named=named)
