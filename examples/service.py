"""A service for forecasts over HTTP: post positions, get or stream forecasts, as JSON.

    pip install "trajflow[service]"
    python examples/service.py RUN --port 8000

    curl -X POST localhost:8000/positions -H 'content-type: application/json' \
        -d '{"time": 0.4, "ids": ["ann", "bob"], "positions": [[0.5, 2.0], [3.1, 1.9]]}'
    curl 'localhost:8000/forecasts?ids=ann'

`/stream?rate=10` is a WebSocket that sends the response of `/forecasts` at a constant rate.
`/health` reports whether positions arrive; `/docs` lists all routes. There are no passwords: keep
the service on a private network. Requests are limited in size and time, connections in number, and
web pages of other origins are refused; `--allow-host` and `--allow-origin` add exceptions.
"""

import argparse
import asyncio
import logging
from collections.abc import Collection
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import h11
import uvicorn
from fastapi import FastAPI, Query, Request, WebSocket, WebSocketDisconnect, status
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from trajflow import OnlineForecast, OnlinePredictor, Predictor, TrajflowError

MAX_AGENTS, MAX_BYTES, MAX_VIEWERS, MAX_CONNECTIONS = 256, 64 * 1024, 16, 128
RESPONSE_SECONDS, MESSAGE_SECONDS = 30.0, 5.0
"""Time limits for sending a response, and one message of a stream."""
Id = Annotated[str, Field(max_length=64, coerce_numbers_to_str=True)]


class Observation(BaseModel):
    """Positions of agents at a time: seconds, ids, and positions in the unit of the run.

    Ids are strings; 7 and "7" are the same id.
    """

    model_config = ConfigDict(extra="forbid")
    time: FiniteFloat
    ids: Annotated[list[Id], Field(max_length=MAX_AGENTS)]
    positions: Annotated[list[list[FiniteFloat]], Field(max_length=MAX_AGENTS)]


def to_json(result: OnlineForecast) -> dict[str, Any]:
    """A forecast as values for JSON; the `samples` of an agent are [S, F, D]."""
    forecast = result.forecast
    agents = [
        {
            "id": agent,
            "age": float(result.age[k]),
            "seen": int(result.seen[k]),
            "constant_velocity": bool(result.constant_velocity[k]),
            "fault": forecast.faults[k] if forecast.faults is not None else None,
            "samples": forecast.samples[:, k].tolist(),
        }
        for k, agent in enumerate(result.ids)
    ]
    return {
        "time": result.time,
        "dt": forecast.dt,
        "agents": agents,
        "fallback": result.fallback,
        "fewer_samples": result.fewer_samples,
        "late": result.late,
        "stale": result.stale,
        "milliseconds": 1e3 * result.seconds,
    }


def refusal(code: int, reason: str) -> JSONResponse:
    """A response with the reason, which closes the connection without reading the rest."""
    return JSONResponse({"detail": reason}, code, headers={"connection": "close"})


class Guard:
    """Middleware that refuses other hosts, pages of other origins, and large bodies."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str]):
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond in place of the application if the request is refused."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        response = self.check_headers(scope["headers"])
        if scope["type"] == "websocket":
            if response is None:
                return await self.app(scope, receive, send)
            await receive()
            return await send({"type": "websocket.close", "code": status.WS_1008_POLICY_VIOLATION})
        response = response or self.check_length(scope)
        if response is not None:
            return await response(scope, receive, send)
        body: Message = {"type": "http.request", "body": b"", "more_body": True}
        while body["more_body"]:
            part = await receive()
            if part["type"] == "http.disconnect":
                return None
            body["body"] += part.get("body", b"")
            body["more_body"] = part.get("more_body", False)
            if len(body["body"]) > MAX_BYTES:
                response = refusal(413, f"at most {MAX_BYTES} bytes a request, got more")
                return await response(scope, receive, send)
        messages = iter([body])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replay, send)

    def check_headers(self, headers: list[tuple[bytes, bytes]]) -> JSONResponse | None:
        """The refusal of another host or a page of another origin; None if allowed."""
        host = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if self.hosts is not None and (len(host) != 1 or host_name(host[0]) not in self.hosts):
            return refusal(400, "this host is not allowed; start the service with --allow-host")
        for name, value in headers:
            origin = value.decode("latin-1")
            own = [origin.removeprefix("http://").removeprefix("https://")] == host
            if name == b"origin" and not own and origin not in self.origins:
                return refusal(
                    403, "this origin is not allowed; start the service with --allow-origin"
                )
        return None

    def check_length(self, scope: Scope) -> JSONResponse | None:
        """The refusal of a request without a length or with a large one; None if allowed."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"").decode("latin-1")
        if b"transfer-encoding" in headers or (
            scope["method"] == "POST" and not length.isdecimal()
        ):
            return refusal(status.HTTP_411_LENGTH_REQUIRED, "send content-length, not chunks")
        if len(length) > 9 or int(length or 0) > MAX_BYTES:
            return refusal(413, f"at most {MAX_BYTES} bytes a request, got {length}")
        return None


