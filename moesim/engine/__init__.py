"""Engines: functions from a plan to a result, all obeying `moesim.engine.spec`."""
