"""moesim: a discrete-event hardware simulator for Mixture-of-Experts inference with a timed expert cache.

>>> import moesim as ms
>>> sc = ms.load("quickstart")
>>> run = ms.simulate(sc.replace({"workload.output_tokens": 4}))
>>> len(run.tokens), run.summary["tokens"]
(4, 4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesim.engine.run import Run, simulate
    from moesim.errors import InputError, MoesimError
    from moesim.policies.eviction import Eviction
    from moesim.policies.prefetch import Prefetch
    from moesim.policies.view import View
    from moesim.report.run import write_report
    from moesim.scenario.load import load
    from moesim.scenario.scenario import Scenario

__all__ = [
    "Eviction", "InputError", "MoesimError", "Prefetch", "Run", "Scenario", "View", "load", "simulate", "write_report",
]  # fmt: skip

# PEP 562: names are imported when they are first used, so that `import moesim` costs next to nothing
_HOMES = {
    "Eviction": "moesim.policies.eviction",
    "InputError": "moesim.errors",
    "MoesimError": "moesim.errors",
    "Prefetch": "moesim.policies.prefetch",
    "Run": "moesim.engine.run",
    "Scenario": "moesim.scenario.scenario",
    "View": "moesim.policies.view",
    "load": "moesim.scenario.load",
    "simulate": "moesim.engine.run",
    "write_report": "moesim.report.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("moesim")
    if name not in _HOMES:
        raise AttributeError(f"module 'moesim' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
