"""A real offloaded MoE decode loop that runs this project's cache and prefetch policies: the section `executor`.

`decisions` decides (no torch), `model` holds weights and mathematics, `loop` executes what was decided, `grid` makes
cells and rows of it.
"""

from moesim.calibrate.capture.executor.grid import plan, run

__all__ = ["plan", "run"]
