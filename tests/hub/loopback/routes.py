"""Which address of the Hub leads to which handler.

What the clients ask was read in their source and seen in the log of requests. Statuses and error codes follow the
Hub: a private repository does not exist for others (404, or 401 without a token).
"""

from __future__ import annotations

from aiohttp import web

from loopback.accounts import Accounts
from loopback.answers import HubError
from loopback.reading import Reading
from loopback.writing import Writing

_API = "/api/{kinds:models|datasets|spaces}/{namespace}/{name}"
_PAGES = "/{prefix:(?:datasets/|spaces/)?}{namespace}/{name}"


class Routes(Accounts, Reading, Writing):
    def add_to(self, app: web.Application) -> None:
        add = app.router.add_route
        add("GET", "/api/whoami-v2", self.whoami)
        add("POST", "/api/validate-yaml", self.validate_card)
        add("POST", "/api/repos/create", self.create)
        add("DELETE", "/api/repos/delete", self.delete)
        add("PUT", _API + "/settings", self.change_settings)
        app.router.add_get(_API, self.info)
        app.router.add_get(_API + "/revision/{revision}", self.info)
        add("GET", _API + "/refs", self.list_refs)
        add("POST", _API + "/branch/{name_of_ref}", self.create_branch)
        add("DELETE", _API + "/branch/{name_of_ref}", self.delete_branch)
        add("POST", _API + "/tag/{revision}", self.create_tag)
        add("DELETE", _API + "/tag/{name_of_ref}", self.delete_tag)
        add("GET", _API + "/commits/{revision}", self.list_commits)
        add("GET", _API + "/tree/{revision}{slash:/?}{path:.*}", self.list_tree)
        add("POST", _API + "/paths-info/{revision}", self.paths_info)
        add("POST", _API + "/preupload/{revision}", self.preupload)
        add("POST", _API + "/commit/{revision}", self.commit)
        add("POST", _PAGES + ".git/info/lfs/objects/batch", self.large_file_batch)
        add("POST", _PAGES + ".git/info/lfs/objects/verify", self.verify_large_file)
        app.router.add_get(_PAGES + "/resolve/{revision}/{path:.+}", self.download)
        add("*", "/api/{kinds:models|datasets|spaces}/{name}", self.no_namespace)
        add("*", "/{rest:.*}", self.unknown)

    async def no_namespace(self, request: web.Request) -> web.Response:
        raise self._not_found(self._user(request))

    async def unknown(self, request: web.Request) -> web.Response:
        raise HubError(501, f"the loopback server does not know {request.method} {request.path}")
