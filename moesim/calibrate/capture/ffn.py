"""Gated FFN of routed experts, in the ways engines run it, and its float64 reference.

out_i = W2_e (silu(W1_e x_i) * W3_e x_i), e the expert of row i. Rows are sorted by expert, equally many for each.
Weights: w1, w3 [E, f, d], w2 [E, d, f]; x [T, d]. FLOPs of T rows: 6 T d f (activation left out).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moesim.calibrate.capture.context import Context
from moesim.calibrate.capture.rows import Unsupported

__all__ = ["METHODS", "Weights", "draw", "gathered", "grouped", "looped", "padded", "reference", "scaled"]


@dataclass(frozen=True)
class Weights:
    """Some experts' matrices: w1, w3 [E, f, d], w2 [E, d, f]."""

    w1: Any
    w3: Any
    w2: Any

    def __len__(self) -> int:
        return len(self.w1)

    def part(self, start: int, stop: int) -> Weights:
        """Views of some of the experts."""
        return Weights(self.w1[start:stop], self.w3[start:stop], self.w2[start:stop])


def draw(ctx: Context, experts: int, d_model: int, d_expert: int, dtype: str, where: str = "device") -> Weights:
    """Random experts whose outputs are of the order of their inputs."""
    wide, narrow = (experts, d_expert, d_model), (experts, d_model, d_expert)
    return Weights(
        ctx.random(wide, dtype, where, d_model**-0.5),
        ctx.random(wide, dtype, where, d_model**-0.5),
        ctx.random(narrow, dtype, where, d_expert**-0.5),
    )


def looped(torch: Any, x: Any, w: Weights) -> Any:
    """Expert by expert, three products each."""
    each = len(x) // len(w)
    silu, parts = torch.nn.functional.silu, []
    for e in range(len(w)):
        rows = x[e * each : (e + 1) * each]
        parts.append((silu(rows @ w.w1[e].t()) * (rows @ w.w3[e].t())) @ w.w2[e].t())
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def padded(torch: Any, x: Any, w: Weights) -> Any:
    """One batched product over all experts (rows are equally many, so nothing is padded)."""
    rows = x.view(len(w), -1, x.shape[-1])
    hidden = torch.nn.functional.silu(torch.bmm(rows, w.w1.transpose(1, 2))) * torch.bmm(rows, w.w3.transpose(1, 2))
    return torch.bmm(hidden, w.w2.transpose(1, 2)).view(x.shape)


def grouped(torch: Any, x: Any, w: Weights) -> Any:
    """torch's grouped GEMM; Unsupported where it has none."""
    product = getattr(torch.nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    if product is None:
        raise Unsupported("this torch has no grouped GEMM")
    each = len(x) // len(w)
    ends = torch.arange(each, len(x) + 1, each, dtype=torch.int32, device=x.device)
    gate = torch.nn.functional.silu(product(x, w.w1.transpose(1, 2), offs=ends))
    return product(gate * product(x, w.w3.transpose(1, 2), offs=ends), w.w2.transpose(1, 2), offs=ends)


def gathered(torch: Any, x: Any, w: Weights) -> Any:
    """Each row brings its own copy of its expert's matrices: few rows, many experts."""
    each = len(x) // len(w)
    ids = torch.arange(len(w), device=x.device).repeat_interleave(each)
    rows = x.unsqueeze(2)
    hidden = torch.nn.functional.silu(torch.bmm(w.w1[ids], rows)) * torch.bmm(w.w3[ids], rows)
    return torch.bmm(w.w2[ids], hidden).squeeze(2)


def scaled(torch: Any, x: Any, w: Weights) -> Any:
    """fp8 weights and activations, one scale of 1 for each tensor, products and results in bf16; looped."""
    each = len(x) // len(w)
    one = torch.ones((), dtype=torch.float32, device=x.device)
    silu, parts = torch.nn.functional.silu, []

    def product(a: Any, b: Any) -> Any:
        return torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    for e in range(len(w)):
        rows = x[e * each : (e + 1) * each]
        hidden = (silu(product(rows, w.w1[e])) * product(rows, w.w3[e])).to(x.dtype)
        parts.append(product(hidden, w.w2[e]))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


METHODS: dict[str, Callable[[Any, Any, Weights], Any]] = {
    "looped": looped,
    "batched": padded,
    "grouped": grouped,
    "gathered": gathered,
    "scaled": scaled,
}


def reference(torch: Any, x: Any, w: Weights, rows: list[int]) -> Any:
    """The right output of some rows, in float64, [len(rows), d]."""
    each = len(x) // len(w)
    out = []
    for i in rows:
        row = x[i].to(torch.float64)
        e = i // each
        hidden = torch.nn.functional.silu(w.w1[e].to(torch.float64) @ row) * (w.w3[e].to(torch.float64) @ row)
        out.append(w.w2[e].to(torch.float64) @ hidden)
    return torch.stack(out)
