"""What the Hub and its storage have in common: refusals, signed addresses, contents in whole or in part."""

from __future__ import annotations

import hashlib
import hmac
import re

from aiohttp import web

# A request's body, which the server reads before it calls a handler. aiohttp before 3.14 has plain keys only.
BODY = web.RequestKey("body", bytes) if hasattr(web, "RequestKey") else "body"


class HubError(Exception):
    """A refusal; `code` is what clients pick their exception by."""

    def __init__(self, status: int, message: str, code: str | None = None, **more: object) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more
        self.headers: dict[str, str] = {}

    def response(self) -> web.Response:
        headers = {"X-Error-Message": self.message.splitlines()[0], **self.headers}
        if self.code:
            headers["X-Error-Code"] = self.code
        return web.json_response({"error": self.message, **self.more}, status=self.status, headers=headers)


def sign(method: str, path: str) -> str:
    """A signature for one method and path of the storage, in place of a token."""
    return hmac.new(b"loopback", f"{method} {path}".encode(), hashlib.sha256).hexdigest()


def content_response(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    """A file, or the single range of it that was asked for. Raises HubError(416) for a range outside of it."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if asked is None or not any(asked.groups()):
        return web.Response(body=content, headers=headers)
    first, last = asked.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    stop = min(len(content), int(last) + 1) if first and last else len(content)
    if start >= stop:
        refusal = HubError(416, f"{request.headers['Range']} is not in a file of {len(content)} bytes")
        refusal.headers["Content-Range"] = f"bytes */{len(content)}"
        raise refusal
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(status=206, body=content[start:stop], headers=headers)