def host_name(host: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Connection(H11Protocol):
    """A connection with time limits for the request and the response.

    If there are too many connections, the one that has waited longest for a request is closed.
    """

    request_seconds: ClassVar[float] = 10.0
    waiting: ClassVar[dict["Connection", None]] = {}
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request; close the longest waiting connection if there are too many."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._wait()
        if len(self.connections) > MAX_CONNECTIONS:
            oldest = next(iter(self.waiting))
            self.waiting.pop(oldest)
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read data of a request."""
        super().data_received(data)
        self._received()

    def on_response_complete(self) -> None:
        """Wait for the next request on this connection."""
        self._wait()
        super().on_response_complete()
        self._received()  # a request that arrived before this response was sent

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Stop the timer: WebSockets have their own limits."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop()
        self.waiting[self] = None
        self.timer = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _received(self) -> None:
        """Start the time limit of the response if the request is complete."""
        if self in self.waiting and self.conn.their_state in (h11.DONE, h11.MUST_CLOSE):
            self._stop()
            self.timer = self.loop.call_later(RESPONSE_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        self.waiting.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()


def service(
    online: OnlinePredictor, hosts: Collection[str] | None = None, origins: Collection[str] = ()
) -> FastAPI:
    """The application that serves an online predictor.

    Args:
        online: The predictor.
        hosts: Allowed host names; None allows any, and so pages of any web site.
        origins: Allowed origins of web pages, besides the host itself.
    """
    app, viewers = FastAPI(title="trajflow"), set()
    app.add_middleware(Guard, hosts=hosts, origins=origins)

    @app.exception_handler(TrajflowError)
    def on_error(_: Request, error: TrajflowError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status.HTTP_400_BAD_REQUEST)

    @app.exception_handler(RequestValidationError)
    def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return JSONResponse({"detail": "; ".join(lines)}, 422)

    @app.post("/positions")
    def positions(observation: Observation) -> dict[str, Any]:
        online.push(observation.time, observation.ids, observation.positions)
        return {"agents": len(observation.ids), "dropped": online.dropped}

    @app.get("/forecasts")
    def forecasts(ids: Annotated[list[Id] | None, Query(max_length=MAX_AGENTS)] = None) -> Any:
        return to_json(online.forecast(ids))

    @app.get("/health")
    def health() -> dict[str, Any]:
        try:
            result = online.forecast([])
        except TrajflowError:
            return {"status": "waiting", "dropped": online.dropped}
        state = "stale" if result.stale else "ok"
        return {"status": state, "time": result.time, "dropped": online.dropped}

    @app.websocket("/stream")
    async def stream(
        socket: WebSocket, rate: Annotated[float, Query(ge=0.1, le=50)] = 10.0
    ) -> None:
        if len(viewers) >= MAX_VIEWERS:
            return await socket.close(status.WS_1013_TRY_AGAIN_LATER, "too many viewers")
        viewers.add(socket)
        try:
            await socket.accept()
            await send_forecasts(socket, online, rate)
        except (WebSocketDisconnect, TimeoutError):
            pass  # the viewer left, or does not read
        finally:
            viewers.discard(socket)
            if abort := socket.scope.get("state", {}).get("abort"):
                asyncio.get_running_loop().call_later(MESSAGE_SECONDS, abort)

    return app


async def send_forecasts(socket: WebSocket, online: OnlinePredictor, rate: float) -> None:
    """Send forecasts at a constant rate until the viewer leaves.

    Raises:
        WebSocketDisconnect: The viewer left.
        TimeoutError: The viewer does not read.
    """
    leaving = asyncio.create_task(wait_closed(socket))
    try:
        while not leaving.done():
            try:
                message = to_json(await run_in_threadpool(online.forecast))
            except TrajflowError as error:
                message = {"detail": str(error)}
            if leaving.done():
                return
            try:
                await asyncio.wait_for(socket.send_json(message), MESSAGE_SECONDS)
            except RuntimeError:
                return  # the socket is closed, but `wait_closed` has not noticed yet
            await asyncio.wait([leaving], timeout=1 / rate)
    finally:
        leaving.cancel()


async def wait_closed(socket: WebSocket) -> None:
    """Ignore the messages of a viewer until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def main() -> None:
    """Run the service."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder or .onnx file")
    parser.add_argument("--host", default="127.0.0.1", help="address; 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="port; 8000")
    parser.add_argument("--samples", type=int, default=20, help="futures of each agent; 20")
    parser.add_argument("--deadline", type=float, default=100.0, help="milliseconds; 100")
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds in which a request must arrive; 10"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], help="another name of this host"
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        help="origin of web pages, like https://my.site",
    )
    options = parser.parse_args()
    try:
        predictor = Predictor.load(options.run)
        online = OnlinePredictor(
            predictor,
            samples=options.samples,
            deadline_ms=options.deadline,
            max_agents=MAX_AGENTS,
        )
    except TrajflowError as error:
        parser.exit(2, f"{error}\n")
    Connection.request_seconds = options.timeout
    # uvicorn would log a traceback for each viewer that sends invalid UTF-8.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "Invalid UTF-8" not in record.msg)
    hosts = {
        "localhost",
        "127.0.0.1",
        "::1",
        options.host.lower(),
        *map(str.lower, options.allow_host),
    }
    uvicorn.run(
        service(online, hosts, options.allow_origin),
        host=options.host,
        port=options.port,
        http=Connection,
        backlog=MAX_CONNECTIONS,
        ws_max_size=1024,
    )


if __name__ == "__main__":
    main()
