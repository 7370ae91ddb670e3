"""`Timeline`: a recording of what connections do, and the page that shows it."""

from .recorder import Timeline

__all__ = ["Timeline"]
