"""The Hub's answers about what a revision holds: information, history, trees, files."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from aiohttp import web

from loopback.access import Access
from loopback.answers import BODY, HubError, content_response
from loopback.cards import read_card
from loopback.state import Commit, Entry, Repository, State, folders, tree_oid
from loopback.storage import signed_path


class Reading(Access):
    """Handlers that change nothing.

    Attributes:
        page_size: entries of a tree or a history in one answer; a `Link` header leads to the next.
    """

    def __init__(self, state: State, url: str, storage_url: str) -> None:
        super().__init__(state, url, storage_url)
        self.page_size = 1000

    async def info(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        commit = self._commit(repository, request.match_info.get("revision", "main"))
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        if request.query.get("blobs"):
            files = [(path, _file(commit.tree[path])) for path in sorted(commit.tree)]
            siblings = [{"rfilename": path, "blobId": row.pop("oid"), **row} for path, row in files]
        card = commit.tree.get("README.md")
        metadata = read_card(self.state.store[card.key].decode(errors="replace"))[0] if card else {}
        first = repository.history(commit.oid)[-1]
        answer = {
            "_id": first.oid[:24],
            "id": repository.id,
            "author": repository.owner,
            "sha": commit.oid,
            "private": repository.private,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "lastModified": commit.timestamp,
            "createdAt": first.timestamp,
            "downloads": 0,
            "likes": 0,
            "tags": metadata.get("tags") or [],
            "cardData": metadata or None,
            "siblings": siblings,
        }
        if repository.kind == "model":
            names = ("pipeline_tag", "library_name")
            answer |= {"modelId": repository.id, **{name: metadata[name] for name in names if name in metadata}}
        return web.json_response(json.loads(json.dumps(answer, default=str)))

    async def list_commits(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        rows = [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.timestamp, "authors": [{"user": c.author}]}
            for c in repository.history(self._commit(repository, request.match_info["revision"]).oid)
        ]
        return self._page(request, rows)

    async def list_tree(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        commit = self._commit(repository, request.match_info["revision"])
        folder = request.match_info["path"].strip("/")
        paths = {*commit.tree, *folders(commit.tree)}
        if folder and folder not in folders(commit.tree):
            raise self._no_entry(commit, folder)
        start = folder + "/" if folder else ""
        recursive = _flag(request.query.get("recursive"))
        inside = [p for p in paths if p.startswith(start) and (recursive or "/" not in p[len(start) :])]
        expand = _flag(request.query.get("expand"))
        return self._page(request, [_row(repository, commit, path, expand) for path in sorted(inside)])

    async def paths_info(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        commit = self._commit(repository, request.match_info["revision"])
        form = parse_qs(request[BODY].decode())
        paths = [path.strip("/") for path in form.get("paths", [])]
        known = {*commit.tree, *folders(commit.tree)}
        expand = _flag(form.get("expand", [""])[0])
        return web.json_response([_row(repository, commit, path, expand) for path in paths if path in known])

    async def download(self, request: web.Request) -> web.Response:
        repository, path = self._repository(request), request.match_info["path"]
        user = self._user(request)
        if repository.gated and (user is None or user.name != repository.owner):
            message = f"Access to {repository.kind} {repository.id} is restricted."
            raise HubError(401 if user is None else 403, message, "GatedRepo")
        commit = self._commit(repository, request.match_info["revision"])
        entry = commit.tree.get(path)
        if entry is None:
            raise self._no_entry(commit, path)
        headers = {"ETag": f'"{entry.key}"', "X-Repo-Commit": commit.oid}
        if entry.sha256 is None:
            return content_response(request, self.state.store[entry.key], headers)
        headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(entry.size)}
        headers["Location"] = self.storage_url + signed_path("GET", repository, entry.sha256)
        return web.Response(status=302, headers=headers)

    def _page(self, request: web.Request, rows: list[dict]) -> web.Response:
        start, size = int(request.query.get("cursor", 0)), int(request.query.get("limit", self.page_size))
        headers = {}
        if start + size < len(rows):
            following = request.rel_url.update_query(cursor=str(start + size))
            headers["Link"] = f'<{self.url}{following.relative() if following.absolute else following}>; rel="next"'
        return web.json_response(rows[start : start + size], headers=headers)


def _flag(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def _file(entry: Entry) -> dict:
    row = {"type": "file", "oid": entry.oid, "size": entry.size}
    if entry.sha256 is None:
        return row
    large = {"oid": entry.sha256, "sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return {**row, "lfs": large}


def _row(repository: Repository, commit: Commit, path: str, expand: bool) -> dict:
    """A file or a folder of a tree."""
    entry = commit.tree.get(path)
    row = _file(entry) if entry else {"type": "directory", "oid": tree_oid(commit.tree, path), "size": 0}
    if expand:
        changed = repository.last_change(commit, path)
        row["lastCommit"] = {"id": changed.oid, "title": changed.title, "date": changed.timestamp}
    return {"path": path, **row}
