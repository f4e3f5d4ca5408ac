"""A repository on the Hub that files are sent to: found or made, checked for access, and committed to in one piece."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from smi_hf.environment import package_version
from smi_hf.errors import RunError, UsageError
from smi_hf.hub.kinds import Kind
from smi_hf.hub.ownership import Contents, check_overwrites_nothing, look_into
from smi_hf.hub.retries import chain, connection_errors, describe, is_passing, status, with_retries

Result = TypeVar("Result")


@dataclass(frozen=True)
class Repository:
    """A repository that can be written to; `open_repository` makes one.

    Args:
        api: with the token.
        repo_id: "namespace/name".
        repo_type: "dataset", "model" or "space".
        revision: branch, the main one if None.
        create_pr: whether a commit becomes a pull request.
    """

    api: HfApi
    repo_id: str
    repo_type: str
    revision: str | None = None
    create_pr: bool = False

    @property
    def _where(self) -> dict[str, Any]:
        return {"repo_id": self.repo_id, "repo_type": self.repo_type, "revision": self.revision}

    @property
    def _what(self) -> str:
        return f"{self.repo_type} {self.repo_id!r}"

    def check_is_ours(self, kind: Kind, files: Mapping[str, CommitOperationAdd] | None = None) -> None:
        """Checks that a push would replace nothing but what smi_hf put there.

        Args:
            kind: what will be pushed.
            files: that will be, by path in the repository, as far as they are known.

        Raises:
            UsageError: the repository, or a file in the place of one of these, is somebody else's.
            RunError: the Hub could not be reached, or kept failing.
        """
        self._ask(lambda: self._look(kind, files or {}), "read what it holds")

    def commit(self, files: Mapping[str, CommitOperationAdd], *, kind: Kind, message: str) -> CommitInfo:
        """Sends files and commits them together: readers see all of them or none, whatever happens on the way.

        Contents of large files are sent first, one by one; those that the Hub has already, from a push that was cut
        off, are not sent again. Then one commit names them all, and deletes what the record that was there before
        lists and is not among them.

        Args:
            files: by path in the repository.
            kind: what they are.

        Raises:
            UsageError: no permission, the repository is gone, or it holds what is somebody else's.
            RunError: the Hub could not be reached, or kept failing; the same call continues.
        """
        self.check_is_ours(kind, files)
        for path, file in files.items():
            self._ask(
                lambda file=file: self.api.preupload_lfs_files(
                    additions=[copy.copy(file)], create_pr=self.create_pr, **self._where
                ),
                f"send {path}",
            )
        # A pull request that was opened, and the answer lost, would be opened twice.
        return self._ask(
            lambda: self._commit(files, kind, message), "commit the files", is_repeatable=not self.create_pr
        )

    def read_elsewhere(self, repo_id: str, path: str, *, repo_type: str) -> str | None:
        """The text of a small file in another repository, with the same token; None if it is not there.

        Raises:
            UsageError: the Hub refuses.
            RunError: it could not be reached, or kept failing.
        """

        def download() -> str | None:
            try:
                return Path(self.api.hf_hub_download(repo_id, path, repo_type=repo_type)).read_text("utf-8", "replace")
            except (EntryNotFoundError, RepositoryNotFoundError):
                return None

        return self._ask(download, f"read {path} of {repo_id}")

    def _commit(self, files: Mapping[str, CommitOperationAdd], kind: Kind, message: str) -> CommitInfo:
        # Looked up at every attempt: if the last one was carried out and its answer lost, nothing is left to do, and
        # the client makes no empty commit.
        contents = self._look(kind, files)
        return self.api.create_commit(
            operations=[
                # Copies: an operation remembers what the Hub said of it when it was first sent.
                *(copy.copy(file) for file in files.values()),
                *(CommitOperationDelete(path) for path in sorted(contents.ours - files.keys())),
            ],
            commit_message=message,
            parent_commit=contents.commit,
            create_pr=self.create_pr,
            **self._where,
        )

    def _look(self, kind: Kind, files: Mapping[str, CommitOperationAdd]) -> Contents:
        contents = look_into(self.api, self._where, kind)
        check_overwrites_nothing(contents, files.keys(), self._what)
        return contents

    def _ask(self, call: Callable[[], Result], doing: str, *, is_repeatable: bool = True) -> Result:
        return ask(call, self._what, doing, is_repeatable=is_repeatable)


def open_repository(
    repo_id: str,
    *,
    repo_type: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> Repository:
    """Finds a repository or makes it, and asks for all that a push needs: a refusal comes before the work, not after.

    Args:
        repo_id: "namespace/name", or a name in the token's own namespace.
        repo_type: "dataset", "model" or "space".
        private: of a repository that is made; one that exists stays as it is.
        revision: branch to commit to; made if it does not exist.
        create_pr: whether the push will open a pull request, which takes no right to write.
        token: access token; that of `hf auth login` or HF_TOKEN if None.

    Raises:
        UsageError: no name that the Hub takes, no token, or one that may not write there.
        RunError: the Hub could not be reached, or kept failing.
    """
    check_name(repo_id)
    what = f"{repo_type} {repo_id!r}"
    api = HfApi(token=token, library_name="smi_hf", library_version=package_version("smi-hf"))
    if constants.HF_HUB_OFFLINE:
        raise UsageError(f"{what} cannot be pushed: HF_HUB_OFFLINE is set; unset it")
    user = ask(api.whoami, what, "read whose token it is")["name"]
    if "/" not in repo_id:
        repo_id = f"{user}/{repo_id}"
    ask(
        lambda: api.create_repo(
            repo_id,
            repo_type=repo_type,
            private=private,
            exist_ok=True,
            space_sdk="gradio" if repo_type == "space" else None,
        ),
        what,
        "make the repository",
    )
    if revision is not None and not create_pr:
        ask(
            lambda: api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True),
            what,
            f"make the branch {revision!r}",
        )
    # Asks where a small file would go; nothing is sent, but it takes the right to write.
    ask(
        lambda: api.preupload_lfs_files(
            repo_id,
            additions=[CommitOperationAdd("README.md", b"-")],
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
        ),
        what,
        "write to the repository",
    )
    return Repository(api, repo_id, repo_type, revision, create_pr)


def check_name(repo_id: str) -> None:
    """Checks that the Hub would take a name for a repository.

    Raises:
        UsageError: it would not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} cannot be the name of a repository: {describe(error)}") from error


