"""The model that is executed: experts in host memory, real gated FFN mathematics, and some attention between layers.

For x [B, d] (tokens of a step; B sequences decode together), at each layer:

    x <- x + softmax(norm(x) Wq K^T / sqrt(d)) K              attention over a fixed context K [C, d]
    router scores norm(x) Wr are computed, and their ids read by the host; the *trace* says which experts run
    x <- x + sum over the set of mask[e] * (silu(h G_e^T) * (h U_e^T)) D_e,   h = norm(x)

norm(x) = x / sqrt(mean(x^2) + 1e-6); G_e, U_e, D_e are [f, d]; mask[e, b] = 1/k if token b picked expert e, else 0. All
tokens pass through every expert of the set: with B <= 4 rows an expert's time is that of reading its weights. The
outputs of the experts are kept by place in the set and summed in that order, so that the result does not depend on the
order in which experts run.

Granularity G turns N experts of width f, k for each token, into N*G experts of width f/G, k*G for each token: the same
bytes of weights in all and for each token (up to shared picks).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from moesim.routing.trace import RoutingTrace

__all__ = ["Model", "Sizes"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model by its sizes, at one granularity.

    layers L, n_experts N, top_k k, d_model d, d_expert f (width of one expert), context C; dtype by torch's name.
    """

    layers: int
    n_experts: int
    top_k: int
    d_model: int
    d_expert: int
    context: int
    dtype: str

    @property
    def item(self) -> int:
        """Bytes of one number."""
        return {"float64": 8, "float32": 4}.get(self.dtype, 2)

    @property
    def expert_bytes(self) -> int:
        """Bytes of one expert: three matrices [f, d]."""
        return 3 * self.d_model * self.d_expert * self.item

    @property
    def total_bytes(self) -> int:
        """Bytes of all experts: the same at every granularity."""
        return self.layers * self.n_experts * self.expert_bytes

    def finer(self, granularity: int) -> Sizes:
        """The same bytes in N*G experts of width f/G, k*G for each token; ValueError if f is no multiple of G."""
        if granularity < 1 or self.d_expert % granularity:
            raise ValueError(f"granularity {granularity} does not divide experts of width {self.d_expert}")
        changed = {"n_experts": self.n_experts * granularity, "top_k": self.top_k * granularity}
        return Sizes(**{**asdict(self), **changed, "d_expert": self.d_expert // granularity})


class Model:
    """Weights of one model. `experts` [L, N, 3, f, d] are in host memory, everything else is on the device.

    `random(shape, dtype, where, scale)` makes tensors of normal numbers (`Context.random`); `pin` page-locks a host
    tensor, or is None where that means nothing.
    """

    def __init__(self, torch: Any, sizes: Sizes, random: Any, pin: Any = None) -> None:
        self.torch, self.sizes = torch, sizes
        layers, d = sizes.layers, sizes.d_model
        scale = d**-0.5
        experts = random((layers, sizes.n_experts, 3, sizes.d_expert, d), sizes.dtype, "host", scale)
        self.experts = experts if pin is None else pin(experts)
        self.query = random((layers, d, d), sizes.dtype, "device", scale)
        self.context = random((layers, sizes.context, d), sizes.dtype, "device", 1.0)
        self.gate = random((layers, d, sizes.n_experts), sizes.dtype, "device", scale)

    @property
    def device(self) -> Any:
        """Where the device weights are."""
        return self.query.device

    def norm(self, x: Any) -> Any:
        """x / sqrt(mean(x^2) + 1e-6) over the last axis."""
        return x * self.torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)

    def attend(self, x: Any, query: Any, context: Any) -> Any:
        """x [B, d] after attention with Wq [d, d] over K [C, d]."""
        scores = (self.norm(x) @ query) @ context.T / math.sqrt(x.shape[-1])
        return x + self.torch.softmax(scores, -1) @ context

    def front(self, x: Any, layer: int) -> tuple[Any, Any, Any]:
        """Up to the lookup: (x, h = norm(x), the router's ids [B, k] on the device)."""
        x = self.attend(x, self.query[layer], self.context[layer])
        h = self.norm(x)
        return x, h, self.torch.topk(h @ self.gate[layer], self.sizes.top_k).indices

    def expert(self, h: Any, weights: Any) -> Any:
        """Gated FFN of h [B, d] with weights [3, f, d]: 6 B f d flops."""
        # gate and up lie side by side: one product for both
        gate, up = (h @ weights[:2].flatten(0, 1).T).chunk(2, -1)
        return (self.torch.nn.functional.silu(gate) * up) @ weights[2]

    def masks(self, trace: RoutingTrace) -> Any:
        """mask [S, L, N, B, 1] on the device: 1/k where token b of step s picked the expert, else 0."""
        torch, sizes = self.torch, self.sizes
        batch, k = trace.n_sequences, trace.top_k
        picks = torch.from_numpy(trace.experts.reshape(batch, -1, sizes.layers, k).astype("int64"))
        picks = picks.permute(1, 2, 3, 0)  # [S, L, k, B]
        mask = torch.zeros((picks.shape[0], sizes.layers, sizes.n_experts, batch), dtype=torch.float64)
        mask.scatter_(2, picks, 1 / k)
        return mask.to(getattr(torch, sizes.dtype)).to(self.device)[..., None]

    def resident(self, sets: Any, masks: Any, inputs: Any) -> Any:
        """All steps with every expert on the device: outputs [S, B, d] for inputs [S, B, d].

        `sets(step, layer)` gives the experts in the order of their places.
        """
        experts = self.experts.to(self.device)
        outputs = self.torch.empty_like(inputs)
        for step in range(len(inputs)):
            x = inputs[step]
            for layer in range(self.sizes.layers):
                x, h, _ = self.front(x, layer)
                mask = masks[step, layer]
                x = x + self.torch.stack([self.expert(h, experts[layer, e]) * mask[e] for e in sets(step, layer)]).sum(
                    0
                )
            outputs[step] = x
        return outputs

    def reference(self, sets: Any, masks: Any, inputs: Any) -> Any:
        """`resident` in float64 on the host, from the same weights: what rounding is measured against."""
        torch = self.torch
        outputs = []
        query, context, masks = (t.to("cpu", torch.float64) for t in (self.query, self.context, masks))
        for step, x in enumerate(inputs.to("cpu", torch.float64)):
            for layer in range(self.sizes.layers):
                x = self.attend(x, query[layer], context[layer])  # noqa: PLW2901
                h = self.norm(x)
                added = torch.zeros_like(x)
                for e in sets(step, layer):
                    added += self.expert(h, self.experts[layer, e].to(torch.float64)) * masks[step, layer, e]
                x = x + added  # noqa: PLW2901
            outputs.append(x)
        return torch.stack(outputs)
