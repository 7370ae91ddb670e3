"""What is behind `open_pool`: the connections to each origin, who waits for them, and how they come about.

A request goes through these rooms:

- `origin_connections.py` gives it a connection that has room, or has it wait for its turn (`turns.py`);
- `pooled_connection.py` is that connection, from its opening to its end;
- `reaching.py` makes the transports of new ones, through a proxy (`tunnels.py`) if there is one;
- `tries.py` says whether a request that failed is made again, and when.
"""
