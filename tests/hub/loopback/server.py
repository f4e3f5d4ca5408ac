"""`LoopbackHub`: the Hub and its storage on two ports of 127.0.0.1, in a thread, with a log of every request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from loopback.answers import BODY, HubError
from loopback.faults import Fault, Faults
from loopback.routes import Routes
from loopback.state import Repository, State, User
from loopback.storage import Storage

_CHUNK = 64 * 1024
_LONGEST_START_S = 30
_VIEWER = "datasets-server."


@dataclass
class RequestRecord:
    """A request and its answer.

    Attributes:
        host: where the client wanted to go; another host than ours means that it wanted to leave loopback.
        path: without the query.
        status: of the answer; None while it is worked on, and if the connection broke before an answer.
        bytes_received: of the request's body, as far as it was read.
        bytes_sent: of the answer's body.
        fault: name of the fault that struck it, or "".
    """

    method: str
    host: str
    path: str
    query: str
    headers: dict[str, str] = field(repr=False)
    status: int | None = None
    bytes_received: int = 0
    bytes_sent: int = 0
    fault: str = ""
    body: bytes = field(default=b"", repr=False)


class LoopbackHub:
    """A Hub for models and datasets that lives as long as its `with` block.

    Attributes:
        url: address of the Hub, for `HF_ENDPOINT`.
        storage_url: address of the store of large files, another origin; clients come there by redirects.
        token: of the user "me", who may write.
        faults: orders for errors and broken connections.
        requests: all requests in order of arrival, also those to hosts that are not ours (`clients.py` says how).
        environment: for processes whose clients use this server; the fixture `hub` fills it.
    """

    def __init__(self, port: int = 0) -> None:
        self.state, self.faults = State(), Faults()
        self.requests: list[RequestRecord] = []
        self.environment: dict[str, str] = {}
        self.token = self.add_user("me")
        self._sockets = [_listen(port), _listen(0)]
        self.url, self.storage_url = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in self._sockets)
        self.routes = Routes(self.state, self.url, self.storage_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="loopback-hub", daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        if not self._started.wait(_LONGEST_START_S):
            raise RuntimeError(f"the loopback server did not start within {_LONGEST_START_S} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def add_user(self, name: str, *, role: str = "write", token: str | None = None) -> str:
        """Makes a user, or another token of one; returns the token. `role` is "read" or "write"."""
        if role not in ("read", "write"):
            raise ValueError(f'role is {role!r}, but a token may "read" or "write"')
        token = token or f"hf_{name}{role}{len(self.state.users)}"
        self.state.users[token] = User(name, role)
        return token

    def repo(self, kind: str, repo_id: str) -> Repository:
        """A repository to look into; `kind` is "models", "datasets" or "spaces". Raises KeyError if there is none."""
        return self.state.repositories[kind.removesuffix("s"), repo_id]

    @property
    def strangers(self) -> list[RequestRecord]:
        """The requests for other hosts, but for the viewer that `datasets` makes up from the Hub's address."""
        others = [record for record in self.requests if record.host not in self._hosts]
        return [record for record in others if not record.host.startswith(_VIEWER)]

    def sent(self, method: str | None = None, match: str = "") -> list[RequestRecord]:
        """The requests of a method whose path contains `match`."""
        return [r for r in self.requests if match in r.path and method in (None, r.method)]

    @property
    def _hosts(self) -> set[str]:
        return {self.url.removeprefix("http://"), self.storage_url.removeprefix("http://")}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runners = self._loop.run_until_complete(self._start())
        self._started.set()
        self._loop.run_forever()
        for runner in runners:
            self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _start(self) -> list[web.AppRunner]:
        runners = []
        for part, listener in zip((self.routes, Storage(self.state)), self._sockets):
            app = web.Application(middlewares=[self._serve])
            part.add_to(app)
            # A client that waits on an open connection does not hold up the end of a test.
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, listener).start()
            runners.append(runner)
        return runners

    @web.middleware
    async def _serve(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> web.StreamResponse:
        """Logs the request, carries out a fault, and turns refusals into answers."""
        query, headers = request.query_string, dict(request.headers)
        record = RequestRecord(request.method, request.host, request.path, query, headers)
        self.requests.append(record)
        if request.host not in self._hosts:
            # `datasets` asks the viewer beside the Hub for what it knows of a set: nothing.
            is_viewer = request.host.startswith(_VIEWER)
            record.status = 404 if is_viewer else 403
            return web.Response(status=record.status, text=f"{request.host} is out of reach: nothing leaves loopback")
        fault = self.faults.strike(request.method, request.path)
        record.fault = fault.name if fault else ""
        broken = fault.broken if fault else None
        if not await self._read(request, record, until=0.5 if broken == "upload" else None):
            return _hang_up(request)
        if fault and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        response = await self._answer(request, handler, fault)
        body = b"" if request.method == "HEAD" else response.body or b""
        if broken == "answer" or (broken == "download" and not body):
            return _hang_up(request)
        record.status, record.bytes_sent = response.status, len(body)
        if fault and body and (broken == "download" or fault.body_delay_s):
            return await self._send_in_halves(request, response, record, fault)
        return response

    async def _read(self, request: web.Request, record: RequestRecord, until: float | None) -> bool:
        """Reads the body, or this share of it. Returns whether it is all there."""
        enough = None if until is None else until * (request.content_length or 0)
        parts = []
        while enough is None or record.bytes_received < enough:
            size = _CHUNK if enough is None else min(_CHUNK, max(1, int(enough) - record.bytes_received))
            part = await request.content.read(size)
            if not part:
                break
            parts.append(part)
            record.bytes_received += len(part)
        record.body = request[BODY] = b"".join(parts)
        return enough is None

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]], fault: Fault | None
    ) -> web.Response:
        if fault is None or fault.status is None or fault.after:
            try:
                response = await handler(request)
            except HubError as refusal:
                response = refusal.response()
        if fault and fault.status:
            text = f"a fault that the test ordered: {fault.name}"
            return web.json_response({"error": text}, status=fault.status, headers=fault.headers)
        return response

    async def _send_in_halves(
        self, request: web.Request, response: web.Response, record: RequestRecord, fault: Fault
    ) -> web.StreamResponse:
        """Sends the body with a pause in the middle, or with its second half missing."""
        body = response.body
        slow = web.StreamResponse(status=response.status, headers=response.headers)
        slow.content_length = len(body)
        await slow.prepare(request)
        await slow.write(body[: len(body) // 2])
        await asyncio.sleep(fault.body_delay_s)
        if fault.broken:
            record.bytes_sent = len(body) // 2
            request.transport.close()
            return slow
        await slow.write(body[len(body) // 2 :])
        return slow


def _hang_up(request: web.Request) -> web.Response:
    """Closes the connection; what it returns is never sent."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener
