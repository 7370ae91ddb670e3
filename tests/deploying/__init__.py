"""The configurations of docs/deploying.md, run as they stand there."""
