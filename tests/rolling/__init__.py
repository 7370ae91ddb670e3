"""Rolling runs: `python -m tests.rolling [workers | haproxy] [--seconds 60] [--tls] [--json FILE]`.

A load of our own client on `trio-h2 serve --workers 2`, whose workers are replaced by SIGHUP every 5 s and one of which
is killed every 7 s. No request may be lost but those on a connection of a worker that was killed; what is safe to retry
is made again and is no loss. Which connections a killed worker had is known exactly: it is stopped first, and looked
at.

`haproxy`: three such servers behind HAProxy, by the configuration of docs/deploying.md, of which one is drained by
HAProxy's admin socket, stopped and started again, one is killed and started again, and one gets SIGHUP, each all the
time. No request may be lost but those that were on the killed one, by HAProxy's own count of each server, and none may
be processed twice that its client made once.
"""
