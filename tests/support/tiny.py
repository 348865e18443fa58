"""A tiny scenario on the machine of round numbers, through the public API: 2 layers, 8 experts of 6 MB, top-2.

One expert takes 240 us on the 25 GB/s link and 6 us of memory reads; nothing is launched and copies have one piece, so
that closed forms stay short.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import moesim as ms
from moesim import Scenario
from tests.support.round_machine import round_machine_fields

__all__ = ["EXPERT", "tiny"]

EXPERT = 3 * 1000 * 1000 * 2
"""Bytes of one expert: three matrices of 1000 x 1000 in bf16."""

_MODEL: dict[str, Any] = {
    "name": "tiny", "n_layers": 2, "d_model": 1000, "n_heads": 10, "n_kv_heads": 2, "head_dim": 100,
    "vocab_size": 1000, "tie_embeddings": False, "n_experts": 8, "top_k": 2, "d_expert": 1000,
    "weights": {"default": "bf16"}, "kv_cache": "bf16",
}  # fmt: skip


def _yaml(value: Any) -> str:
    """Flow style; text in quotes, so that no unit is read as anything else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def tiny(folder: Path, *, unified: bool = False, **changes: Any) -> Scenario:
    """The scenario, written to `folder` and loaded, with dotted fields changed (`__` for a dot).

    Uniform routing, one sequence of 2 prompt tokens and 4 output tokens, room for 4 experts of each layer. `unified`:
    no link, experts come straight from storage.
    """
    machine = round_machine_fields()
    machine["accelerator"] |= {"kernel_launch": "0 s", "graph_replay": "0 s"}
    machine["runtime"] |= {"pieces_per_expert": 1}
    if unified:
        del machine["links"]
        machine["accelerator"] |= {"unified": True}
    whole: dict[str, Any] = {
        "moesim": 1, "seed": 5, "hardware": machine, "model": _MODEL, "routing": "uniform",
        "workload": {"kind": "batch", "prompt_tokens": 2, "output_tokens": 4},
        "memory": {"reserve": "1 GB", "kv_tokens": 4096},
        "expert_cache": {"capacity": {"slots_per_layer": 4}},
    }  # fmt: skip
    if unified:
        whole["placement"] = {"home": "nvme"}
    path = folder / "tiny.yaml"
    path.write_text("".join(f"{key}: {_yaml(value)}\n" for key, value in whole.items()))
    scenario = ms.load(path)
    return (
        scenario.replace({name.replace("__", "."): value for name, value in changes.items()}) if changes else scenario
    )
