"""Pin the most popular experts (Fiddler, arXiv 2402.07033, places experts on the GPU by offline popularity)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesim.errors import Fault, InputError
from moesim.policies.placement.base import PLACEMENTS, Placement

__all__ = ["PopularPlacement", "by_popularity"]


def by_popularity(popularity: NDArray[np.float64], expert_bytes: Sequence[int]) -> list[int]:
    """Ids (layer * N + expert) of all experts that exist, most popular first, ties smaller id.

    `popularity` [L, N] is below 0 where there is no expert; `expert_bytes` [L] is 0 for layers without any.
    """
    flat = np.where(np.asarray(expert_bytes)[:, None] > 0, popularity, -1.0).ravel()
    order = np.argsort(-flat, kind="stable")
    ids: list[int] = order[flat[order] >= 0].tolist()
    return ids


@PLACEMENTS.register("popular")
class PopularPlacement(Placement):
    """Over all layers, the most popular experts that fit: in order of popularity, each if the bytes left suffice.

    Changed events against `none`: lookups of pinned experts always hit; the cache has that many bytes less.
    """

    kind = "popular"

    def __init__(self, *, nbytes: int) -> None:
        if nbytes < 0:
            raise InputError(Fault(field="placement.pinned.popular", got=nbytes, allowed="0 bytes or more"))
        self._nbytes = nbytes

    def pin(self, popularity: NDArray[np.float64], expert_bytes: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(popularity.shape, dtype=np.bool_)
        left, smallest = self._nbytes, min((b for b in expert_bytes if b > 0), default=0)
        for key in by_popularity(popularity, expert_bytes):
            if left < smallest:
                break
            layer, expert = divmod(key, popularity.shape[1])
            if expert_bytes[layer] <= left:
                left -= expert_bytes[layer]
                mask[layer, expert] = True
        return mask
