"""A web service on this machine that answers as it is told, for tests of what asks services on the web."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    """What the service sends: JSON of ``body`` unless that is bytes; in drips of so many seconds a byte."""

    body: object = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    drip_s: float = 0.0

    @property
    def raw(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Length": str(len(body)), "Connection": "close"} | self.headers
        head = f"HTTP/1.1 {self.status} As told\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode() + b"\r\n" + body


@dataclass(frozen=True)
class Asked:
    """A question as it came."""

    method: str
    path: str
    query: dict
    headers: dict


class WebService:
    """Answers by path; ``silent`` paths are never answered. Everything that was asked is in ``asked``."""

    def __init__(self) -> None:
        self.answers: dict = {}
        self.silent: set[str] = set()
        self.asked: list[Asked] = []
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return self._server.server_address[:2]

    @property
    def base(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def told(self, asked: Asked) -> Answer | None:
        """The answer; None after the service has been silent to its end."""
        self.asked.append(asked)
        if asked.path in self.silent:
            self._over.wait()
            return None
        answer = self.answers.get(asked.path, Answer(status=404))
        return answer(asked) if callable(answer) else answer

    def waits(self, seconds: float) -> bool:
        """True where the service came to its end meanwhile."""
        return self._over.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, service: WebService, *rest: object) -> None:
        self.service = service
        super().__init__(*rest)

    def answer(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.service.told(Asked(self.command, url.path, dict(parse_qsl(url.query)), headers))
        with suppress(OSError):  # who asked may have gone
            if answer is not None:
                self.send(answer)
        self.close_connection = True

    do_GET = do_PUT = answer  # noqa: N815

    def send(self, answer: Answer) -> None:
        if not answer.drip_s:
            self.wfile.write(answer.raw)
            return
        for i in range(len(answer.raw)):
            self.wfile.write(answer.raw[i : i + 1])
            if self.service.waits(answer.drip_s):
                return

    def log_message(self, *_: object) -> None:
        pass


def only_this_machine(monkeypatch) -> list:
    """From now on a connection to anywhere but this machine is refused; returns the list of those that were tried."""
    import socket

    tried: list = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if address[0] not in ("127.0.0.1", "localhost"):
            tried.append(address)
            raise PermissionError(address)
        return connect(self, address)

    def guarded_look_up(host, *rest, **more):
        if host not in ("localhost", b"127.0.0.1") and not str(host).replace(".", "").isdecimal():
            tried.append(host)
            raise PermissionError(host)
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tried
