"""Forecasts over HTTP: positions are posted, futures are fetched or streamed, as JSON.

    pip install "trajflow[service]"
    python examples/service.py RUN --port 8000

    curl -X POST localhost:8000/positions -H 'content-type: application/json' \
        -d '{"time": 0.4, "ids": ["ann", "bob"], "positions": [[0.5, 2.0], [3.1, 1.9]]}'
    curl 'localhost:8000/forecasts?ids=ann'

`/stream?rate=10` is a WebSocket that says what `/forecasts` says, at an even rate. `/health` tells
whether positions come in; `/docs` lists all. It trusts whoever can reach it: keep it on a network
of your own.
"""

import argparse
import asyncio
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request, WebSocket, WebSocketDisconnect, status
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from trajflow import OnlineForecast, OnlinePredictor, Predictor, TrajflowError

MOST_AGENTS, MOST_BYTES, MOST_VIEWERS = 256, 64 * 1024, 16
Id = Annotated[str, Field(max_length=64, coerce_numbers_to_str=True)]


class Observation(BaseModel):
    """Where agents were at a time: seconds, ids, and positions in the unit of the run.

    An id is a text; 7 and "7" are the same.
    """

    model_config = ConfigDict(extra="forbid")
    time: FiniteFloat
    ids: Annotated[list[Id], Field(max_length=MOST_AGENTS)]
    positions: Annotated[list[list[FiniteFloat]], Field(max_length=MOST_AGENTS)]


def told(found: OnlineForecast) -> dict[str, Any]:
    """A forecast as JSON has it; `samples` of an agent are [S, F, D]."""
    samples = found.forecast.samples.swapaxes(0, 1).tolist()
    each = zip(found.ids, found.age, found.seen, found.straight, samples, strict=True)
    return {
        "time": found.time,
        "dt": found.forecast.dt,
        "agents": [
            {"id": id, "age": float(age), "seen": int(seen), "straight": bool(on), "samples": drawn}
            for id, age, seen, on, drawn in each
        ],
        "fallback": found.fallback,
        "thinned": found.thinned,
        "late": found.late,
        "stale": found.stale,
        "milliseconds": 1e3 * found.seconds,
    }


def refused(code: int, why: str) -> JSONResponse:
    """An answer that says why not."""
    return JSONResponse({"detail": why}, code)


def service(online: OnlinePredictor) -> FastAPI:
    """The application around a predictor in a loop."""
    app, viewers = FastAPI(title="trajflow"), set()

    @app.exception_handler(TrajflowError)
    def wrong(_: Request, error: TrajflowError) -> JSONResponse:
        return refused(status.HTTP_400_BAD_REQUEST, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        return refused(422, "; ".join(said))

    @app.middleware("http")
    async def small(request: Request, answer) -> Any:
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not length.isdecimal():
            return refused(status.HTTP_411_LENGTH_REQUIRED, "say content-length")
        if length and int(length) > MOST_BYTES:
            return refused(413, f"at most {MOST_BYTES} bytes a request, got {length}")
        return await answer(request)

    @app.post("/positions")
    def positions(seen: Observation) -> dict[str, Any]:
        online.push(seen.time, seen.ids, seen.positions)
        return {"agents": len(seen.ids), "dropped": online.dropped}

    @app.get("/forecasts")
    def forecasts(ids: Annotated[list[Id] | None, Query(max_length=MOST_AGENTS)] = None) -> Any:
        return told(online.forecast(ids))

    @app.get("/health")
    def health() -> dict[str, Any]:
        try:
            found = online.forecast([])
        except TrajflowError:
            return {"status": "waiting", "dropped": online.dropped}
        state = "stale" if found.stale else "ok"
        return {"status": state, "time": found.time, "dropped": online.dropped}

    @app.websocket("/stream")
    async def stream(
        socket: WebSocket, rate: Annotated[float, Query(ge=0.1, le=50)] = 10.0
    ) -> None:
        if len(viewers) >= MOST_VIEWERS:
            return await socket.close(status.WS_1013_TRY_AGAIN_LATER, "too many are watching")
        await socket.accept()
        viewers.add(socket)
        try:
            while True:
                try:
                    await socket.send_json(told(await run_in_threadpool(online.forecast)))
                except TrajflowError as error:
                    await socket.send_json({"detail": str(error)})
                await asyncio.sleep(1 / rate)
        except WebSocketDisconnect:
            return None
        finally:
            viewers.discard(socket)

    return app


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--deadline", type=float, default=100.0, help="milliseconds")
    given = parser.parse_args()
    try:
        predictor = Predictor.load(given.run)
        online = OnlinePredictor(
            predictor,
            samples=given.samples,
            deadline_ms=given.deadline,
            most_agents=MOST_AGENTS,
        )
    except TrajflowError as error:
        parser.exit(2, f"{error}\n")
    uvicorn.run(service(online), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
