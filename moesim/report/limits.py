"""What no run of this version models, so that a reader does not take silence for a claim."""

from __future__ import annotations

from typing import Final

__all__ = ["NOT_MODELED"]

NOT_MODELED: Final = (
    "Numerical results: precision and routing are inputs, so output quality is not predicted.",
    "Contention inside the accelerator: copies that arrive in its memory do not slow the kernels that read it.",
    "Unpacking of quantized weights: they move at their stored size, and turning them into numbers takes no time.",
    "Pageable host memory: copies run at the rate of pinned memory.",
    "Other users of the host: the operating system, page cache and other programs take no memory bandwidth.",
    "Changing clocks: no heat, no power limit; every rate holds for the whole run.",
    "Several accelerators, experts computed on the CPU, requests that arrive over time.",
    "Sampling, tokenization and the network to a client.",
)
