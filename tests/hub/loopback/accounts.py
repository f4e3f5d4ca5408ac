"""The Hub's answers about accounts, repositories as a whole, branches and tags."""

from __future__ import annotations

import re

from aiohttp import web

from loopback.access import Access, request_json
from loopback.answers import HubError
from loopback.cards import read_card
from loopback.state import Repository, User

_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?")


class Accounts(Access):
    async def whoami(self, request: web.Request) -> web.Response:
        user = self._signed_in(request)
        token = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": user.role}}
        account = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "isPro": False}
        return web.json_response({**account, "orgs": [], "auth": token})

    async def validate_card(self, request: web.Request) -> web.Response:
        _, errors, warnings = read_card(request_json(request)["content"])
        answer = {
            "errors": [{"message": text} for text in errors],
            "warnings": [{"message": text} for text in warnings],
        }
        return web.json_response(answer, status=400 if errors else 200)

    async def create(self, request: web.Request) -> web.Response:
        user, asked = self._signed_in(request), request_json(request)
        kind, repo_id = _asked_repository(asked, user)
        if not all(_NAME.fullmatch(part) for part in repo_id.split("/")):
            raise HubError(400, f"Invalid repo name: {repo_id}")
        self._check_write(user, repo_id.split("/")[0], f"create a {kind} under the namespace")
        if kind == "space" and asked.get("sdk") not in ("gradio", "docker", "static"):
            raise HubError(400, "A Space needs an sdk")
        page = f"{self.url}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
        if (kind, repo_id) in self.state.repositories:
            raise HubError(409, f"You already created this {kind} repo: {repo_id}", url=page)
        private = asked.get("private") is True or asked.get("visibility") == "private"
        self.state.create(kind, repo_id, private=private)
        return web.json_response({"url": page, "name": repo_id, "id": repo_id})

    async def delete(self, request: web.Request) -> web.Response:
        user = self._signed_in(request)
        repository = self._visible(*_asked_repository(request_json(request), user), user)
        self._check_write(user, repository.owner, "delete a repository of")
        del self.state.repositories[repository.kind, repository.id]
        return web.Response(text="OK")

    async def change_settings(self, request: web.Request) -> web.Response:
        repository, asked = self._repository(request, write=True), request_json(request)
        if "private" in asked or "visibility" in asked:
            repository.private = asked.get("private") is True or asked.get("visibility") == "private"
        if "gated" in asked:
            repository.gated = bool(asked["gated"])
        return web.json_response({"private": repository.private, "gated": repository.gated})

    async def list_refs(self, request: web.Request) -> web.Response:
        repository = self._repository(request)

        def listed(prefix: str) -> list[dict]:
            refs = [ref for ref in repository.refs if ref.startswith(prefix)]
            return [{"name": r.removeprefix(prefix), "ref": r, "targetCommit": repository.refs[r]} for r in refs]

        answer = {"branches": listed("refs/heads/"), "tags": listed("refs/tags/"), "converts": []}
        if request.query.get("include_prs"):
            answer["pullRequests"] = listed("refs/pr/")
        return web.json_response(answer)

    async def create_branch(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        start = request_json(request).get("startingPoint", "main")
        return self._add_ref(repository, "refs/heads/" + request.match_info["name_of_ref"], start)

    async def create_tag(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        return self._add_ref(repository, "refs/tags/" + request_json(request)["tag"], request.match_info["revision"])

    async def delete_branch(self, request: web.Request) -> web.Response:
        return self._drop_ref(request, "refs/heads/")

    async def delete_tag(self, request: web.Request) -> web.Response:
        return self._drop_ref(request, "refs/tags/")

    def _add_ref(self, repository: Repository, ref: str, start: str) -> web.Response:
        if ref in repository.refs:
            raise HubError(409, f"Reference already exists: {ref}")
        repository.refs[ref] = self._commit(repository, start).oid
        return web.Response(status=201)

    def _drop_ref(self, request: web.Request, prefix: str) -> web.Response:
        repository, ref = self._repository(request, write=True), prefix + request.match_info["name_of_ref"]
        if ref == "refs/heads/main":
            raise HubError(403, "Cannot delete the main branch")
        if repository.refs.pop(ref, None) is None:
            raise HubError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
        return web.Response()


def _asked_repository(asked: dict, user: User) -> tuple[str, str]:
    """Kind and id in a request to create or delete. Raises HubError(400) for a kind that is not served."""
    kind = asked.get("type") or "model"
    if kind not in ("model", "dataset", "space"):
        raise HubError(400, f"the loopback server has models, datasets and Spaces, but no {kind}")
    return kind, f"{asked.get('organization') or user.name}/{asked['name']}"
