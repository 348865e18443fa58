"""The tables of a run as columns: one row per step, per (step, layer), per wait. What the parquet files hold.

Columns are numpy arrays of equal length; times are integer ticks (`_ps`), counts and bytes integers. pandas is asked
for only when a frame is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moesim.plan.plan import Plan
from moesim.results.result import BREAKDOWN, Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns", "frame", "layer_columns", "residency_columns", "token_columns", "wait_columns"]

Columns = dict[str, NDArray[Any]]


def token_columns(plan: Plan, result: Result) -> Columns:
    """One row per step, in order of time: a decode step makes one token of every sequence of its batch.

    step, batch, prefill (bool), tokens (processed), generated (made, first ones included), first (of them, first ones
    of their sequence), start_ps, end_ps, hits, late, misses (of all layers), bytes (whose transfer ended in the step),
    and one `<class>_ps` for each class of `BREAKDOWN`; these sum to end_ps - start_ps.
    """
    columns: Columns = {
        "step": np.arange(plan.n_steps, dtype=np.int64),
        "batch": plan.step_batch,
        "prefill": plan.step_prefill,
        "tokens": plan.step_tokens,
        "generated": plan.step_generated,
        "first": plan.step_first,
        "start_ps": result.step_start,
        "end_ps": result.step_end,
        "hits": result.hits.sum(axis=1),
        "late": result.late.sum(axis=1),
        "misses": result.misses.sum(axis=1),
        "bytes": result.step_bytes,
    }
    return columns | {f"{name}_ps": result.breakdown_ps[:, i] for i, name in enumerate(BREAKDOWN)}


def _grid(plan: Plan) -> Columns:
    step, layer = np.divmod(np.arange(plan.n_steps * plan.n_layers, dtype=np.int64), max(1, plan.n_layers))
    return {"step": step, "layer": layer.astype(np.int32)}


def layer_columns(plan: Plan, result: Result) -> Columns:
    """One row per (step, layer): step, layer, end_ps, hits, late, misses, stall_ps (waits of the layer)."""
    return _grid(plan) | {
        "end_ps": result.layer_end.reshape(-1),
        "hits": result.hits.reshape(-1).astype(np.int32),
        "late": result.late.reshape(-1).astype(np.int32),
        "misses": result.misses.reshape(-1).astype(np.int32),
        "stall_ps": result.layer_stall_ps.reshape(-1),
    }


def residency_columns(plan: Plan, result: Result) -> Columns:
    """One row per (step, layer): step, layer, resident (experts at the end of the step, pinned ones included)."""
    return _grid(plan) | {"resident": result.residency.reshape(-1).astype(np.int32)}


def wait_columns(result: Result) -> Columns:
    """One row per wait of the stream: step, layer, start_ps, end_ps, expert and transfer whose arrival ended it."""
    names = ("step", "layer", "start_ps", "end_ps", "expert", "transfer")
    rows = [(w.step, w.layer, w.start, w.end, w.expert, w.transfer) for w in result.waits]
    table = np.array(rows, dtype=np.int64).reshape(-1, len(names))
    return {name: table[:, i] for i, name in enumerate(names)}


def frame(columns: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """The columns as a pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame(dict(columns))
