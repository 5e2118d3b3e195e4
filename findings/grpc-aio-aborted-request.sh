#!/usr/bin/env bash
# grpcio 1.85.1: a call of an asyncio server that ends by context.abort keeps its request until the next garbage collection.
#
# Setting: one server, one hundred calls one after the other, Python's cyclic collector off meanwhile. A service that answers
#   pictures has requests of megabytes, and one that loads a model spares its many objects from collections (gc.freeze, higher
#   thresholds), so that these become rare.
# Expected: as for answered calls, and as on the threaded server: once the call has ended, nothing refers to its request.
# Seen: each aborted call leaves a circle. The call keeps the AbortError that ended it, whose traceback keeps the handler's
#   frame, which keeps request and context, and the context keeps the call. Each request stays until the collector runs.
#
# Output seen:
#   asyncio, answered: 0 requests of 100 alive
#   asyncio, aborted: 100 requests of 100 alive, 0 to 1 after a collection
#   threads, aborted: 0 to 1 requests of 100 alive
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet grpcio==1.85.1
cat > "$scratch/aborted.py" <<'PYTHON'
import asyncio
import contextlib
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

CALLS = 100


class Request(bytes):
    alive = 0

    def __new__(cls, content):
        cls.alive += 1
        return super().__new__(cls, content)

    def __del__(self):
        type(self).alive -= 1


def handlers(answer, abort):
    methods = {
        name: grpc.unary_unary_rpc_method_handler(method, request_deserializer=Request)
        for name, method in (("Answer", answer), ("Abort", abort))
    }
    return (grpc.method_handlers_generic_handler("service", methods),)


async def answer(request, context):
    return b"answer"


async def abort(request, context):
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")


async def asyncio_server():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers(answer, abort))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    alive = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name in ("Answer", "Abort"):
            method = channel.unary_unary(f"/service/{name}")
            for _ in range(CALLS):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await method(b"request")
            await asyncio.sleep(0.5)
            alive.append(Request.alive)
    gc.collect()
    alive.append(Request.alive)
    await server.stop(0)
    return alive


def threaded_server():
    def refuse(request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(handlers(lambda request, context: b"answer", refuse))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    before = Request.alive
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary("/service/Abort")
        for _ in range(CALLS):
            with contextlib.suppress(grpc.RpcError):
                method(b"request")
        time.sleep(0.5)
        alive = Request.alive - before
    server.stop(0).wait()
    return alive


gc.disable()
answered, aborted, collected = asyncio.run(asyncio_server())
in_threads = threaded_server()
print(f"asyncio, answered: {answered} requests of {CALLS} alive")
print(f"asyncio, aborted: {aborted} requests of {CALLS} alive, {collected} after a collection")
print(f"threads, aborted: {in_threads} requests of {CALLS} alive")
kept = aborted >= CALLS and answered == 0 and collected <= 1 and in_threads <= 1
sys.exit(0 if kept else "the behaviour has changed")
PYTHON
"$scratch/environment/bin/python" "$scratch/aborted.py"
