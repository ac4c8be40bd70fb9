"""Forecasts over HTTP: positions are posted, futures are fetched or streamed, as JSON.

    pip install "trajflow[service]"
    python examples/service.py RUN --port 8000

    curl -X POST localhost:8000/positions -H 'content-type: application/json' \
        -d '{"time": 0.4, "ids": ["ann", "bob"], "positions": [[0.5, 2.0], [3.1, 1.9]]}'
    curl 'localhost:8000/forecasts?ids=ann'

`/stream?rate=10` is a WebSocket that sends what `/forecasts` returns, at an even rate. `/health`
reports whether positions come in; `/docs` lists all. It has no passwords: keep it on a network of
your own. Requests are bounded in size and time, connections in number, and a browser's page of
another origin is refused: `--allow-host` and `--allow-origin` name further ones.
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

MOST_AGENTS, MOST_BYTES, MOST_VIEWERS, MOST_CONNECTIONS = 256, 64 * 1024, 16, 128
ANSWER_SECONDS, VIEWER_SECONDS = 30.0, 5.0
"""Time for an answer to be taken, and for one message of a stream."""
Id = Annotated[str, Field(max_length=64, coerce_numbers_to_str=True)]


class Observation(BaseModel):
    """Where agents were at a time: seconds, ids, and positions in the unit of the run.

    An id is a text; 7 and "7" are the same.
    """

    model_config = ConfigDict(extra="forbid")
    time: FiniteFloat
    ids: Annotated[list[Id], Field(max_length=MOST_AGENTS)]
    positions: Annotated[list[list[FiniteFloat]], Field(max_length=MOST_AGENTS)]


def as_json(answer: OnlineForecast) -> dict[str, Any]:
    """A forecast as JSON has it; `samples` of an agent are [S, F, D]."""
    forecast = answer.forecast
    agents = [
        {
            "id": agent,
            "age": float(answer.age[k]),
            "seen": int(answer.seen[k]),
            "constant_velocity": bool(answer.constant_velocity[k]),
            "fault": forecast.faults[k] if forecast.faults is not None else None,
            "samples": forecast.samples[:, k].tolist(),
        }
        for k, agent in enumerate(answer.ids)
    ]
    return {
        "time": answer.time,
        "dt": forecast.dt,
        "agents": agents,
        "fallback": answer.fallback,
        "fewer_samples": answer.fewer_samples,
        "late": answer.late,
        "stale": answer.stale,
        "milliseconds": 1e3 * answer.seconds,
    }


def refusal(code: int, reason: str) -> JSONResponse:
    """An answer that gives the reason and ends the connection, whose rest is not read."""
    return JSONResponse({"detail": reason}, code, headers={"connection": "close"})


class Guard:
    """Passes on requests for a known host, of its own pages, with a body of a bounded size."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str]):
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer instead of the application where a request is refused."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        answer = self.refused(scope["headers"])
        if scope["type"] == "websocket":
            if answer is None:
                return await self.app(scope, receive, send)
            await receive()
            return await send({"type": "websocket.close", "code": status.WS_1008_POLICY_VIOLATION})
        answer = answer or self.unsized(scope)
        if answer is not None:
            return await answer(scope, receive, send)
        body: Message = {"type": "http.request", "body": b"", "more_body": True}
        while body["more_body"]:
            part = await receive()
            if part["type"] == "http.disconnect":
                return None
            body["body"] += part.get("body", b"")
            body["more_body"] = part.get("more_body", False)
            if len(body["body"]) > MOST_BYTES:
                answer = refusal(413, f"at most {MOST_BYTES} bytes a request, got more")
                return await answer(scope, receive, send)
        messages = iter([body])

        async def replayed() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replayed, send)

    def refused(self, headers: list[tuple[bytes, bytes]]) -> JSONResponse | None:
        """The answer to a request for another host, or from a page of another origin."""
        host = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if self.hosts is not None and (len(host) != 1 or name_of(host[0]) not in self.hosts):
            return refusal(400, "the host is not known here; start with --allow-host")
        for name, value in headers:
            origin = value.decode("latin-1")
            own = [origin.removeprefix("http://").removeprefix("https://")] == host
            if name == b"origin" and not own and origin not in self.origins:
                return refusal(403, "pages of this origin may not ask; start with --allow-origin")
        return None

    def unsized(self, scope: Scope) -> JSONResponse | None:
        """The answer to a request that does not state its size, or states too much."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"").decode("latin-1")
        if b"transfer-encoding" in headers or (
            scope["method"] == "POST" and not length.isdecimal()
        ):
            return refusal(status.HTTP_411_LENGTH_REQUIRED, "send content-length, not chunks")
        if len(length) > 9 or int(length or 0) > MOST_BYTES:
            return refusal(413, f"at most {MOST_BYTES} bytes a request, got {length}")
        return None


def name_of(host: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Connection(H11Protocol):
    """A connection that is ended where a request does not come in time, or an answer stays.

    Where there are too many, the one that has waited longest for a request makes room.
    """

    request_seconds: ClassVar[float] = 10.0
    waiting: ClassVar[dict["Connection", None]] = {}
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request; the one that waits longest leaves where there are too many."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._wait()
        if len(self.connections) > MOST_CONNECTIONS:
            oldest = next(iter(self.waiting))
            self.waiting.pop(oldest)
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._received()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait()
        super().on_response_complete()
        self._received()  # a request that came before this answer

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the rest to the WebSocket."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop()
        self.waiting[self] = None
        self.timer = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _received(self) -> None:
        """Wait for the answer instead, if the request is whole."""
        if self in self.waiting and self.conn.their_state in (h11.DONE, h11.MUST_CLOSE):
            self._stop()
            self.timer = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        self.waiting.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()


def service(
    online: OnlinePredictor, hosts: Collection[str] | None = None, origins: Collection[str] = ()
) -> FastAPI:
    """The application around a predictor in a loop.

    Args:
        online: What is pushed to and asked.
        hosts: Names under which it may be asked; None: any, which lets pages of any site in.
        origins: Origins of pages that may ask beside those of the host itself.
    """
    app, viewers = FastAPI(title="trajflow"), set()
    app.add_middleware(Guard, hosts=hosts, origins=origins)

    @app.exception_handler(TrajflowError)
    def wrong(_: Request, error: TrajflowError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status.HTTP_400_BAD_REQUEST)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        lines = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        return JSONResponse({"detail": "; ".join(lines)}, 422)

    @app.post("/positions")
    def positions(seen: Observation) -> dict[str, Any]:
        online.push(seen.time, seen.ids, seen.positions)
        return {"agents": len(seen.ids), "dropped": online.dropped}

    @app.get("/forecasts")
    def forecasts(ids: Annotated[list[Id] | None, Query(max_length=MOST_AGENTS)] = None) -> Any:
        return as_json(online.forecast(ids))

    @app.get("/health")
    def health() -> dict[str, Any]:
        try:
            answer = online.forecast([])
        except TrajflowError:
            return {"status": "waiting", "dropped": online.dropped}
        state = "stale" if answer.stale else "ok"
        return {"status": state, "time": answer.time, "dropped": online.dropped}

    @app.websocket("/stream")
    async def stream(
        socket: WebSocket, rate: Annotated[float, Query(ge=0.1, le=50)] = 10.0
    ) -> None:
        if len(viewers) >= MOST_VIEWERS:
            return await socket.close(status.WS_1013_TRY_AGAIN_LATER, "too many are watching")
        viewers.add(socket)
        try:
            await socket.accept()
            await send_forecasts(socket, online, rate)
        except (WebSocketDisconnect, TimeoutError):
            pass  # it left, or does not read
        finally:
            viewers.discard(socket)
            if abort := socket.scope.get("state", {}).get("abort"):
                asyncio.get_running_loop().call_later(VIEWER_SECONDS, abort)

    return app


async def send_forecasts(socket: WebSocket, online: OnlinePredictor, rate: float) -> None:
    """Send forecasts at an even rate until the viewer leaves.

    Raises:
        WebSocketDisconnect: It left.
        TimeoutError: It does not read.
    """
    leaving = asyncio.create_task(until_closed(socket))
    try:
        while not leaving.done():
            try:
                message = as_json(await run_in_threadpool(online.forecast))
            except TrajflowError as error:
                message = {"detail": str(error)}
            if leaving.done():
                return
            try:
                await asyncio.wait_for(socket.send_json(message), VIEWER_SECONDS)
            except RuntimeError:
                return  # the socket was closed a moment ago, which its reader is yet to learn
            await asyncio.wait([leaving], timeout=1 / rate)
    finally:
        leaving.cancel()


async def until_closed(socket: WebSocket) -> None:
    """Read, and pass over, what a viewer sends until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--deadline", type=float, default=100.0, help="milliseconds")
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds for a request to come in"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], help="a further name of this host"
    )
    parser.add_argument(
        "--allow-origin", action="append", default=[], help="pages that may ask: https://my.site"
    )
    given = parser.parse_args()
    try:
        predictor = Predictor.load(given.run)
        online = OnlinePredictor(
            predictor,
            samples=given.samples,
            deadline_ms=given.deadline,
            max_agents=MOST_AGENTS,
        )
    except TrajflowError as error:
        parser.exit(2, f"{error}\n")
    Connection.request_seconds = given.timeout
    # A viewer's bytes that are no text are its own fault: uvicorn writes a traceback for each.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "Invalid UTF-8" not in record.msg)
    hosts = {"localhost", "127.0.0.1", "::1", given.host.lower(), *map(str.lower, given.allow_host)}
    uvicorn.run(
        service(online, hosts, given.allow_origin),
        host=given.host,
        port=given.port,
        http=Connection,
        backlog=MOST_CONNECTIONS,
        ws_max_size=1024,
    )


if __name__ == "__main__":
    main()
