"""The command `trio-h2`."""
