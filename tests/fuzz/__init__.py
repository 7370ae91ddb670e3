"""Fuzzing: `python -m tests.fuzz TARGET`, and machines that try the actors under faults.

Nothing here may import trio_h2: `__main__` has to instrument it first.
"""
