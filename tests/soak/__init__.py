"""A soak: `python -m tests.soak [--seconds 60] [--seed N] [--json FILE]`.

Real processes under mixed traffic and faults, for as long as one likes:

    clients (two)  ──>  proxy: cuts, freezes,  ──>  server "steady": cleartext, lives for the whole run
                        delays, throttles      ──>  server "restarted": TLS, shut down or killed again and again
    bystander      ────────────────────────────>  server "steady"

What must hold: no request is lost that no fault hit, every body is right, nothing that was safe to retry had been
started, memory is flat, nothing is logged that was not asked for, no task is left at the end, no limit is reached. The
exit code says whether it did.

A request that fails although it may not be retried needs a fault that explains it: its connection was cut or frozen
by the proxy, its server was killed, or down, or its shutdown's grace ran out. The proxy and the servers say what they
did and when, by connection, and the supervisor compares (`faults.py`). A connection that was only slow explains
nothing.

Memory is flat when the growth that a least-squares line fits to the samples after the warm-up stays under the bars in
`memory.py`, whatever the length of the run.
"""
