"""The capture kit: times a live device with torch; needs Python, numpy and torch, and nothing else.

Runs as `python -m moesim.calibrate.capture` where the rest of moesim's dependencies are missing. torch itself is
imported when a capture begins, never when a module is loaded.
"""

__all__: list[str] = []
