"""Who may do what, and what is there: the questions that every answer of the Hub starts with."""

from __future__ import annotations

import json

from aiohttp import web

from loopback.answers import BODY, HubError
from loopback.state import Commit, Repository, State, User


class Access:
    def __init__(self, state: State, url: str, storage_url: str) -> None:
        self.state, self.url, self.storage_url = state, url, storage_url

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
        kinds = names.get("kinds") or names.get("prefix", "").rstrip("/")
        kind = kinds.removesuffix("s") or "model"
        repository = self._visible(kind, f"{names['namespace']}/{names['name']}", self._user(request))
        if write:
            self._check_write(self._signed_in(request), repository.owner, "write to a repository of")
        return repository

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.resolve(revision)
        if commit is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


def request_json(request: web.Request) -> dict:
    return json.loads(request[BODY] or b"{}")
