"""The reference engine: the execution model as SimPy processes.

Processes: the stream (`stream`), and where their outcome depends on who is first in time, the link (`queued_link`) and
storage (`storage`). The host (`host`) decides between events and takes no process of its own. A FIFO link from DRAM
needs none either: what happens on it is known when it is asked for (`link`, `computed_stream`).
"""

from __future__ import annotations

from collections.abc import Callable

from moesim.engine.reference.computed_stream import ComputedStream
from moesim.engine.reference.events import Ticks
from moesim.engine.reference.host import Host
from moesim.engine.reference.link import ComputedLink
from moesim.engine.reference.stream import Stream
from moesim.plan.plan import Plan
from moesim.results.result import Result

__all__ = ["run", "simulate"]


def simulate(plan: Plan, progress: Callable[[int], None] | None = None) -> Result:
    """Run a plan. `progress(steps done)` is called at the end of each step.

    Raises StuckError if nothing can happen any more before the last step has ended (a fault of a policy).
    """
    return run(Ticks(), plan, progress)


def run(env: Ticks, plan: Plan, progress: Callable[[int], None] | None = None) -> Result:
    """`simulate` in an environment of the caller, who can ask it afterwards what SimPy had to do."""
    host = Host(env, plan)
    make = ComputedStream if isinstance(host.link, ComputedLink) else Stream
    stream = make(env, plan, host, progress)
    if plan.n_steps:
        env.run(until=env.process(stream.run()))
    host.finish()
    return host.record.result()
