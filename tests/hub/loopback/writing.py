"""The Hub's answers to a commit and to what comes before it: which files are large, and which are there already."""

from __future__ import annotations

import base64
import json

from aiohttp import web

from loopback.access import Access, request_json
from loopback.answers import BODY, HubError
from loopback.cards import read_card
from loopback.state import Entry, Repository, below
from loopback.storage import signed_path


class Writing(Access):
    async def preupload(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=not request.query.get("create_pr"))
        commit = self._commit(repository, request.match_info["revision"])
        rows = []
        for asked in request_json(request)["files"]:
            path = asked["path"]
            large = repository.is_large(path, asked["size"], base64.b64decode(asked["sample"]), commit)
            row = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            rows.append(row | ({"oid": commit.tree[path].key} if path in commit.tree else {}))
        return web.json_response({"files": rows, "commitOid": commit.oid})

    async def large_file_batch(self, request: web.Request) -> web.Response:
        # Anyone who is signed in may upload for a pull request.
        repository, asked = self._repository(request), request_json(request)
        self._signed_in(request, write=True)
        objects = []
        for wanted in asked["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            row = {"oid": oid, "size": size, "authenticated": True}
            if oid not in repository.large:
                upload = {"href": self.storage_url + signed_path("PUT", repository, oid)}
                verify = {"href": f"{self.url}/{repository.prefix}{repository.id}.git/info/lfs/objects/verify"}
                row["actions"] = {"upload": upload, "verify": verify}
            objects.append(row)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def verify_large_file(self, request: web.Request) -> web.Response:
        repository, asked = self._repository(request), request_json(request)
        if asked["oid"] not in repository.large or len(self.state.store[asked["oid"]]) != asked["size"]:
            raise HubError(404, f"Object {asked['oid']} was not uploaded, or is of another size than {asked['size']}")
        return web.json_response({"message": "ok"})

    async def commit(self, request: web.Request) -> web.Response:
        create_pr = bool(request.query.get("create_pr"))
        repository, revision = self._repository(request, write=not create_pr), request.match_info["revision"]
        user = self._signed_in(request, write=True)
        base, lines = self._commit(repository, revision), [json.loads(x) for x in request[BODY].splitlines() if x]
        header = lines[0]["value"]
        wanted = header.get("parentCommit")
        if create_pr:
            base = self._commit(repository, wanted) if wanted else base
        elif wanted and wanted != base.oid:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        elif (repository.full_ref(revision) or "refs/tags/").startswith("refs/tags/"):
            raise HubError(400, f"{revision} is no branch, so nothing can be committed to it")
        tree = dict(base.tree)
        for line in lines[1:]:
            self._apply(repository, tree, line["key"], line["value"])
        ref, answer = revision, {}
        if create_pr:
            number = 1 + sum(name.startswith("refs/pr/") for name in repository.refs)
            ref = f"refs/pr/{number}"
            repository.refs[ref] = base.oid
            answer = {"pullRequestUrl": f"{self.url}/{repository.prefix}{repository.id}/discussions/{number}"}
        commit = repository.commit(
            ref, tree, title=header["summary"], message=header.get("description", ""), author=user.name
        )
        page = f"{self.url}/{repository.prefix}{repository.id}/commit/{commit.oid}"
        return web.json_response({"success": True, "commitOid": commit.oid, "commitUrl": page, **answer})

    def _apply(self, repository: Repository, tree: dict[str, Entry], key: str, value: dict) -> None:
        """One line of a commit. Contents enter the store even if a later line is refused, as they do in git."""
        path = value["path"]
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise HubError(400, f"Invalid path in the commit: {path!r}")
        if key == "file":
            content = base64.b64decode(value["content"])
            errors = read_card(content.decode(errors="replace"))[1] if path == "README.md" else []
            if errors:
                raise HubError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
            tree[path] = repository.keep(content)
        elif key == "lfsFile":
            if value["oid"] not in repository.large:
                message = "Your push was rejected because an LFS pointer pointed to a file that does not exist."
                raise HubError(400, f"{message} Offending file: {path}")
            tree[path] = Entry.large(value["oid"], len(self.state.store[value["oid"]]))
        elif key in ("deletedFile", "deletedFolder"):
            gone = {path} & set(tree) if key == "deletedFile" else below(tree, path.rstrip("/"))
            if not gone:
                raise HubError(
                    404, f"A {key.removeprefix('deleted').lower()} with this name doesn't exist", "EntryNotFound"
                )
            for name in gone:
                del tree[name]
        else:
            raise HubError(400, f"Unknown operation in the commit: {key}")
