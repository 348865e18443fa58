"""The shipped profiles: facts typed from the sources, and a source for every number."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from moesim.hardware import Machine
from moesim.hardware import load_machine as read_machine
from moesim.hardware.compose import compose, read_yaml
from moesim.hardware.lookup import PARTS, names

HOME = Path(__file__).resolve().parents[3] / "hw_profiles"
MACHINES = ("rtx-4090-desktop", "h200-node", "oneplus-15r")
FILES = sorted(HOME.rglob("*.yaml"))
GB, GIB, TERA, MICRO, KIB, MIB = 10**9, 2**30, 10**12, Fraction(1, 10**6), 2**10, 2**20

# Typed from the named source, not read from the profile: (machine, field, x, value in SI units, where it says so).
FACTS: list[tuple[str, str, int | None, Fraction | int, str]] = [
    ("rtx-4090-desktop", "accelerator.memory.capacity", None, 24 * GIB, "Ada whitepaper: 24 GB"),
    ("rtx-4090-desktop", "accelerator.l2.size", None, 73_728 * KIB, "Ada whitepaper: 73,728 KB"),
    ("rtx-4090-desktop", "accelerator.l2.bandwidth", None, 3_868 * GB, "transformers-benchmarks 4: 3868.374 GB/s"),
    ("rtx-4090-desktop", "accelerator.compute.bf16", None, Fraction("165.2") * TERA, "Ada whitepaper: BF16, FP32 acc."),
    ("rtx-4090-desktop", "accelerator.compute.fp16", None, Fraction("165.2") * TERA, "Ada whitepaper: FP16, FP32 acc."),
    ("rtx-4090-desktop", "accelerator.compute.fp8", None, Fraction("330.3") * TERA, "Ada whitepaper: FP8, FP32 acc."),
    ("rtx-4090-desktop", "accelerator.compute.int8", None, Fraction("660.6") * TERA, "Ada whitepaper: INT8 tensor"),
    ("rtx-4090-desktop", "links.host_to_device.bandwidth", None, Fraction("26.2") * GB, "nvbandwidth 15: median"),
    ("rtx-4090-desktop", "links.host_to_device.copy_overhead", None, 5 * MICRO, "COLD_TRANSFER: 34.0 against 28.9 us"),
    ("rtx-4090-desktop", "storage.capacity", None, 2 * TERA, "990 PRO: 2 TB"),
    ("rtx-4090-desktop", "accelerator.kernel_launch", None, 5 * MICRO, "pegainfer 3: 4 to 6 us"),
    ("rtx-4090-desktop", "accelerator.graph_replay", None, 6 * MICRO, "wyoming-whisper-trt 1061: about 6 us"),
    ("rtx-4090-desktop", "runtime.lookup", None, Fraction("11.3") * MICRO, "vllm-expert-cache results: 11.3 us"),
    ("rtx-4090-desktop", "runtime.issue", None, 6 * MICRO, "arXiv:2602.21548: 5 to 7 us"),
    ("h200-node", "accelerator.memory.capacity", None, 143_156 * MIB, "CUDA: total_memory=143156MB"),
    ("h200-node", "accelerator.l2.size", None, 60 * MIB, "CUDA: L2_cache_size=60MB"),
    ("h200-node", "accelerator.compute.bf16", None, Fraction(1_979, 2) * TERA, "H200: 1,979 TFLOPS with sparsity"),
    ("h200-node", "accelerator.compute.fp8", None, Fraction(3_958, 2) * TERA, "H200: 3,958 TFLOPS with sparsity"),
    ("h200-node", "accelerator.compute.int8", None, Fraction(3_958, 2) * TERA, "H200: 3,958 TOPS with sparsity"),
    ("h200-node", "links.host_to_device.bandwidth", None, Fraction("56.3") * GB, "open-gpu-kernel-modules 29: 56.30"),
    ("h200-node", "host.memory.capacity", None, 32 * 64 * GIB, "MLPerf: 32 modules of 64 GB"),
    ("h200-node", "storage.capacity", None, 3_840 * GB, "DGX H200: 3.84 TB U.2"),
    ("oneplus-15r", "accelerator.memory.capacity", None, Fraction("11.3") * GB, "benchmark-method.md: 11.3 GB"),
    ("oneplus-15r", "runtime.load_overhead.per_byte", None, Fraction(128, 10**12), "0.128 ms a MB"),
    ("oneplus-15r", "runtime.read_padding", None, 12_288 // 3, "misses x (bytes + 12,288) in three reads"),
    ("oneplus-15r", "runtime.pieces_per_expert", None, 3, "three reads an expert"),
    ("oneplus-15r", "storage.lanes", None, 4, "--io-threads 4"),
]  # fmt: skip


@lru_cache
def load_machine(name: str | Path) -> Machine:
    """Frozen, so that one copy serves all tests."""
    return read_machine(name)


def number(machine: Machine, field: str) -> Any:
    return dict(machine.numbers())[field]


@pytest.mark.parametrize(("name", "field", "x", "value", "said"), FACTS, ids=[f"{f[0]}:{f[1]}" for f in FACTS])
def test_fact(name: str, field: str, x: int | None, value: Fraction | int, said: str) -> None:
    assert number(load_machine(name), field).at(x) == value, said


# The peak that a datasheet states bounds what is sustained, and the measured share lies below it.
@pytest.mark.parametrize(
    ("name", "field", "peak", "least_share"),
    [
        ("rtx-4090-desktop", "accelerator.memory.bandwidth", 1_008 * GB, Fraction(90, 100)),  # clpeak: 921.3 GB/s
        ("h200-node", "accelerator.memory.bandwidth", 4_800 * GB, Fraction(85, 100)),
        (
            "rtx-4090-desktop",
            "links.host_to_device.bandwidth",
            Fraction(16 * 16 * 128, 130 * 8) * GB,
            Fraction(80, 100),
        ),
        ("h200-node", "links.host_to_device.bandwidth", Fraction(32 * 16 * 128, 130 * 8) * GB, Fraction(80, 100)),
        ("rtx-4090-desktop", "host.memory.bandwidth", Fraction(2 * 5_600 * 8, 1_000) * GB, Fraction(70, 100)),
        ("h200-node", "host.memory.bandwidth", Fraction(8 * 4_400 * 8, 1_000) * GB, Fraction(70, 100)),
        ("oneplus-15r", "host.memory.bandwidth", Fraction("76.8") * GB, Fraction(50, 100)),
    ],
)
def test_sustained_below_peak(name: str, field: str, peak: Fraction | int, least_share: Fraction) -> None:
    found = number(load_machine(name), field)
    assert least_share * peak <= found.at() <= found.interval()[1] <= peak


def test_phone_memory_rate_is_the_recorded_decode() -> None:
    """Bytes a decode step reads over its compute time: the recording's header and its first 32 decode tokens."""
    outside, experts, output = 567_263_232, 6 * 137_134_080, 151_936 * 2_048 * 210 // 256
    rate = number(load_machine("oneplus-15r"), "accelerator.memory.bandwidth").at()
    assert abs(rate / ((outside + experts + output) / Fraction("83.869e-3")) - 1) < Fraction(1, 500)


