"""Requests that try to fill, lock or misuse `examples/service.py`, and what comes of each.

All of it goes to a service of its own on the loopback interface, some hundred connections and some
MB at most, for about a minute.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from networks import small_predictor
from report import arguments, tell

from trajflow.models.serialization import pack

SERVICE = Path(__file__).parents[1] / "service.py"
TIMEOUT = 3.0
"""Seconds that the service gives a request to come in."""
PATIENCE = 10.0
"""Seconds that an honest request is waited for."""
FILES = 512
"""Files that the service may open: what waits must not take them all."""
FLOOD = 32 * 2**20
"""Bytes that are sent at most where a few kB would be too much."""
HELD = 16 * 2**20
"""Bytes that the service may take for it."""


class Service:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
        self.process, self.port, self._log = process, port, log

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A connection to it."""
        one = socket.socket()
        if receive_buffer is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(PATIENCE)
        one.connect(("127.0.0.1", self.port))
        return one

    def ask(self, path: str = "/health", method: str = "GET", body: bytes = b"", **headers) -> int:
        """The status of an honest request; 0 where the connection is closed without one."""
        with self.connect() as one:
            one.sendall(self.head(method, path, **{"Content-Length": len(body)} | headers) + body)
            return status_of(one)

    def head(self, method: str, path: str, **headers: object) -> bytes:
        """The head of a request, for this host unless another one is given."""
        told = {"Host": f"localhost:{self.port}"} | headers
        lines = [f"{name}: {value}\r\n" for name, value in told.items() if value is not None]
        return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    def watch(self, rate: float = 50, receive_buffer: int | None = None, **headers: object):
        """A connection that has asked for a stream."""
        one = self.connect(receive_buffer)
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": 13}
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        one.sendall(self.head("GET", f"/stream?rate={rate}", **upgrade, **key, **headers))
        return one

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        """What it has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


@contextmanager
def served(folder: Path, *options: object) -> Iterator[Service]:
    """Run a service with a small network until the end of the block."""
    (folder / "weights.safetensors").write_bytes(
        pack(small_predictor().model, {"dt": 0.4, "unit": "m"})
    )
    with socket.socket() as free, tempfile.TemporaryFile() as log:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = [sys.executable, SERVICE, folder, "--port", port, "--deadline", 5000, *options]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
        )
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        service = Service(process, port, log)
        try:
            until = time.monotonic() + 120
            while not answers(service):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the service did not start: {service.log()}")
                time.sleep(0.2)
            yield service
        finally:
            process.terminate()
            process.wait(20)


def answers(service: Service) -> bool:
    """Whether an honest request is answered."""
    try:
        return service.ask() == 200
    except OSError:
        return False


def status_of(one: socket.socket) -> int:
    """The status of the answer on a connection; 0 where it is closed without one."""
    answer = b""
    try:
        while b"\r\n" not in answer and (more := one.recv(4096)):
            answer += more
    except ConnectionError:
        pass
    words = answer.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 else 0


def closed(one: socket.socket, seconds: float) -> bool:
    """Whether the other end closes a connection within so many seconds."""
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            one.settimeout(left)
            if not one.recv(65536):
                return True
    except ConnectionError:
        return True
    except TimeoutError:
        pass
    return False


def reset(one: socket.socket) -> None:
    """Close a connection at once, whatever is still under way."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()


