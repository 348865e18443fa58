"""Machines: what goes together, and which way bytes take."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from moesim.errors import InputError
from moesim.hardware import Machine

RAW: dict[str, Any] = {
    "title": "test",
    "accelerator": {
        "title": "gpu",
        "memory": {"capacity": "8 GiB", "bandwidth": {"value": "1 TB/s", "source": "k"}},
        "compute": {"bf16": "100 TFLOP/s"},
        "compute_efficiency": "80 %",
        "kernel_launch": "5 us",
        "graph_replay": "6 us",
    },
    "host": {"title": "host", "memory": {"capacity": "64 GiB", "bandwidth": "80 GB/s"}},
    "storage": {
        "title": "drive", "kind": "nvme", "capacity": "1 TB", "lanes": 4, "read_bytes": "1 MiB",
        "bandwidth": {
            "rows": [
                {"lanes": 1, "value": "1 GB/s"},
                {"lanes": 3, "curve": {"x": ["4 KiB", "8 KiB"], "y": ["2 GB/s", "4 GB/s"]}},
            ]
        },
    },
    "links": {
        "host_to_device": {
            "title": "link", "bandwidth": "26 GB/s", "copy_overhead": "5 us", "resume_overhead": "5 us",
            "method": "loop",
        }
    },
    "runtime": {
        "title": "engine", "d2h_sync": "20 us", "lookup": "11 us", "issue": "6 us", "host_gap": "100 us",
        "launch": "graph",
        "kernels": {"attention": 8, "router": 2, "experts": 5, "shared": 4, "dense": 4, "head": 2},
        "load_overhead": {"fixed": "1 us", "per_byte": "0.128 ms/MB", "on": "stream"},
        "pieces_per_expert": 3, "read_padding": "4 KiB",
    },
    "sources": {"k": {"kind": "assumed", "title": "for the test"}},
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(RAW)
    *steps, last = path.split(".")
    node = raw
    for step in steps:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return raw


def unified() -> dict[str, Any]:
    raw = changed("accelerator.unified", True)
    del raw["links"]
    return raw


def test_python_and_json_agree() -> None:
    machine = Machine.model_validate(RAW)
    assert machine == Machine.model_validate_json(json.dumps(RAW))
    assert machine == Machine.model_validate_json(machine.model_dump_json())
    with pytest.raises(ValidationError, match="frozen"):
        machine.title = "other"  # type: ignore[misc]


def test_lane_table_is_exact_in_both_directions() -> None:
    table = Machine.model_validate(RAW).storage.bandwidth  # type: ignore[union-attr]
    assert table.knots == (4096, 8192)
    assert table.at(4096, 1) == 10**9 and table.at(10**9, 1) == 10**9
    assert table.at(6144, 3) == 3 * 10**9
    assert table.at(6144, 2) == 2 * 10**9
    assert table.at(8192, 99) == 4 * 10**9


def test_one_rate_for_all_lanes() -> None:
    table = Machine.model_validate(changed("storage.bandwidth", "7 GB/s")).storage.bandwidth  # type: ignore[union-attr]
    assert {table.at(x, busy) for x in (1, 10**9) for busy in (1, 64)} == {Fraction(7 * 10**9)}
    assert table.knots == ()


def test_routes() -> None:
    machine = Machine.model_validate(RAW)
    assert machine.route("dram", "device") == ("host_to_device",)
    assert machine.route("nvme", "dram") == ("storage",)
    assert machine.route("nvme", "device") == ("storage", "host_to_device")
    phone = Machine.model_validate(unified())
    assert phone.route("nvme", "device") == ("storage",) and phone.route("dram", "device") == ()


@pytest.mark.parametrize(
    ("raw", "start", "end", "said"),
    [
        (RAW, "disk", "device", 'got "disk", allowed device | dram | nvme'),
        (RAW, "device", "dram", 'got "device->dram", allowed dram->device'),
        (changed("storage", None), "nvme", "device", 'got "nvme", allowed device | dram'),
    ],
)
def test_no_route(raw: dict[str, Any], start: str, end: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Machine.model_validate(raw).route(start, end)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            changed("accelerator.memory.bandwidth.source", "kk"),
            "accelerator.memory.bandwidth.source: got kk, .*nearest k",
        ),
        (changed("links", {}), "links.host_to_device: got no link"),
        (changed("accelerator.unified", True), "a link on a unified machine"),
        (
            {**unified(), "host": {**RAW["host"], "memory": {"capacity": "4 GiB", "bandwidth": "80 GB/s"}}},
            "more than the host",
        ),
        (changed("accelerator.compute", {}), "at least one data type"),
        (changed("accelerator.compute.bf17", "1 TFLOP/s"), "'bf16'"),
        (changed("accelerator.compute_efficiency", "120 %"), "at most 1"),
        (changed("accelerator.compute_efficiency", 0), "above 0"),
        (changed("accelerator.kernel_launch", ...), "Field required"),
        (changed("storage.lanes", 0), "at least one of each"),
        (changed("storage.read_bytes", "0 B"), "at least one of each"),
        (changed("storage.bandwidth.rows", []), "at least 1 item"),
        (changed("storage.bandwidth.rows", [{"lanes": 2, "value": "1 GB/s"}] * 2), "strictly increasing lanes"),
        (changed("runtime.pieces_per_expert", 0), "at least 1"),
        (changed("runtime.launch", "lazy"), "'graph', 'piecewise' or 'eager'"),
        (changed("runtime.load_overhead.on", "gpu"), "'host', 'link' or 'stream'"),
        (changed("runtime.sync", "1 us"), "Extra inputs"),
        (changed("links.host_to_device.bandwidth", "26 Gb/s"), "bits"),
    ],
)
def test_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Machine.model_validate(raw)


def test_every_number_and_its_source() -> None:
    machine = Machine.model_validate(RAW)
    found = dict(machine.numbers())
    assert {
        "accelerator.compute.bf16",
        "storage.bandwidth.rows.1",
        "runtime.kernels.head",
        "runtime.load_overhead.fixed",
    } <= set(found)
    assert len(found) == 30
    assert machine.source_of(found["accelerator.memory.bandwidth"]).title == "for the test"
    assert machine.source_of(found["host.memory.bandwidth"]).kind == "assumed"
