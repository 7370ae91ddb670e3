"""Tests of what `trio-h2 serve` is made of, most of them with real processes."""
