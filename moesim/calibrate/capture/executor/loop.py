"""Executes decided programs on a live device, and writes down when things happened on its clock.

With CUDA: one copy stream in FIFO order and the current stream for compute, joined by events. A copy into a slot waits
for the compute that last read it; compute of an expert waits for the copy that last filled its slot. Elsewhere both are
the one order of the program. The host reads the router's ids at each layer, as a real engine must, before it issues
anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from moesim.calibrate.capture.device import Device
from moesim.calibrate.capture.executor.decisions import Decider, LayerProgram, Load, Run
from moesim.calibrate.capture.executor.model import Model

__all__ = ["MARKS", "Executed", "execute"]

MARKS = ("start", "lookup", "walked", "fetched", "end")
"""Device times of each layer: it begins; the router's ids are there; the copy stream has done the walk's loads (and all
before them); ... the prefetches too; the layer's last compute has ended."""


@dataclass(kw_only=True)
class Executed:
    """One run of S steps and L layers. Times in seconds since the first mark.

    marks      [S][L][5] by `MARKS`, on the device's clock
    issue      [S][L] host seconds to issue the walk's loads and the prefetches
    launch     [S][L] host seconds to issue the compute (and the loads that waited)
    programs   [S * L] what was executed
    outputs    [S, B, d] hidden states after the last layer of each step
    """

    marks: list[list[list[float]]] = field(default_factory=list)
    issue: list[list[float]] = field(default_factory=list)
    launch: list[list[float]] = field(default_factory=list)
    programs: list[LayerProgram] = field(default_factory=list)
    outputs: Any = None

    @property
    def step_seconds(self) -> list[float]:
        """[S] from the start of a step's first layer to the end of its last."""
        return [step[-1][MARKS.index("end")] - step[0][0] for step in self.marks]


class _Plain:
    """No streams: each call is done when it returns, or the device is waited for.

    `slots` are the device tensors [3, f, d], `host` the experts of each layer.
    """

    def __init__(self, device: Device, slots: Sequence[Any], host: Sequence[Sequence[Any]]) -> None:
        self._device, self._slots, self._host = device, slots, host

    def mark(self, copies: bool = False) -> Any:
        """Now, as something that `seconds` understands; of the copy stream if `copies`."""
        self._device.synchronize()
        return time.perf_counter()

    def seconds(self, first: Any, mark: Any) -> float:
        """From one mark to another."""
        return float(mark - first)

    def load(self, ops: Iterable[Load]) -> None:
        """Issue copies, in order."""
        for op in ops:
            self._slots[op.slot].copy_(self._host[op.layer][op.expert])

    def ready(self, slot: int) -> None:
        """Compute issued from here on finds the slot's expert."""

    def read(self, slots: Iterable[int]) -> None:
        """All that reads these slots is issued."""

    def finish(self) -> None:
        """Wait for everything."""
        self._device.synchronize()


class _Streams(_Plain):
    """A copy stream beside the current one."""

    def __init__(self, device: Device, slots: Sequence[Any], host: Sequence[Sequence[Any]]) -> None:
        super().__init__(device, slots, host)
        self._compute, self._copy = device.current(), device.stream()
        self._copy.wait_stream(self._compute)
        self._filled: list[Any] = [None] * len(slots)
        self._last_read: list[Any] = [None] * len(slots)

    def mark(self, copies: bool = False) -> Any:
        event = self._device.event()
        event.record(self._copy if copies else self._compute)
        return event

    def seconds(self, first: Any, mark: Any) -> float:
        return float(first.elapsed_time(mark)) * 1e-3

    def load(self, ops: Iterable[Load]) -> None:
        with self._device.on(self._copy):
            for op in ops:
                if (last := self._last_read[op.slot]) is not None:
                    self._copy.wait_event(last)
                self._slots[op.slot].copy_(self._host[op.layer][op.expert], non_blocking=True)
                event = self._device.event(timing=False)
                event.record(self._copy)
                self._filled[op.slot] = event

    def ready(self, slot: int) -> None:
        if (event := self._filled[slot]) is not None:
            self._compute.wait_event(event)
            self._filled[slot] = None

    def read(self, slots: Iterable[int]) -> None:
        event = self._device.event(timing=False)
        event.record(self._compute)
        for slot in slots:
            self._last_read[slot] = event