def ask(call: Callable[[], Result], what: str, doing: str, *, is_repeatable: bool = True) -> Result:
    """What a call to the Hub returns, tried again while that may help.

    Raises:
        UsageError: the Hub refuses.
        RunError: it could not be reached, or kept failing.
    """
    num_attempts = 0

    def attempt() -> Result:
        nonlocal num_attempts
        num_attempts += 1
        return call()

    try:
        return with_retries(attempt, doing, is_repeatable=is_repeatable)
    # ValueError: metadata of a card that the Hub does not take, RuntimeError: an upload that failed.
    except (HfHubHTTPError, *connection_errors(), OSError, RuntimeError, ValueError) as error:
        if (reason := _refusal(error)) is not None:
            raise UsageError(f"{what} cannot be pushed: {reason}") from error
        if is_passing(error):
            attempts = f"{num_attempts} attempt{'s' * (num_attempts > 1)}"
            if is_repeatable or is_passing(error, is_repeatable=False):
                then = "What was there before is still there; the same push, run again, continues"
            else:
                then = "It may have been done all the same: look there before you push again"
            raise RunError(
                f"{what} is not pushed: could not {doing}, in {attempts} ({describe(error)}). {then}"
            ) from error
        raise


def _refusal(error: BaseException) -> str | None:
    """Why the Hub refuses and what to do, None if it does not."""
    for each in chain(error):
        if isinstance(each, LocalTokenNotFoundError) or _status_of(each) == 401:
            return "no valid token; log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        if _status_of(each) == 403:
            return "the token may not write there; give one that may write in that namespace, or another name"
        if isinstance(each, RevisionNotFoundError):
            return "there is no such revision"
        if isinstance(each, RepositoryNotFoundError):
            return "there is no such repository, or the token may not see it"
        if (number := _status_of(each)) is not None and 400 <= number < 500 and not is_passing(each):
            return f"the Hub answered {number}: {getattr(each, 'server_message', None) or describe(each)}"
    return None


def _status_of(error: BaseException) -> int | None:
    return status(error) if isinstance(error, HfHubHTTPError) else None
