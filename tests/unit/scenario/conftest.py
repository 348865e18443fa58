"""A small machine and a small scenario that no shipped file can change."""

from __future__ import annotations

from pathlib import Path

import pytest

MACHINE = """\
kind: machine
title: a desktop for tests
accelerator: toy-gpu
host:
  title: some host
  memory: {capacity: {value: "64 GB", source: made}, bandwidth: {value: "50 GB/s", source: made}}
storage: toy-drive
links:
  host_to_device:
    title: some link
    bandwidth: {value: "25 GB/s", source: made}
    copy_overhead: {value: "5 us", source: made}
    resume_overhead: {value: "1 us", source: made}
    method: loop
runtime:
  title: some engine
  d2h_sync: {value: "10 us", source: made}
  lookup: {value: "5 us", source: made}
  issue: {value: "3 us", source: made}
  host_gap: {value: "20 us", source: made}
  launch: graph
  kernels: {attention: {value: 6, source: made}, router: {value: 1, source: made}, experts: {value: 3, source: made},
            shared: {value: 3, source: made}, dense: {value: 3, source: made}, head: {value: 2, source: made}}
  pieces_per_expert: {value: 3, source: made}
  read_padding: {value: "0 B", source: made}
sources:
  made: {kind: assumed, title: made for this test}
"""

GPU = """\
title: toy gpu
memory:
  capacity: {value: "24 GB", source: sheet}
  bandwidth: {value: "1 TB/s", source: sheet}
compute: {bf16: {value: "100 TFLOP/s", source: sheet}}
compute_efficiency: {value: "50 %", source: sheet}
kernel_launch: {value: "3 us", source: sheet}
graph_replay: {value: "5 us", source: sheet}
sources:
  sheet: {kind: datasheet, title: toy gpu datasheet, url: "https://example.org/gpu.pdf", date: "2024-01"}
"""

DRIVE = """\
title: toy drive
kind: nvme
capacity: {value: "1 TB", source: guess}
lanes: {value: 4, source: guess}
read_bytes: {value: "128 KiB", source: guess}
bandwidth: {value: "4 GB/s", source: guess}
sources:
  guess: {kind: assumed, title: a drive of the usual sort}
"""

SCENARIO = """\
moesim: 1
title: a test
seed: 3
hardware: toy-desktop
model:
  preset: mixtral-8x7b
  weights: {default: bf16, experts: int4-g128}
routing:
  kind: uniform
  split: siblings
workload:
  kind: batch
  prompt_tokens: 16
  output_tokens: 8
memory:
  reserve: "1 GiB"
  kv_tokens: 64
placement:
  home: dram
expert_cache:
  capacity: "10 GiB"
  eviction: lru
prefetch:
  kind: next_gate
  experts: 2
  recall: [0.85]
  precision: [0.80]
schedule:
  kind: layerwise
  chunks: 3
link: {discipline: two_level, wakeup: "10 us"}
record: {timeline: {steps: [1, 4]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory in which the toy machine is known and `base.yaml` is a valid scenario."""
    home = tmp_path / "profiles"
    for name, text in (
        ("toy-desktop", MACHINE),
        ("parts/accelerator/toy-gpu", GPU),
        ("parts/storage/toy-drive", DRIVE),
    ):
        path = home / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    work = tmp_path / "work"
    work.mkdir()
    (work / "base.yaml").write_text(SCENARIO)
    monkeypatch.setenv("MOESIM_PROFILE_PATH", str(home))
    monkeypatch.chdir(work)
    return work
