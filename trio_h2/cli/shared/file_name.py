"""The type of options that take a file's name."""

from __future__ import annotations

import click

__all__ = ["FILE_NAME"]

FILE_NAME = click.Path(readable=False)
"""Shells complete it; whether the file is there, and of use, is seen where it is opened."""
