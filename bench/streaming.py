"""A server that streams chat completions as a bare loop over sockets can, and logs when each byte went out.

100 ms after a request the first of its tokens leaves, the others 10 ms apart. All delays are equal, so two queues
keep everything in order of time. GET /log gives rows of int64: the request's number, when it came, when each token
left, in nanoseconds of the machine's monotonic clock. POST /reset forgets them; GET /cpu gives its CPU seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import selectors
import socket
import time
from array import array
from collections import deque

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"#(\d+)#")
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    b"cache-control: no-cache\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, object], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    data: dict[str, object] = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "bench",
        "choices": [] if usage else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    if usage:
        data["usage"] = usage
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


class Stream:
    """One answer under way."""

    __slots__ = ("connection", "due_ns", "row", "told")

    def __init__(self, connection: socket.socket, row: int, due_ns: int) -> None:
        self.connection = connection
        self.row = row
        self.due_ns = due_ns
        self.told = 0


class Server:
    def __init__(self, first_s: float, gap_s: float, tokens: int) -> None:
        self.first_ns, self.gap_ns, self.tokens = int(first_s * 1e9), int(gap_s * 1e9), tokens
        self.log = array("q")
        self.rows = 0
        self.first: deque[Stream] = deque()
        self.later: deque[Stream] = deque()
        self.selector = selectors.DefaultSelector()
        self.buffers: dict[socket.socket, bytes] = {}
        role, token = event({"role": "assistant", "content": ""}), event({"content": " word"})
        usage = event(
            {}, usage={"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        )
        self.opening = _HEAD + role + token
        self.token = token
        self.ending = token + event({}, "stop") + usage + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def serve(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listening.setblocking(False)
        self.selector.register(listening, selectors.EVENT_READ)
        print(listening.getsockname()[1], flush=True)
        while True:
            for key, _ in self.selector.select(self.wait_s()):
                if key.fileobj is listening:
                    self.accept(listening)
                else:
                    self.receive(key.fileobj)
                # what is due does not wait for a long list of requests
                if self.first and self.first[0].due_ns <= time.perf_counter_ns():
                    self.send_due()
            self.send_due()

    def wait_s(self) -> float | None:
        due = [queue[0].due_ns for queue in (self.first, self.later) if queue]
        return max(0.0, (min(due) - time.perf_counter_ns()) / 1e9) if due else None

    def accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listening.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.buffers[connection] = b""
                self.selector.register(connection, selectors.EVENT_READ)

    def receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = time.perf_counter_ns()
        if not data:
            self.selector.unregister(connection)
            del self.buffers[connection]
            connection.close()
            return
        buffer = self.buffers[connection] + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(buffer, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(buffer) < size:
                break
            self.answer(connection, buffer[:size], now)
            buffer = buffer[size:]
        self.buffers[connection] = buffer

    def answer(self, connection: socket.socket, request: bytes, now: int) -> None:
        if request.startswith(b"GET /log"):
            self.reply(connection, self.log.tobytes())
        elif request.startswith(b"GET /cpu"):
            self.reply(connection, str(time.process_time()).encode())
        elif request.startswith(b"POST /reset"):
            self.log, self.rows = array("q"), 0
            self.reply(connection, b"{}")
        else:
            found = _NUMBER.search(request)
            self.log.append(int(found[1]) if found else -1)
            self.log.append(now)
            self.log.frombytes(bytes(8 * self.tokens))
            self.first.append(Stream(connection, self.rows, now + self.first_ns))
            self.rows += 1

    def reply(self, connection: socket.socket, body: bytes) -> None:
        connection.setblocking(True)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        connection.setblocking(False)

    def send_due(self) -> None:
        now = time.perf_counter_ns()
        while self.first and self.first[0].due_ns <= now:
            stream = self.first.popleft()
            self.send(stream, self.opening)
        while self.later and self.later[0].due_ns <= now:
            stream = self.later.popleft()
            self.send(stream, self.token if stream.told < self.tokens - 1 else self.ending)

    def send(self, stream: Stream, data: bytes) -> None:
        place = stream.row * (self.tokens + 2) + 2 + stream.told
        if place < len(self.log):  # not reset since
            self.log[place] = time.perf_counter_ns()
        try:
            stream.connection.send(data)
        except OSError:  # the client has gone, or its buffer is full: its own loss
            return
        stream.told += 1
        if stream.told < self.tokens:
            stream.due_ns += self.gap_ns
            self.later.append(stream)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--first-s", type=float, default=0.1)
    parser.add_argument("--gap-s", type=float, default=0.01)
    parser.add_argument("--tokens", type=int, default=50)
    given = parser.parse_args()
    Server(given.first_s, given.gap_s, given.tokens).serve()
