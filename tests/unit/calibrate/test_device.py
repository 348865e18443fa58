"""The CUDA side against a stand-in for torch.cuda that records what it is told; the fingerprint."""

from __future__ import annotations

import json
import platform
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moesim.calibrate.capture import fingerprint as prints
from moesim.calibrate.capture.device import CudaDevice, Device, host_free, open_device
from moesim.calibrate.capture.rows import Unsupported
from moesim.calibrate.capture.timing import CudaClock
from moesim.errors import InputError

torch = pytest.importorskip("torch")


class FakeCuda:
    """A device on which every call takes `step` seconds; events read its clock."""

    def __init__(self, step: float) -> None:
        self.now, self.step, self.log = 0.0, step, []
        outer = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                assert enable_timing
                self.at = -1.0

            def record(self, stream: Any = None) -> None:
                self.at = outer.now

            def synchronize(self) -> None:
                outer.log.append("event")

            def elapsed_time(self, other: Any) -> float:
                assert self.at >= 0 and other.at >= 0
                return float((other.at - self.at) * 1e3)

        class Stream:
            def wait_stream(self, other: Any) -> None:
                outer.log.append("wait")

        class CUDAGraph:
            def replay(self) -> None:
                outer.log.append("replay")

        self.Event, self.Stream, self.CUDAGraph = Event, Stream, CUDAGraph
        self.graph = self.stream = nullcontext
        self.current_stream = Stream

    def work(self) -> None:
        self.now += self.step

    def synchronize(self) -> None:
        self.log.append("sync")

    def set_device(self, index: int) -> None:
        self.log.append(f"device {index}")

    def mem_get_info(self) -> tuple[int, int]:
        return 70, 100

    def memory_reserved(self) -> int:
        return 20

    def memory_allocated(self) -> int:
        return 15

    def current_device(self) -> int:
        return 0

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(
            name="Toy 100", major=9, minor=0, total_memory=100, multi_processor_count=4, L2_cache_size=50 << 20
        )

    def empty_cache(self) -> None:
        self.log.append("empty")


def _torch(cuda: FakeCuda) -> Any:
    return SimpleNamespace(
        cuda=cuda,
        device=torch.device,
        __version__="2.11",
        get_num_threads=lambda: 2,
        version=SimpleNamespace(cuda="13"),
    )


@pytest.mark.parametrize("step", [3e-6, 5e-4])
def test_event_times_are_recovered(step: float) -> None:
    cuda = FakeCuda(step)
    samples = CudaClock(_torch(cuda)).time(cuda.work, warmup=2, repeats=6, budget=1.0)
    assert samples == pytest.approx([step] * 6, rel=1e-9)
    assert round(cuda.now / step) > 6 * (200e-6 / step if step < 200e-6 else 1)


def test_what_is_prepared_is_not_timed() -> None:
    cuda = FakeCuda(1e-6)
    prepared: list[float] = []

    def prepare() -> None:
        prepared.append(cuda.now)
        cuda.now += 1.0

    samples = CudaClock(_torch(cuda)).time(cuda.work, warmup=1, repeats=4, budget=1.0, prepare=prepare)
    assert samples == pytest.approx([1e-6] * 4, rel=1e-6) and len(prepared) == 5


def test_a_graph_is_warmed_up_beside_and_then_captured() -> None:
    cuda = FakeCuda(1.0)
    device = CudaDevice(_torch(cuda), "cuda:1")
    replay = device.graph(cuda.work)
    assert cuda.now == 4.0  # three to warm up, one captured
    replay()
    assert cuda.log == ["device 1", "wait", "wait", "sync", "replay"]
    assert device.free_bytes() == 75 and device.cache_bytes() == 50 << 20


def test_the_fingerprint_of_a_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "550.54, 1980, 2619, 1980, 2619, 700.00, 31, 5, 5, 16, 16, Enabled, [N/A]\n"
    seen: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        seen.append(command)
        return SimpleNamespace(returncode=0, stdout=answer)

    monkeypatch.setattr(prints.shutil, "which", lambda name: name)
    monkeypatch.setattr(prints.subprocess, "run", run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = prints.fingerprint(CudaDevice(_torch(FakeCuda(1.0)), "cuda:1"))
    assert found["name"] == "Toy 100" and found["driver"] == "550.54" and found["pcie_generation"] == 5
    assert found["pcie_width"] == 16 and "mig" not in found and found["clock_sm_mhz"] == 1980
    [command] = seen
    assert command[-1] == "5" and not {"-r", "-pm", "-pl", "-ac", "-lgc"} & set(command)


def test_no_host_name_in_a_fingerprint() -> None:
    found = prints.fingerprint(open_device("cpu"))
    assert found["device"] == "cpu" and found["cpu_cores"] >= 1 and found["host_memory_bytes"] > 1 << 28
    assert len(platform.node()) < 4 or platform.node() not in json.dumps(found)


def test_a_missing_smi_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints.shutil, "which", lambda name: None)
    assert prints._smi(0) == {}
    monkeypatch.setattr(prints.shutil, "which", lambda name: "/nowhere/nvidia-smi")
    assert prints._smi(0) == {}


def test_the_host_says_what_it_lacks() -> None:
    device = Device(torch, "cpu")
    for ask in (lambda: device.pin(None), lambda: device.graph(lambda: None), device.event):
        with pytest.raises(Unsupported):
            ask()


def test_no_such_device() -> None:
    with pytest.raises(InputError, match=r"--device: no such device, got \"cuda:77\", allowed cpu"):
        open_device("cuda:77")


def test_free_memory_is_what_the_container_leaves(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9999 kB\nMemAvailable:    1000 kB\n")
    assert host_free(tmp_path) == 1000 << 10
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("300\n")
    for limit, left in (("max", 1000 << 10), ("1000", 700), ("100", 0)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit + "\n")
        assert host_free(tmp_path) == left
