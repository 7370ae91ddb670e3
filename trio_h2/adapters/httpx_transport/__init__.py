"""What `trio_h2.adapters.httpx` and `trio_h2.adapters.httpx2` share: all of it, with the package as a parameter.

The two packages have the same names for the same things, so a module of either stands for it here: `package`. Nothing
in this room imports one of them. docs/httpx.md says what it does.
"""
