"""What `trio-h2 serve` is made of: its options, sockets, app, logs, and the process or processes that serve."""
