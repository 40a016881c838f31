"""From one request to its answer: key, limits, fault, model, whole or streamed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp import web

from ratchet import codec
from ratchet.errors import CodecError, ConfigError, UnknownNameError
from ratchet.ports import Usage
from ratchet.records import Json
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, Wire
from ratchet.simulated.counts import Received
from ratchet.simulated.faults import (
    HEADER,
    STATUSES,
    Fault,
    parse_fault,
    retry_headers,
    split_model,
    spoil_event,
    spoil_json,
)
from ratchet.simulated.models import REFUSAL, Plan, SimulatedModel, count_input_tokens, count_tokens

if TYPE_CHECKING:
    from ratchet.simulated.server import SimulatedServer

MARK_HEADER = "x-ratchet-simulated"
_JSON = "application/json"
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
_HANG_S = 24 * 3600.0


class Answering:
    """One request on its way; used once."""

    def __init__(
        self, server: SimulatedServer, wire: Wire, request: web.Request, body: bytes, received: Received
    ) -> None:
        self.server = server
        self.wire = wire
        self.request = request
        self.body = body
        self.received = received
        self.headers = {MARK_HEADER: "1", wire.request_id_header: f"req_{received.hash}{received.nth:x}"}

    async def respond(self) -> web.StreamResponse:
        """The response, already sent where it streams or goes wrong."""
        try:
            return await self._respond()
        except InvalidRequestError as error:
            return self._refuse(Refused(status=error.status, message=str(error), param=error.param))

    async def _respond(self) -> web.StreamResponse:
        call, fault = self._call()
        model = self.server.models.get(call.model) or self.server.default
        if fault is None and (wait_s := self._wait_s(call, model)):
            message = f"Rate limit reached for {call.model}. Please try again in {wait_s:.3g}s."
            return self._refuse(Refused(status=429, message=message, retry_after_s=wait_s), retry="seconds")
        if fault is None:
            return await self._answer(call, model, None)
        self.received.fault = fault.kind
        return await self._go_wrong(call, model, fault)

    def _call(self) -> tuple[Call, Fault | None]:
        if self.server.require_key and not self._has_key():
            raise InvalidRequestError("You didn't provide an API key.", status=self.wire.no_key_status)
        if (needed := self.wire.required_header) and needed not in self.request.headers:
            raise InvalidRequestError(f"{needed}: header is required")
        try:
            body = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            body = _parse_slowly(self.body)
        if not isinstance(body, dict):
            raise InvalidRequestError("The body of the request must be a JSON object.")
        path: Mapping[str, str] = self.request.match_info
        if path and "alt" in self.request.query:
            path = {**path, "alt": self.request.query["alt"]}
        with _readable():
            call = self.wire.parse(cast("dict[str, Any]", body), path)
        name, fault = split_model(call.model) if "+" in call.model else (call.model, None)
        received = self.received
        received.model = name
        if fault is None and (spec := self.request.headers.get(HEADER)):
            try:
                fault = parse_fault(spec)
            except (ConfigError, UnknownNameError) as error:
                raise InvalidRequestError(f"{HEADER}: {error}") from None
        key = f"{received.hash}/{received.nth}"
        if fault is None and self.server.faults.faults:
            fault = self.server.faults.draw(received.number, self.wire.name, name, key)
        call = dataclasses.replace(
            call, model=name, id=f"{received.hash[:24]}{received.nth:x}", created_s=int(received.received_s)
        )
        return call, fault

    def _has_key(self) -> bool:
        headers, names = self.request.headers, self.wire.key_headers
        if not names or (names[0] == "x-goog-api-key" and self.request.query.get("key")):
            return True
        return any(headers.get(name, "").removeprefix("Bearer").strip() for name in names)

    def _wait_s(self, call: Call, model: SimulatedModel) -> float:
        if model.profile.rpm is None and model.profile.tpm is None:
            return 0.0
        with _readable():
            tokens = count_input_tokens(call.messages, call.tools)
        return self.server.rates.admit(call.model, model.profile, tokens)

    def _refuse(self, refused: Refused, *, retry: str = "none") -> web.Response:
        in_body = retry == "info"
        content, more = self.wire.error(dataclasses.replace(refused, tell_in_body=in_body))
        headers = {**self.headers, **more, **retry_headers(retry, refused.retry_after_s or 0.0)}
        self.received.status = refused.status
        return web.Response(
            status=refused.status, body=orjson.dumps(content), headers=headers, content_type=_JSON
        )

    def _plan(self, call: Call, model: SimulatedModel, *, whole: bool) -> Plan:
        if not call.generates:
            rng = random.Random(f"{self.received.hash}/{self.received.nth}")
            return Plan(model=call.model, ttft_s=model.profile.ttft_s.draw(rng))
        with _readable():
            return model.respond(
                call.messages,
                call.params,
                tools=call.tools,
                response_format=call.response_format,
                repeat=self.server.counts.repeat(self.received, whole=whole),
                model=call.model,
            )

    async def _answer(self, call: Call, model: SimulatedModel, fault: Fault | None) -> web.StreamResponse:
        plan = self._plan(call, model, whole=fault is None)
        if fault is not None:
            plan = _change(plan, fault)
        if call.stream:
            return await self._stream(call, plan, fault)
        if delay_s := plan.latency_s:
            await asyncio.sleep(delay_s)
        body = _dumps(self.wire.whole(call, plan))
        if fault is not None and fault.kind in ("malformed", "malformed_json"):
            body = spoil_json(body)
        if fault is not None and fault.kind in ("cut", "drip", "close"):
            return await self._send_badly(body, fault)
        self.received.status = 200
        return web.Response(body=body, headers=self.headers, content_type=_JSON)

    async def _go_wrong(self, call: Call, model: SimulatedModel, fault: Fault) -> web.StreamResponse:
        if (status := fault.status) is not None:
            retry = fault.retry if status in (408, 409, 429, 500, 502, 503, 504, 529) else "none"
            refused = Refused(status=status, message=STATUSES[status], retry_after_s=fault.after_s)
            return self._refuse(refused, retry=retry)
        if fault.kind == "hang":
            await asyncio.sleep(_HANG_S)
        if fault.kind in ("hang", "drop"):
            self._close()
            return web.Response()
        if fault.kind == "html":
            self.received.status = 502
            return web.Response(status=502, body=_HTML, headers=self.headers, content_type="text/html")
        if fault.kind == "error_event" and not call.stream:
            return self._refuse(Refused(status=500, message=STATUSES[500]))
        return await self._answer(call, model, fault)

    async def _stream(self, call: Call, plan: Plan, fault: Fault | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={**self.headers, "cache-control": "no-cache"})
        response.headers["content-type"] = str(call.extras.get("stream_type") or self.wire.stream_type)
        await response.prepare(self.request)
        events = self.wire.events(call, plan)
        if fault is not None:
            await self._stream_badly(response, list(events), fault)
        else:
            await self._write_events(response, events)
        if fault is None or fault.kind != "cut":
            self.received.status = 200
            await response.write_eof()
        if fault is not None and fault.kind in ("cut", "close"):
            self._close()
        return response

    async def _write_events(
        self, response: web.StreamResponse, events: Iterable[tuple[float, bytes]]
    ) -> None:
        """Each event at its time, counted from the start so that lateness does not add up."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        ready = b""
        for wait_s, data in events:
            if wait_s:
                due_s += wait_s
                if ready:
                    await response.write(ready)
                    ready = b""
                if (left_s := due_s - loop.time()) > 0:
                    await asyncio.sleep(left_s)
            ready += data
        if ready:
            await response.write(ready)

    async def _stream_badly(
        self, response: web.StreamResponse, events: list[tuple[float, bytes]], fault: Fault
    ) -> None:
        half = len(events) // 2
        if fault.kind == "cut":
            events = events[:half]
        elif fault.kind == "drip":
            events = [(wait_s + fault.gap_s, data) for wait_s, data in events]
        elif fault.kind in ("malformed", "malformed_sse"):
            wait_s, data = events[half]
            events[half] = wait_s, spoil_event(data, self.wire.stream_type)
        elif fault.kind == "error_event":
            status = 529 if self.wire.name == "anthropic" else 500
            refused = Refused(status=status, message=STATUSES[status])
            events = [*events[:half], (0.0, self.wire.error_event(refused))]
        await self._write_events(response, events)

    async def _send_badly(self, body: bytes, fault: Fault) -> web.StreamResponse:
        """A whole answer in small pieces, only half of it, or with the connection closed after it."""
        response = web.StreamResponse(headers=self.headers)
        response.content_type = _JSON
        response.content_length = len(body)
        await response.prepare(self.request)
        if fault.kind == "cut":
            await response.write(body[: len(body) // 2])
            self._close()
            return response
        size = max(1, len(body) // 20) if fault.kind == "drip" else len(body)
        for start in range(0, len(body), size):
            if fault.kind == "drip":
                await asyncio.sleep(fault.gap_s)
            await response.write(body[start : start + size])
        self.received.status = 200
        await response.write_eof()
        if fault.kind == "close":
            self._close()
        return response

    def _close(self) -> None:
        if self.request.transport is not None:
            self.request.transport.close()


@contextmanager
def _readable() -> Generator[None]:
    """What a hostile request breaks deep inside is that request's fault."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        message = f"The request can't be understood: {type(error).__name__}: {error}"
        raise InvalidRequestError(message) from None


def _parse_slowly(data: bytes) -> Json:
    """What orjson does not take: integers past 64 bits; else raises InvalidRequestError."""
    try:
        body = codec.parse(data)
        json.dumps(body, ensure_ascii=False).encode()
    except (CodecError, UnicodeEncodeError) as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise InvalidRequestError(message) from None
    return body


def _dumps(content: Json) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # integers past 64 bits, echoed
        return json.dumps(content).encode()


def _change(plan: Plan, fault: Fault) -> Plan:
    """The answer that this fault makes of it, with the usage of what it says."""
    if fault.kind == "empty":
        return _says(dataclasses.replace(plan, empty=True, text="", tool_calls=(), finish_reason="stop"))
    if fault.kind == "refusal":
        return _says(dataclasses.replace(plan, refusal=REFUSAL, text="", tool_calls=(), finish_reason="stop"))
    if fault.kind == "content_filter":
        half = plan.text[: len(plan.text) // 2]
        return _says(dataclasses.replace(plan, text=half, tool_calls=(), finish_reason="content_filter"))
    if fault.kind == "wrong_usage":
        usage = plan.usage
        wrong = {f.name: int((getattr(usage, f.name) or 0) * fault.factor) for f in dataclasses.fields(Usage)}
        return dataclasses.replace(plan, usage=Usage(**wrong))
    return plan


def _says(plan: Plan) -> Plan:
    made = count_tokens(plan.refusal or plan.text) + (plan.usage.reasoning_tokens or 0)
    return dataclasses.replace(plan, usage=dataclasses.replace(plan.usage, output_tokens=made))
