"""From a recorded trace to the sets that a run of it looks up: prefill as one batched pass, then token by token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesim.routing.sets import distinct_sets
from moesim.routing.trace import RoutingTrace

__all__ = ["StepSets", "step_sets"]


@dataclass(frozen=True)
class StepSets:
    """Sets of S steps; row = step * L + layer."""

    set_ptr: NDArray[np.int64]
    set_expert: NDArray[np.int32]
    set_touch: NDArray[np.int32]
    batch: list[int]
    """[S] the sequence of each step."""
    prefill: NDArray[np.bool_]
    """[S]"""


def step_sets(trace: RoutingTrace) -> StepSets:
    """All sequences one after another, batch 1."""
    layers, k = trace.n_layers, trace.top_k
    step_of_token = np.zeros(trace.n_tokens, dtype=np.int64)
    batch: list[int] = []
    prefill: list[bool] = []
    for s in range(trace.n_sequences):
        lo, hi = int(trace.sequence_ptr[s]), int(trace.sequence_ptr[s + 1])
        prompt = int(trace.prompt_tokens[s])
        sizes = [prompt] * (prompt > 0) + [1] * (hi - lo - prompt)
        step_of_token[lo:hi] = len(batch) + np.repeat(np.arange(len(sizes)), sizes)
        batch += [s] * len(sizes)
        prefill += [prompt > 0, *[False] * (len(sizes) - 1)][: len(sizes)]
    row = (step_of_token[:, None] * layers + np.arange(layers)).ravel()
    order = np.argsort(row, kind="stable")
    picks = trace.experts.reshape(-1, k)[order].ravel()
    ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(batch) * layers))]) * k
    sets = distinct_sets(picks, None, ptr.astype(np.int64))
    return StepSets(sets.set_ptr, sets.set_expert, sets.set_touch, batch, np.array(prefill))
