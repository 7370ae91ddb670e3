"""The tasks that run a connection, and what passes between them."""
