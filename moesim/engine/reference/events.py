"""SimPy events that carry a phase: within one tick, order is by phase, never by order of creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simpy import Environment, Event

from moesim.engine.spec import Phase

__all__ = ["At", "Ticks", "call_at", "wake"]


class Ticks(Environment):
    """A SimPy environment whose clock is an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda = self._queue
        """What is scheduled; empty while a process runs that nobody else has anything to do with."""

    @property
    def now(self) -> int:
        """The current tick."""
        return self._now  # type: ignore[return-value]  # every delay is an integer

    def pass_to(self, delay: int, phase: float) -> bool:
        """Go on at `phase` of the tick `delay` from now without an event, if nothing is scheduled before or with it.

        `if not env.pass_to(d, p): yield At(env, d, p)` does what `yield At(env, d, p)` does, only faster: a process
        whose event would come next anyway need not go through the queue. Whoever calls must be the last callback of
        the current event.
        """
        tick = self._now + delay
        if self.agenda:
            first = self.agenda[0]
            if first[0] < tick or (first[0] == tick and first[1] <= phase):
                return False
        self._now = tick
        return True

    def catch_up(self, tick: int) -> None:
        """Set the clock of a process that kept its own while the agenda was empty."""
        self._now = tick


class At(Event):
    """Happens `delay` ticks from now, in `phase` of that tick. (SimPy's Timeout knows one priority only.)"""

    def __init__(self, env: Ticks, delay: int, phase: float) -> None:
        # not Event.__init__: this runs for every event of a run, and a triggered event has a value from birth
        self.env = env
        self.callbacks = []
        self._value = None
        self._ok = True
        env.schedule(self, phase, delay)  # type: ignore[arg-type]  # a heap key: any number does


def call_at(env: Ticks, delay: int, phase: Phase, action: Callable[[Any], None], number: int = 0) -> None:
    """Call `action(event)` `delay` ticks from now, in `phase`; within the phase by `number` (exact below 2**40)."""
    At(env, delay, phase + number * 2.0**-40).callbacks.append(action)


def wake(event: Event, phase: Phase) -> None:
    """Trigger a waiting process in `phase` of this tick; once only."""
    if not event.triggered:
        event._ok = True
        event._value = None
        event.env.schedule(event, phase, 0)  # type: ignore[arg-type]
