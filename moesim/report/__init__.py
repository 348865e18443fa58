"""Pages: they read run folders and never run anything."""

from moesim.report.run import write_report

__all__ = ["write_report"]
