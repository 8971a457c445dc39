"""Streams of a scripted server through asyncio and httpx, as Python load generators read them.

httpx_client.py URL PREFIX STREAMS COUNT GAP_S
Prints one JSON object: processor seconds of the process while it streamed, and for each stream the system's monotonic
nanoseconds at which each line was in hand.
"""

import asyncio
import json
import sys
import time

import httpx


async def stream(client, url, model, count, wait):
    await asyncio.sleep(wait)
    body = {"model": model, "prompt": "x", "raw": True, "stream": True, "options": {"num_predict": count}}
    stamps = []
    async with client.stream("POST", f"{url}/api/generate", json=body) as answer:
        async for line in answer.aiter_lines():
            now = time.monotonic_ns()
            if line and json.loads(line).get("response"):
                stamps.append(now)
    return model, stamps


async def main(url, prefix, streams, count, gap):
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=120.0) as client:
        before = time.process_time()
        every = [stream(client, url, f"{prefix}{i}", count, gap * i / streams) for i in range(streams)]
        seen = await asyncio.gather(*every)
        cpu = time.process_time() - before
    print(json.dumps({"cpu_s": cpu, "streams": dict(seen)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
