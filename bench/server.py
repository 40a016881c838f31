"""A chat server that does as little as a server can, and counts: the referee of the benchmarks.

One bare protocol on uvloop. It answers `word-<n>` for a question that ends in a number, after a fixed delay, and
gives its counts at GET /stats.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import Any

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"(\d+)\"}\]")


class Counts:
    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.requests = self.in_flight = self.peak_in_flight = 0
        self.first_answer_s = self.last_answer_s = 0.0

    def received(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def answered(self) -> None:
        self.in_flight -= 1
        self.last_answer_s = time.perf_counter()
        self.first_answer_s = self.first_answer_s or self.last_answer_s


class Chat(asyncio.Protocol):
    def __init__(self, counts: Counts, delay_s: float) -> None:
        self.counts = counts
        self.delay_s = delay_s
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            if head.startswith(b"POST /reset"):
                self.counts.clear()
                self.send(b"{}")
            elif head.startswith(b"GET"):
                self.send(json.dumps(vars(self.counts)).encode())
            else:
                self.counts.received()
                if self.delay_s:
                    asyncio.get_running_loop().call_later(self.delay_s, self.answer, body)
                else:
                    self.answer(body)

    def answer(self, body: bytes) -> None:
        number = found[1] if (found := _NUMBER.search(body)) else b"0"
        self.counts.answered()
        self.send(
            b'{"id":"x","object":"chat.completion","model":"bench","choices":[{"index":0,"finish_reason":"stop",'
            b'"message":{"role":"assistant","content":"word-' + number + b'"}}],'
            b'"usage":{"prompt_tokens":20,"completion_tokens":3,"total_tokens":23}}'
        )

    def send(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                + str(len(body)).encode() + b"\r\n\r\n" + body
            )  # fmt: skip


async def serve(delay_s: float) -> None:
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Chat(counts, delay_s), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-s", type=float, default=0.0)
    uvloop.run(serve(parser.parse_args().delay_s))
