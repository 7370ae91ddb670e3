"""`Timeline`: a recording of what connections do, and the page that shows it."""

from .findings import Finding, findings
from .recorder import Timeline
from .rows import Recording
from .saving import load, save

__all__ = ["Finding", "Recording", "Timeline", "findings", "load", "save"]
