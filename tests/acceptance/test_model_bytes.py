"""Byte counts of a real GGUF file, as the phone engine's recording states them per layer."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from moesim.model.fields import from_dict
from moesim.model.presets import read_fields

ROUTE = "data/timed/oneplus-15r/qwen3-30b-a3b/route.csv.gz"


def test_q4_k_m_equals_the_recorded_bytes_of_every_layer(shared: Path) -> None:
    """Experts and everything else of a layer, to the byte: Qwen3-30B-A3B-Q4_K_M.gguf."""
    stated: list[tuple[int, int, int]] = []
    with gzip.open(shared / ROUTE, "rt", encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                break
            if found := re.fullmatch(r"# layer=(\d+) expert_bytes=(\d+) dense_bytes=(\d+)\s*", line):
                layer, expert, rest = map(int, found.groups())
                stated.append((layer, expert, rest))
    spec = from_dict({**read_fields("qwen3-30b-a3b"), "weights": {"default": "q4_k_m"}})
    ours = [(i, spec.expert_bytes(i), spec.layer_resident_bytes(i)) for i in range(spec.n_layers)]
    assert len(stated) == 48
    assert ours == stated
