"""Attack `examples/service.py` with requests that try to fill, block or misuse it.

    python examples/faults/hostile_requests.py [--json]

The script starts a service of its own on the loopback interface and attacks it for about a minute,
with at most some hundred connections and some MB.
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

from fixtures import small_predictor
from report import option_parser, print_report

from trajflow.models.serialization import pack

SERVICE = Path(__file__).parents[1] / "service.py"
TIMEOUT = 3.0
"""Seconds in which a request must arrive (`--timeout` of the service)."""
PATIENCE = 10.0
"""Seconds that a normal client waits."""
FILES = 512
"""Files that the service may open: waiting connections must not use all of them."""
FLOOD = 32 * 2**20
"""Most bytes sent to a request whose limit is 64 KiB."""
MAX_GROWTH = 16 * 2**20
"""Bytes by which the memory of the service may grow."""


class Service:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
        self.process, self.port, self._log = process, port, log

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """Open a connection."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def request(
        self, path: str = "/health", method: str = "GET", body: bytes = b"", **headers
    ) -> int:
        """Send a normal request; its status, 0 if the connection is closed without one."""
        headers = {"Content-Length": len(body)} | headers
        with self.connect() as connection:
            connection.sendall(self.head(method, path, **headers) + body)
            return read_status(connection)

    def head(self, method: str, path: str, **headers: object) -> bytes:
        """The head of a request to this host, unless there is another Host header."""
        headers = {"Host": f"localhost:{self.port}"} | headers
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")

    def watch(self, rate: float = 50, receive_buffer: int | None = None, **headers: object):
        """Open a connection and request a stream."""
        connection = self.connect(receive_buffer)
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": 13}
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        connection.sendall(self.head("GET", f"/stream?rate={rate}", **upgrade, **key, **headers))
        return connection

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        """Its log so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


@contextmanager
def serve(folder: Path, *options: object) -> Iterator[Service]:
    """Run a service with a small network until the end of the block."""
    (folder / "weights.safetensors").write_bytes(
        pack(small_predictor().model, {"dt": 0.4, "unit": "m"})
    )
    with socket.socket() as free, tempfile.TemporaryFile() as log:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, SERVICE, folder, "--port", port, "--deadline", 5000, *options]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
        )
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        service = Service(process, port, log)
        try:
            deadline = time.monotonic() + 120
            while not is_up(service):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the service did not start: {service.log()}")
                time.sleep(0.2)
            yield service
        finally:
            process.terminate()
            process.wait(20)


def is_up(service: Service) -> bool:
    """Whether a normal request is answered."""
    try:
        return service.request() == 200
    except OSError:
        return False


def read_status(connection: socket.socket) -> int:
    """The status of the response; 0 if the connection is closed without one."""
    response = b""
    try:
        while b"\r\n" not in response and (part := connection.recv(4096)):
            response += part
    except ConnectionError:
        pass
    words = response.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 else 0


def is_closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the service closes a connection within some seconds."""
    deadline = time.monotonic() + seconds
    try:
        while (remaining := deadline - time.monotonic()) > 0:
            connection.settimeout(remaining)
            if not connection.recv(65536):
                return True
    except ConnectionError:
        return True
    except TimeoutError:
        pass
    return False


def reset(connection: socket.socket) -> None:
    """Close a connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def oversized_bodies(service: Service) -> list[str]:
    """Send bodies that are longer than declared or longer than the limit."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    heads = {
        "chunks and a length of 5": {"Content-Length": 5, "Transfer-Encoding": "chunked"},
        "chunks without a length": {"Transfer-Encoding": "chunked"},
        "a length of 32 MiB": {"Content-Length": FLOOD},
        "a length of 400 digits": {"Content-Length": "9" * 400},
    }
    problems, before = [], service.memory()
    for method in ("POST", "GET"):
        for name, headers in heads.items():
            content_type = {"Content-Type": "application/json"}
            with service.connect() as connection:
                connection.sendall(service.head(method, "/positions", **headers, **content_type))
                sent = 0
                try:
                    while sent < FLOOD:
                        sent += connection.send(chunk)
                    connection.sendall(b"0\r\n\r\n")
                except (ConnectionError, TimeoutError):
                    pass
                if (status := read_status(connection)) not in (0, 400, 411, 413):
                    problems.append(f"{method} with {name}: status {status} after {sent} bytes")
            if (grown := service.memory() - before) > MAX_GROWTH:
                problems.append(f"{method} with {name}: memory grew by {grown / 2**20:.0f} MiB")
    return problems


def unfinished_requests(service: Service, count: int = 600) -> list[str]:
    """Open connections that never finish the head or body of their request."""
    starts = {
        "unfinished head": b"POST /positions HTTP/1.1\r\nHost: localhost\r\n",
        "no data": b"",
        "unfinished body": service.head("POST", "/positions", **{"Content-Length": 99}),
    }
    problems = []
    for name, start in starts.items():
        with ExitStack() as stack:
            connections = []
            for _ in range(count):
                connection = stack.enter_context(service.connect())
                try:
                    connection.sendall(start)
                except ConnectionError:
                    continue
                connections.append(connection)
            begin = time.monotonic()
            if not is_up(service):
                problems.append(f"{count} times {name}: a normal request is not answered")
            while time.monotonic() < begin + TIMEOUT + 1:
                time.sleep(0.25)
                with suppress(OSError):
                    connections[-1].send(b"x")  # slow data must not extend the timeout
            still_open = sum(not is_closed(one, 0.1) for one in connections)
            if still_open:
                problems.append(f"{count} times {name}: {still_open} open after {TIMEOUT} s")
    return problems


