"""Django, which needs asyncio, on trio: `python django_app.py PORT CERTIFICATE KEY`.

trio-asyncio runs an event loop of asyncio's in a task of trio's. Django's app is called in it, and what that receives
and sends goes back to trio. A view that is no coroutine runs in a thread, as Django has it.

curl --cacert CERTIFICATE https://localhost:PORT/
curl --cacert CERTIFICATE --data milk https://localhost:PORT/length
curl --cacert CERTIFICATE https://localhost:PORT/ticks
"""

import asyncio
import signal
import ssl
import sys
import threading
from functools import partial

import trio
import trio_asyncio
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from trio_h2.adapters.asgi import serve_asgi

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY="of this example")


def index(request):
    return HttpResponse(f"hello from {threading.current_thread().name}\n")


async def length(request):
    await asyncio.sleep(0)
    return JsonResponse({"length": len(request.body)})


async def ticks(request):
    async def events():
        try:
            for number in range(1_000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.1)
        finally:
            print("the ticks have ended", flush=True)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [path("", index), path("length", length), path("ticks", ticks)]


def on_asyncio(app):
    """An app that needs asyncio, as one for trio."""

    async def call(scope, receive, send):
        receive, send = trio_asyncio.trio_as_aio(receive), trio_asyncio.trio_as_aio(send)
        await trio_asyncio.aio_as_trio(app)(scope, receive, send)

    return call


def lend_threads(loop):
    """Let the loop use threads that are not trio's: Django has one of its own for each request's synchronous code."""
    in_trio = loop.run_in_executor

    def run_in_executor(executor, function, *arguments):
        if executor is None:
            return in_trio(None, function, *arguments)
        return asyncio.wrap_future(executor.submit(function, *arguments), loop=loop)

    loop.run_in_executor = run_in_executor


async def main(port, certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = on_asyncio(get_asgi_application())
    async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
        lend_threads(loop)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            server = await nursery.start(partial(serve_asgi, app, port, ssl_context=context))
            print(f"https://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
