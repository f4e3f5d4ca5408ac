"""The Hub's answers: accounts, repositories, commits, trees, files.

Every answer to a client is plain HTTP and JSON; what the clients ask was read in their source and seen in the log.
Statuses and error codes follow the Hub: a private repository does not exist for others (404, or 401 without a token).
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import parse_qs

from aiohttp import web

from loopback.answers import BODY, HubError, content_response
from loopback.cards import read_card
from loopback.state import Commit, Entry, Repository, State, User, below, folders, tree_oid
from loopback.storage import signed_path

_REPOSITORY = "/{namespace}/{name}"
_API = "/api/{kinds:models|datasets}" + _REPOSITORY
_PAGES = "/{prefix:(?:datasets/)?}{namespace}/{name}"
_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?")


class Routes:
    """Handlers over one state.

    Attributes:
        page_size: entries of a tree or a history in one answer; a `Link` header leads to the next.
    """

    def __init__(self, state: State, url: str, storage_url: str) -> None:
        self.state, self.url, self.storage_url = state, url, storage_url
        self.page_size = 1000

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
        add("*", "/api/{kinds:models|datasets}/{name}", self.no_namespace)
        add("*", "/{rest:.*}", self.unknown)

    # Accounts and repositories

    async def whoami(self, request: web.Request) -> web.Response:
        user = self._signed_in(request)
        token = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": user.role}}
        account = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "isPro": False}
        return web.json_response({**account, "orgs": [], "auth": token})

    async def validate_card(self, request: web.Request) -> web.Response:
        _, errors, warnings = read_card(_json(request)["content"])
        answer = {
            "errors": [{"message": text} for text in errors],
            "warnings": [{"message": text} for text in warnings],
        }
        return web.json_response(answer, status=400 if errors else 200)

    async def create(self, request: web.Request) -> web.Response:
        user, asked = self._signed_in(request), _json(request)
        kind, repo_id = _asked_repository(asked, user)
        if not all(_NAME.fullmatch(part) for part in repo_id.split("/")):
            raise HubError(400, f"Invalid repo name: {repo_id}")
        self._check_write(user, repo_id.split("/")[0], f"create a {kind} under the namespace")
        page = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        if (kind, repo_id) in self.state.repositories:
            raise HubError(409, f"You already created this {kind} repo: {repo_id}", url=page)
        private = asked.get("private") is True or asked.get("visibility") == "private"
        self.state.create(kind, repo_id, private=private)
        return web.json_response({"url": page, "name": repo_id, "id": repo_id})

    async def delete(self, request: web.Request) -> web.Response:
        user = self._signed_in(request)
        repository = self._visible(*_asked_repository(_json(request), user), user)
        self._check_write(user, repository.owner, "delete a repository of")
        del self.state.repositories[repository.kind, repository.id]
        return web.Response(text="OK")

    async def change_settings(self, request: web.Request) -> web.Response:
        repository, asked = self._repository(request, write=True), _json(request)
        if "private" in asked or "visibility" in asked:
            repository.private = asked.get("private") is True or asked.get("visibility") == "private"
        if "gated" in asked:
            repository.gated = bool(asked["gated"])
        return web.json_response({"private": repository.private, "gated": repository.gated})

    async def info(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        commit = self._commit(repository, request.match_info.get("revision", "main"))
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        if request.query.get("blobs"):
            siblings = [{"rfilename": path, **_file(path, commit.tree[path])} for path in sorted(commit.tree)]
            siblings = [
                {**{k: v for k, v in row.items() if k not in ("oid", "type")}, "blobId": row["oid"]}
                for row in siblings
            ]
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

    async def no_namespace(self, request: web.Request) -> web.Response:
        raise self._not_found(self._user(request))

    async def unknown(self, request: web.Request) -> web.Response:
        raise HubError(501, f"the loopback server does not know {request.method} {request.path}")

    # Refs

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
        start = (_json(request) or {}).get("startingPoint", "main")
        return self._add_ref(repository, "refs/heads/" + request.match_info["name_of_ref"], start)

    async def create_tag(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        return self._add_ref(repository, "refs/tags/" + _json(request)["tag"], request.match_info["revision"])

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

    # Reading

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

    # Writing

    async def preupload(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=not request.query.get("create_pr"))
        commit = self._commit(repository, request.match_info["revision"])
        rows = []
        for asked in _json(request)["files"]:
            path = asked["path"]
            large = repository.is_large(path, asked["size"], base64.b64decode(asked["sample"]), commit)
            row = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            rows.append(row | ({"oid": commit.tree[path].key} if path in commit.tree else {}))
        return web.json_response({"files": rows, "commitOid": commit.oid})

    async def large_file_batch(self, request: web.Request) -> web.Response:
        # Anyone who is signed in may upload for a pull request.
        repository, asked = self._repository(request, write=False), _json(request)
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
        repository, asked = self._repository(request), _json(request)
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

    # Who may do what, and what is there

    def _user(self, request: web.Request) -> User | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme != "Bearer" or token not in self.state.users:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.state.users[token]

    def _signed_in(self, request: web.Request, *, write: bool = False) -> User:
        user = self._user(request)
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if write and not user.can_write:
            raise HubError(403, "This token has no write permission")
        return user

    def _check_write(self, user: User, owner: str, what: str) -> None:
        if not user.can_write or user.name != owner:
            raise HubError(403, f'You don\'t have the rights to {what} "{owner}"')

    def _not_found(self, user: User | None) -> HubError:
        return HubError(401 if user is None else 404, "Repository not found", "RepoNotFound")

    def _no_entry(self, commit: Commit, path: str) -> HubError:
        refusal = HubError(404, f"{path} does not exist on this revision", "EntryNotFound")
        refusal.headers["X-Repo-Commit"] = commit.oid
        return refusal

    def _visible(self, kind: str, repo_id: str, user: User | None) -> Repository:
        repository = self.state.repositories.get((kind, repo_id))
        if repository is None or (repository.private and (user is None or user.name != repository.owner)):
            raise self._not_found(user)
        return repository

    def _repository(self, request: web.Request, *, write: bool = False) -> Repository:
        names = request.match_info
        kind = "dataset" if "datasets" in (names.get("kinds"), names.get("prefix", "").rstrip("/")) else "model"
        repository = self._visible(kind, f"{names['namespace']}/{names['name']}", self._user(request))
        if write:
            self._check_write(self._signed_in(request), repository.owner, "write to a repository of")
        return repository

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.resolve(revision)
        if commit is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _page(self, request: web.Request, rows: list[dict]) -> web.Response:
        start, size = int(request.query.get("cursor", 0)), int(request.query.get("limit", self.page_size))
        headers = {}
        if start + size < len(rows):
            following = request.rel_url.update_query(cursor=str(start + size))
            headers["Link"] = f'<{self.url}{following.relative() if following.absolute else following}>; rel="next"'
        return web.json_response(rows[start : start + size], headers=headers)


def _json(request: web.Request) -> dict:
    return json.loads(request[BODY] or b"{}")


def _flag(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def _asked_repository(asked: dict, user: User) -> tuple[str, str]:
    """Kind and id in a request to create or delete. Raises HubError(400) for a kind that is not served."""
    kind = asked.get("type") or "model"
    if kind not in ("model", "dataset"):
        raise HubError(400, f"the loopback server has models and datasets, but no {kind}")
    return kind, f"{asked.get('organization') or user.name}/{asked['name']}"


def _file(path: str, entry: Entry) -> dict:
    row = {"type": "file", "oid": entry.oid, "size": entry.size}
    if entry.sha256 is None:
        return row
    large = {"oid": entry.sha256, "sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return {**row, "lfs": large}


def _row(repository: Repository, commit: Commit, path: str, expand: bool) -> dict:
    """A file or a folder of a tree."""
    entry = commit.tree.get(path)
    row = _file(path, entry) if entry else {"type": "directory", "oid": tree_oid(commit.tree, path), "size": 0}
    if expand:
        changed = repository.last_change(commit, path)
        row["lastCommit"] = {"id": changed.oid, "title": changed.title, "date": changed.timestamp}
    return {"path": path, **row}