def bytes_are_counted(service: Service) -> list[str]:
    """Bodies that are longer than they say, or than is taken."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    heads = {
        "chunks beside a length of 5": {"Content-Length": 5, "Transfer-Encoding": "chunked"},
        "chunks without a length": {"Transfer-Encoding": "chunked"},
        "a length of 32 MiB": {"Content-Length": FLOOD},
        "a length of 400 digits": {"Content-Length": "9" * 400},
    }
    wrong, before = [], service.memory()
    for method in ("POST", "GET"):
        for name, headers in heads.items():
            json_type = {"Content-Type": "application/json"}
            with service.connect() as one:
                one.sendall(service.head(method, "/positions", **headers, **json_type))
                sent = 0
                try:
                    while sent < FLOOD:
                        sent += one.send(chunk)
                    one.sendall(b"0\r\n\r\n")
                except (ConnectionError, TimeoutError):
                    pass
                if (status := status_of(one)) not in (0, 400, 411, 413):
                    wrong.append(f"{method} with {name} is answered {status} after {sent} bytes")
            if (grown := service.memory() - before) > HELD:
                wrong.append(f"{method} with {name} takes {grown / 2**20:.0f} MiB")
    return wrong


def waiting_locks_nobody_out(service: Service, count: int = 600) -> list[str]:
    """Connections that never finish their request, in its head or in its body."""
    starts = {
        "a head without an end": b"POST /positions HTTP/1.1\r\nHost: localhost\r\n",
        "nothing at all": b"",
        "a body without an end": service.head("POST", "/positions", **{"Content-Length": 99}),
    }
    wrong = []
    for name, start in starts.items():
        with ExitStack() as open_ones:
            many = []
            for _ in range(count):
                one = open_ones.enter_context(service.connect())
                try:
                    one.sendall(start)
                except ConnectionError:
                    continue
                many.append(one)
            began = time.monotonic()
            try:
                fine = service.ask() == 200
            except OSError:
                fine = False
            if not fine:
                wrong.append(f"{count} times {name}: nobody else is answered")
            while time.monotonic() < began + TIMEOUT + 1:
                time.sleep(0.25)
                with suppress(OSError):
                    many[-1].send(b"x")  # a byte now and then does not make it last
            left = sum(not closed(one, 0.1) for one in many)
            if left:
                wrong.append(f"{count} times {name}: {left} are still open after {TIMEOUT} s")
    return wrong


def strangers_are_refused(service: Service) -> list[str]:
    """Other names for this host, and pages of other origins, in requests and in streams."""
    own, evil = f"localhost:{service.port}", "evil.example"
    cases = {
        "its own name": ({"Host": own}, True),
        "its own address": ({"Host": f"127.0.0.1:{service.port}"}, True),
        "its own address of version 6": ({"Host": f"[::1]:{service.port}"}, True),
        "its own page": ({"Host": own, "Origin": f"http://{own}"}, True),
        "the name of another host": ({"Host": evil}, False),
        "a name that is none": ({"Host": "[::1"}, False),
        "no name": ({"Host": ""}, False),
        "a page of another host": ({"Origin": f"http://{evil}"}, False),
        "a page of another port": ({"Origin": "http://localhost:1"}, False),
        "a page of a file": ({"Origin": "null"}, False),
    }
    wrong = []
    for name, (headers, fine) in cases.items():
        status = service.ask(**headers)
        with service.watch(**headers) as one:
            stream = status_of(one)
        if (status == 200, stream == 101) != (fine, fine):
            wrong.append(f"{name}: a request is answered {status}, a stream {stream}")
    return wrong


def viewers_that_leave_make_no_noise(service: Service, count: int = 12) -> list[str]:
    """Connections that are closed at any moment, politely or not, and messages to the stream."""
    masked = b"\x00\x00\x00\x00"
    close, large = b"\x88\x80" + masked, b"\x82\xff" + (2**20).to_bytes(8, "big") + masked
    no_text, no_frame = b"\x81\x81" + masked + b"\xff", b"\xff\xff\xff\xff"
    leaving = [close, large + b" " * 2**20, no_text, no_frame]
    for k in range(count):
        for frame in leaving:
            with service.watch() as one:
                if k % 3:
                    one.recv(1024)
                    time.sleep(0.01 * (k % 7))
                try:
                    one.sendall(frame)
                except ConnectionError:
                    continue
                if k % 2:
                    reset(one)
        reset(service.watch())
        with service.watch() as one:
            one.recv(1)
            reset(one)
        with service.connect() as one:
            one.sendall(service.head("GET", "/forecasts") * 3)
            reset(one)
    time.sleep(1.0)
    return noise(service)


def noise(service: Service) -> list[str]:
    """Errors and tracebacks in the log."""
    signs = ("Traceback", "ERROR", "never retrieved")
    lines = service.log().splitlines()
    found = [line for line in lines if any(sign in line for sign in signs)]
    return [f"{len(found)} times in the log: {found[0]}"] if found else []


def viewers_that_do_not_read_make_room(service: Service, count: int = 40) -> list[str]:
    """More streams than are served, whose viewers never read them."""
    for step in range(9):
        ids = [f"agent {n}" for n in range(100)]
        positions = [[0.5 * step, float(n)] for n in range(100)]
        body = json.dumps({"time": 0.4 * step, "ids": ids, "positions": positions}).encode()
        kind = {"Content-Type": "application/json"}
        assert service.ask("/positions", "POST", body, **kind) == 200
    wrong, before = [], service.memory()
    with ExitStack() as open_ones:
        many = [open_ones.enter_context(service.watch(receive_buffer=4096)) for _ in range(count)]
        refused = sum(status_of(one) == 403 for one in many[16:])
        if refused < count - 16:
            wrong.append(f"{count - refused} of {count} viewers are served")
        until = time.monotonic() + 60
        while True:
            with service.watch() as one:
                if status_of(one) == 101:
                    break
            if time.monotonic() > until:
                wrong.append("after 60 s no other viewer is let in")
                break
            time.sleep(0.5)
        if (grown := service.memory() - before) > 8 * HELD:
            wrong.append(f"they take {grown / 2**20:.0f} MiB")
    return wrong


ATTACKS: dict[str, Callable[[Service], list[str]]] = {
    "bytes": bytes_are_counted,
    "waiting": waiting_locks_nobody_out,
    "strangers": strangers_are_refused,
    "leaving": viewers_that_leave_make_no_noise,
    "not reading": viewers_that_do_not_read_make_room,
}


def main() -> None:
    """Attack in every way, once."""
    asked = arguments(1, __doc__ or "")
    found: dict[str, object] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), "--timeout", TIMEOUT) as service,
    ):
        for name, attack in ATTACKS.items():
            began, wrong = time.monotonic(), attack(service) or noise(service)
            found[name] = wrong or f"held, {time.monotonic() - began:.0f} s"
    tell(found, asked.json)
    raise SystemExit(any(isinstance(one, list) for one in found.values()))


if __name__ == "__main__":
    main()
