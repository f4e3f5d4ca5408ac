"""The store of large files: an origin of its own, as behind the Hub, that takes signatures and refuses tokens."""

from __future__ import annotations

import hashlib

from aiohttp import web

from loopback.answers import BODY, HubError, content_response, sign
from loopback.state import Repository, State


def signed_path(method: str, repository: Repository, sha256: str) -> str:
    path = f"/{repository.kind}/{repository.id}/{sha256}"
    return f"{path}?signature={sign(method, path)}"


class Storage:
    def __init__(self, state: State) -> None:
        self.state = state

    def add_to(self, app: web.Application) -> None:
        path = "/{kind:model|dataset|space}/{namespace}/{name}/{sha256:[0-9a-f]{64}}"
        app.router.add_put(path, self.put)
        app.router.add_get(path, self.get)

    async def put(self, request: web.Request) -> web.Response:
        repository, sha256 = self._checked(request, "PUT")
        content = request[BODY]
        if request.content_length is None:
            raise HubError(411, "You must provide the Content-Length HTTP header.")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise HubError(400, "The content does not match its SHA256.")
        self.state.store[sha256] = content
        repository.large.add(sha256)
        return web.Response(headers={"ETag": f'"{sha256}"'})

    async def get(self, request: web.Request) -> web.Response:
        repository, sha256 = self._checked(request, "GET")
        if sha256 not in repository.large:
            raise HubError(404, "The specified key does not exist.")
        return content_response(request, self.state.store[sha256], {"ETag": f'"{sha256}"'})

    def _checked(self, request: web.Request, method: str) -> tuple[Repository, str]:
        # As S3 does; so a client that sends its token to the storage fails its test.
        if "Authorization" in request.headers:
            raise HubError(400, "Only one auth mechanism allowed; send the signature and no Authorization header")
        if request.query.get("signature") != sign(method, request.path):
            raise HubError(403, "The request signature we calculated does not match the signature you provided.")
        names = request.match_info
        repository = self.state.repositories.get((names["kind"], f"{names['namespace']}/{names['name']}"))
        if repository is None:
            raise HubError(404, "The specified key does not exist.")
        return repository, names["sha256"]