def execute(
    device: Device,
    model: Model,
    decider: Decider,
    masks: Any,
    inputs: Any,
    progress: Callable[[int], None] | None = None,
) -> Executed:
    """Run the decider's whole trace on the device.

    masks [S, L, N, B, 1] and inputs [S, B, d] as `Model.masks` and `Model.resident` take them; `progress(steps done)`.
    """
    torch, sizes = model.torch, model.sizes
    memory = torch.empty((decider.n_slots, *model.experts.shape[2:]), dtype=model.experts.dtype, device=model.device)
    # views made once: what is timed is the issue of a copy, not the slicing of a tensor
    slots = memory.unbind(0)
    lanes = (_Streams if device.is_cuda else _Plain)(device, slots, [layer.unbind(0) for layer in model.experts])
    batch, d = inputs.shape[1:]
    places = torch.empty((decider.largest_set(), batch, d), dtype=inputs.dtype, device=model.device)
    done = Executed(outputs=torch.empty_like(inputs))
    with getattr(torch, "inference_mode", nullcontext)():
        _warm(model, lanes, slots, places, masks, inputs)
        marks: list[list[list[Any]]] = []
        programs = decider.programs()
        for step in range(decider.n_steps):
            x = inputs[step]
            marks.append([])
            done.issue.append([])
            done.launch.append([])
            for layer in range(sizes.layers):
                # decided before the layer begins: what it costs to decide is not what is measured here
                program = next(programs)
                done.programs.append(program)
                seen = [lanes.mark()]
                x, h, ids = model.front(x, layer)
                ids.cpu()
                seen.append(lanes.mark())
                begun = time.perf_counter()
                lanes.load(program.walk)
                walked = time.perf_counter()
                seen.append(lanes.mark(copies=True))
                resumed = time.perf_counter()
                lanes.load(program.prefetches)
                fetched = time.perf_counter()
                seen.append(lanes.mark(copies=True))
                done.issue[-1].append(walked - begun + fetched - resumed)
                begun = time.perf_counter()
                _compute(model, lanes, program.rest, slots, places, masks[step, layer], h)
                x = x + places[: len(program.experts)].sum(0)
                done.launch[-1].append(time.perf_counter() - begun)
                seen.append(lanes.mark())
                marks[-1].append(seen)
            done.outputs[step] = x
            if progress is not None:
                progress(step + 1)
        lanes.finish()
    first = marks[0][0][0]
    done.marks = [[[lanes.seconds(first, mark) for mark in layer] for layer in step] for step in marks]
    return done


def _compute(
    model: Model, lanes: _Plain, rest: Sequence[Run | Load], slots: Sequence[Any], places: Any, mask: Any, h: Any
) -> None:
    """The experts of a set, and between them the loads that had to wait for their slots."""
    filled_again = {op.slot for op in rest if isinstance(op, Load)}
    others: list[int] = []
    for op in rest:
        if isinstance(op, Load):
            lanes.load((op,))
            continue
        lanes.ready(op.slot)
        model.torch.mul(model.expert(h, slots[op.slot]), mask[op.expert], out=places[op.place])
        if op.slot in filled_again:
            lanes.read((op.slot,))
        else:
            others.append(op.slot)
    if others:
        lanes.read(others)


def _warm(model: Model, lanes: _Plain, slots: Sequence[Any], places: Any, masks: Any, inputs: Any) -> None:
    """Every kernel and copy once, so that the first layer is not the one that loads libraries."""
    for _ in range(2):
        lanes.load((Load(0, 0, 0),))
        lanes.ready(0)
        x, h, ids = model.front(inputs[0], 0)
        ids.cpu()
        model.torch.mul(model.expert(h, slots[0]), masks[0, 0, 0], out=places[0])
        x = x + places[:1].sum(0)
        lanes.read((0,))
    lanes.finish()
