"""A client that outlives restarts of its server: `python resilient_client.py URL SECONDS` asks again and again.

A request that the server certainly did not process is made again by the pool, on a new connection if it needs one, up
to five times in growing pauses. What comes out is an answer, or an error that says whether asking again is safe.
"""

from __future__ import annotations

import sys

import trio

import trio_h2


async def main(url: str, seconds: float) -> None:
    async with trio_h2.open_pool(retries=5) as pool:
        while True:
            try:
                response = await pool.request("GET", url)
                print(response.status, len(response.body), flush=True)
            except trio_h2.H2Error as error:
                print(f"{error}, {'safe' if error.safe_to_retry else 'not known to be safe'} to retry", file=sys.stderr)
            await trio.sleep(seconds)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]))
