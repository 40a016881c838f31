"""The yardstick: the least a Python program can do to time streams honestly: a bare protocol on uvloop, an open loop.

Prints a line of JSON: wall and CPU seconds; writes rows of float64 to a file: number, scheduled, sent, first token,
then each further token, in nanoseconds of the machine's monotonic clock.
"""

import asyncio
import gc
import json
import sys
import time
from array import array

import orjson
import uvloop

TOKENS = 50
clock = time.perf_counter_ns


class Stream(asyncio.Protocol):
    def __init__(self, free, rows):
        self.free, self.rows = free, rows

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, number, scheduled, request):
        self.number, self.scheduled = number, scheduled
        self.stamps, self.pieces = [], []
        self.sent = clock()
        self.transport.write(request)

    def data_received(self, data):
        self.stamps.append(clock())
        self.pieces.append(data)
        if data.endswith(b"0\r\n\r\n"):
            stamps, pieces = self.stamps, self.pieces
            self.free.append(self)
            self.keep(self.number, self.scheduled, self.sent, stamps, pieces)

    def keep(self, number, scheduled, sent, stamps, pieces):
        tokens = []
        for stamp, piece in zip(stamps, pieces, strict=True):
            for line in piece.split(b"\n"):
                if line.startswith(b"data: {"):
                    choices = orjson.loads(line[6:])["choices"]
                    if choices and choices[0]["delta"].get("content"):
                        tokens.append(stamp)
        tokens += [0] * (TOKENS - len(tokens))
        self.rows.extend([number, scheduled, sent, *tokens[:TOKENS]])


async def main(port, rate, count, path):
    loop = asyncio.get_running_loop()
    free, rows = [], array("d")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: "

    async def send(number, scheduled):
        body = (
            b'{"model":"bench","messages":[{"role":"user","content":"#%d#"}],"stream":true,'
            b'"stream_options":{"include_usage":true}}' % number
        )
        request = head.encode() + b"%d\r\n\r\n%b" % (len(body), body)
        if free:
            stream = free.pop()
        else:
            _, stream = await loop.create_connection(lambda: Stream(free, rows), "127.0.0.1", port)
        stream.ask(number, scheduled, request)

    gc.collect()
    gc.freeze()
    gc.disable()
    start = clock() + 100_000_000
    began, cpu = clock(), time.process_time()
    tasks = set()
    for number in range(count):
        at = start + int(number / rate * 1e9)
        while (left := at - clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left / 1e9)
        task = loop.create_task(send(number, at))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    until = clock() + 10_000_000_000
    while len(rows) < count * (TOKENS + 3) and clock() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    wall, cpu = clock() - began, time.process_time() - cpu
    with open(path, "wb") as file:
        rows.tofile(file)
    print(json.dumps({"wall_s": wall / 1e9, "cpu_s": cpu}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