def test_phone_numbers_against_the_recording(shared: Path) -> None:
    """The same from the files themselves, and every point of the storage table."""
    import csv
    import gzip
    import re

    folder = shared / "data/timed/oneplus-15r"
    with gzip.open(folder / "qwen3-30b-a3b/route.csv.gz", "rt") as file:
        header = [line for line in file if line.startswith("# layer=")]
    read = sum(
        6 * int(re.search(r" expert_bytes=(\d+)", h)[1]) + int(re.search(r"dense_bytes=(\d+)", h)[1]) for h in header
    )  # type: ignore[index]
    with (folder / "qwen3-30b-a3b/tokens.csv").open() as file:
        tokens = [row for row in csv.DictReader(file) if row["mgmt_ms"]][:32]
    seconds = sum(Fraction(row["compute_ms"]) for row in tokens) / 32 / 1000
    machine = load_machine("oneplus-15r")
    rate = number(machine, "accelerator.memory.bandwidth").at()
    assert abs(rate / ((read + 151_936 * 2_048 * 210 // 256) / seconds) - 1) < Fraction(1, 500)
    managed = sum(Fraction(row["mgmt_ms"]) for row in tokens) / sum(int(row["read_bytes"]) for row in tokens) / 1000
    low, high = number(machine, "runtime.load_overhead.per_byte").interval()
    assert low <= managed <= high
    assert machine.storage is not None
    with (folder / "storage_read_bandwidth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["lanes"]) <= 8]
    assert len(rows) == 22
    for row in rows:
        found = machine.storage.bandwidth.at(int(row["read_bytes"]), int(row["lanes"]))
        assert found == Fraction(row["mib_per_s"]) * MIB, row


@pytest.mark.parametrize("name", MACHINES)
def test_every_number_has_a_source(name: str) -> None:
    machine = load_machine(name)
    for field, found in machine.numbers():
        assert found.source in machine.sources, field
        source = machine.source_of(found)
        assert source.kind in ("datasheet", "measured", "assumed")
        assert source.kind == "assumed" or (source.url.startswith("https://") and source.date), field
        assert source.kind != "assumed" or len(source.title.split()) >= 6, f"{field}: say why"


@pytest.mark.parametrize("name", MACHINES)
def test_every_source_is_used(name: str) -> None:
    machine = load_machine(name)
    assert {found.source for _, found in machine.numbers()} == set(machine.sources)


@pytest.mark.parametrize("name", MACHINES)
def test_more_bytes_never_take_less_time(name: str) -> None:
    machine = load_machine(name)
    sizes = sorted({k * f // 16 for e in range(12, 31) for k in (1 << e,) for f in range(16, 32)})
    for field, found in machine.numbers():
        if field.endswith("bandwidth"):
            times = [x / found.at(x) for x in sizes]  # type: ignore[attr-defined]
            assert times == sorted(times), field
    assert machine.storage is not None
    for busy in range(1, int(machine.storage.lanes) + 1):
        times = [x / machine.storage.bandwidth.at(x, busy) for x in sizes]
        assert times == sorted(times), busy


def test_every_part_is_used_by_a_machine() -> None:
    used: set[tuple[str, str]] = set()

    def read(kind: str, name: str) -> Any:
        used.add((kind, name))
        return read_yaml(HOME / "parts" / kind / f"{name}.yaml")

    for name in MACHINES:
        compose(read_yaml(HOME / f"{name}.yaml"), read)
    assert used == {(kind, path.stem) for kind in PARTS for path in (HOME / "parts" / kind).glob("*.yaml")}


def test_shipped_machines_are_these() -> None:
    assert {path.stem for path in HOME.glob("*.yaml")} == set(MACHINES)
    assert set(MACHINES) <= set(names())


@pytest.mark.parametrize("path", FILES, ids=[p.relative_to(HOME).as_posix() for p in FILES])
def test_file_names_its_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (path.parent / first.removeprefix(prefix)).resolve().is_file()


def test_a_path_is_as_good_as_a_name() -> None:
    assert load_machine(HOME / "h200-node.yaml") == load_machine("h200-node")
