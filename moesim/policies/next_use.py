"""When is an expert looked up again? The future that `belady` reads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["next_use_table"]


def next_use_table(
    set_ptr: NDArray[np.int64], set_expert: NDArray[np.int32], n_layers: int, n_experts: int
) -> Callable[[int, int], int]:
    """(id, position) -> position of the next lookup of the id after position; S * L if there is none.

    Row p of the sets, entries set_ptr[p] to set_ptr[p + 1] - 1, is position p = step * n_layers + layer; ids are
    layer * n_experts + expert.
    """
    rows = len(set_ptr) - 1
    position = np.repeat(np.arange(rows), np.diff(set_ptr))
    keys = (position % n_layers) * n_experts + set_expert
    order = np.lexsort((position, keys))
    keys, position = keys[order], position[order]
    ids, first = np.unique(keys, return_index=True)
    parts = np.split(position, first[1:]) if len(ids) else []
    uses: dict[int, list[int]] = {int(key): part.tolist() for key, part in zip(ids, parts, strict=True)}

    def next_use(key: int, now: int) -> int:
        row = uses.get(key, ())
        at = bisect_right(row, now)
        return row[at] if at < len(row) else rows

    return next_use
