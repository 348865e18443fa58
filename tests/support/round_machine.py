"""A machine of round numbers, so that closed forms can be typed by hand."""

from __future__ import annotations

from typing import Any

from moesim.hardware.machine import Machine


def round_machine_fields() -> dict[str, Any]:
    """The fields as a scenario resolves them; change and pass to `Machine.model_validate`."""
    return {
        "name": "round",
        "title": "Round numbers",
        "accelerator": {
            "title": "Round accelerator",
            "memory": {"capacity": "24 GB", "bandwidth": "1 TB/s"},
            "compute": {"bf16": "100 TFLOP/s", "int8": "200 TOP/s"},
            "compute_efficiency": "50 %",
            "kernel_launch": "5 us",
            "graph_replay": "20 us",
        },
        "host": {"title": "Round host", "memory": {"capacity": "64 GB", "bandwidth": "100 GB/s"}},
        "storage": {
            "title": "Round drive",
            "kind": "nvme",
            "capacity": "1 TB",
            "lanes": {"value": 4},
            "read_bytes": "1 MB",
            "bandwidth": "2 GB/s",
        },
        "links": {
            "host_to_device": {
                "title": "Round link",
                "bandwidth": "25 GB/s",
                "copy_overhead": "10 us",
                "resume_overhead": "2 us",
                "method": "loop",
            }
        },
        "runtime": {
            "title": "Round engine",
            "d2h_sync": "7 us",
            "lookup": "3 us",
            "issue": "1 us",
            "host_gap": "50 us",
            "launch": "graph",
            "kernels": {"attention": 7, "router": 3, "experts": 4, "shared": 2, "dense": 3, "head": 2},
            "pieces_per_expert": 3,
            "read_padding": "4 KiB",
        },
    }


def round_machine(**changes: Any) -> Machine:
    """The machine, with dotted fields changed: ``round_machine(**{"accelerator.memory.bandwidth": "2 TB/s"})``."""
    fields = round_machine_fields()
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        inner = fields
        for name in path:
            inner = inner[name]
        inner[last] = value
    return Machine.model_validate(fields)