def foreign_hosts(service: Service) -> list[str]:
    """Use other names of the host and pages of other origins, in requests and streams."""
    own, foreign = f"localhost:{service.port}", "evil.example"
    cases = {
        "own name": ({"Host": own}, True),
        "own address": ({"Host": f"127.0.0.1:{service.port}"}, True),
        "own IPv6 address": ({"Host": f"[::1]:{service.port}"}, True),
        "own page": ({"Host": own, "Origin": f"http://{own}"}, True),
        "name of another host": ({"Host": foreign}, False),
        "invalid name": ({"Host": "[::1"}, False),
        "empty name": ({"Host": ""}, False),
        "page of another host": ({"Origin": f"http://{foreign}"}, False),
        "page of another port": ({"Origin": "http://localhost:1"}, False),
        "page of a file": ({"Origin": "null"}, False),
    }
    problems = []
    for name, (headers, allowed) in cases.items():
        status = service.request(**headers)
        with service.watch(**headers) as connection:
            stream = read_status(connection)
        if (status == 200, stream == 101) != (allowed, allowed):
            problems.append(f"{name}: status {status}, stream {stream}")
    return problems


def leaving_viewers(service: Service, count: int = 12) -> list[str]:
    """Close streams and requests at any moment, and send bad messages to streams."""
    mask = b"\x00\x00\x00\x00"
    close, large = b"\x88\x80" + mask, b"\x82\xff" + (2**20).to_bytes(8, "big") + mask
    not_text, not_a_frame = b"\x81\x81" + mask + b"\xff", b"\xff\xff\xff\xff"
    frames = [close, large + b" " * 2**20, not_text, not_a_frame]
    for k in range(count):
        for frame in frames:
            with service.watch() as connection:
                if k % 3:
                    connection.recv(1024)
                    time.sleep(0.01 * (k % 7))
                try:
                    connection.sendall(frame)
                except ConnectionError:
                    continue
                if k % 2:
                    reset(connection)
        reset(service.watch())
        with service.watch() as connection:
            connection.recv(1)
            reset(connection)
        with service.connect() as connection:
            connection.sendall(service.head("GET", "/forecasts") * 3)
            reset(connection)
    time.sleep(1.0)
    return logged_errors(service)


def logged_errors(service: Service) -> list[str]:
    """Errors and tracebacks in the log."""
    signs = ("Traceback", "ERROR", "never retrieved")
    lines = [line for line in service.log().splitlines() if any(sign in line for sign in signs)]
    return [f"{len(lines)} errors in the log: {lines[0]}"] if lines else []


def stalled_viewers(service: Service, count: int = 40) -> list[str]:
    """Open more streams than are served, and never read them."""
    for step in range(9):
        ids = [f"agent {n}" for n in range(100)]
        positions = [[0.5 * step, float(n)] for n in range(100)]
        body = json.dumps({"time": 0.4 * step, "ids": ids, "positions": positions}).encode()
        content_type = {"Content-Type": "application/json"}
        assert service.request("/positions", "POST", body, **content_type) == 200
    problems, before = [], service.memory()
    with ExitStack() as stack:
        viewers = [stack.enter_context(service.watch(receive_buffer=4096)) for _ in range(count)]
        refused = sum(read_status(viewer) == 403 for viewer in viewers[16:])
        if refused < count - 16:
            problems.append(f"{count - refused} of {count} viewers are served")
        deadline = time.monotonic() + 60
        while True:
            with service.watch() as viewer, suppress(TimeoutError):
                if read_status(viewer) == 101:
                    break
            if time.monotonic() > deadline:
                problems.append("no other viewer is accepted for 60 s")
                break
            time.sleep(0.5)
        if (grown := service.memory() - before) > 8 * MAX_GROWTH:
            problems.append(f"memory grew by {grown / 2**20:.0f} MiB")
    return problems


ATTACKS: dict[str, Callable[[Service], list[str]]] = {
    "oversized bodies": oversized_bodies,
    "unfinished requests": unfinished_requests,
    "foreign hosts": foreign_hosts,
    "leaving viewers": leaving_viewers,
    "stalled viewers": stalled_viewers,
}


def main() -> None:
    """Run every attack once."""
    options = option_parser(__doc__).parse_args()
    results: dict[str, object] = {}
    failed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), "--timeout", TIMEOUT) as service,
    ):
        for name, attack in ATTACKS.items():
            begin = time.monotonic()
            problems = attack(service) or logged_errors(service)
            results[name] = problems or f"ok, {time.monotonic() - begin:.0f} s"
            failed |= bool(problems)
    print_report(results, options.json)
    sys.exit(failed)


if __name__ == "__main__":
    main()
