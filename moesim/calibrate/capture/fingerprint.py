"""What was measured: device, driver, clocks as found, link, CPU. No host name, and nothing is ever changed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from moesim.calibrate.capture.device import Device, host_cache

__all__ = ["fingerprint", "parse_smi"]

_QUERIES = {
    "driver": "driver_version",
    "clock_sm_mhz": "clocks.current.sm",
    "clock_memory_mhz": "clocks.current.memory",
    "clock_sm_max_mhz": "clocks.max.sm",
    "clock_memory_max_mhz": "clocks.max.memory",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
    "pcie_generation": "pcie.link.gen.current",
    "pcie_generation_max": "pcie.link.gen.max",
    "pcie_width": "pcie.link.width.current",
    "pcie_width_max": "pcie.link.width.max",
    "persistence": "persistence_mode",
    "mig": "mig.mode.current",
}


def parse_smi(line: str) -> dict[str, Any]:
    """One CSV line of nvidia-smi's answer to the queries, numbers as numbers, what it does not know left out.

    >>> parse_smi("550.54, 1980, 2619, 1980, 2619, 700.00, [N/A], 5, 5, 16, 16, Enabled, Disabled")["pcie_width"]
    16
    """
    said: dict[str, Any] = {}
    for name, text in zip(_QUERIES, line.split(","), strict=False):
        value = text.strip()
        if not value or value.startswith("["):
            continue
        try:
            said[name] = value if name == "driver" else int(value) if value.isdigit() else float(value)
        except ValueError:
            said[name] = value
    return said


def _smi(index: int) -> dict[str, Any]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    # torch numbers devices within CUDA_VISIBLE_DEVICES, nvidia-smi over all
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    wanted = visible[index] if index < len(visible) else str(index)
    command = [tool, f"--query-gpu={','.join(_QUERIES.values())}", "--format=csv,noheader,nounits", "-i", wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_smi(done.stdout.splitlines()[0]) if done.returncode == 0 and done.stdout.strip() else {}


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def fingerprint(device: Device) -> dict[str, Any]:
    """The device and the host it is in, JSON values; sizes in bytes."""
    torch = device.torch
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said: dict[str, Any] = {
        "device": device.kind,
        "name": _cpu(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu_cores": cores,
        "cpu_threads_torch": int(torch.get_num_threads()),
        "host_memory_bytes": _host_memory(),
        "host_cache_bytes": host_cache(),
    }
    if not device.is_cuda:
        return said
    index: int = getattr(device, "index", 0)
    properties = torch.cuda.get_device_properties(index)
    said |= {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": int(properties.total_memory),
        "processors": int(properties.multi_processor_count),
        "l2_bytes": int(getattr(properties, "L2_cache_size", 0)),
        "cuda": str(torch.version.cuda),
    }
    return said | _smi(index)
