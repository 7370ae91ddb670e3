"""The tasks that run a connection, and the memory channels between them."""
