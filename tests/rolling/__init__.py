"""A rolling run: `python -m tests.rolling [--seconds 60] [--tls] [--json FILE]`.

A load of our own client on `trio-h2 serve --workers 2`, whose workers are replaced by SIGHUP every 5 s and one of which
is killed every 7 s. No request may be lost but those on a connection of a worker that was killed; what is safe to retry
is made again and is no loss. Which connections a killed worker had is known exactly: it is stopped first, and looked
at.
"""
