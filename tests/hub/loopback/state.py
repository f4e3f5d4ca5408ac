"""Users, repositories, commits and file contents, in memory; ids are those that git would compute."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

# What a new repository holds on the Hub, as far as the tests have such files: these patterns go to LFS.
_LFS_PATTERNS = {
    "model": ["*.bin", "*.ckpt", "*.h5", "*.npy", "*.npz", "*.onnx", "*.parquet", "*.pt", "*.pth", "*.safetensors"],
    "dataset": [
        *["*.arrow", "*.bin", "*.npy", "*.npz", "*.parquet", "*.safetensors", "*.zip"],
        *["*.bmp", "*.gif", "*.png", "*.tiff", "*.jpg", "*.jpeg", "*.webp"],
    ],
    "space": ["*.bin", "*.npy", "*.onnx", "*.parquet", "*.pt", "*.safetensors", "*.zip"],
}
# A new Space has this besides.
_FIRST_CARD = """---
title: New
sdk: gradio
app_file: app.py
pinned: false
---

Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference
"""
_LARGEST_REGULAR_FILE = 10 * 1024 * 1024
# Commits are a second apart, so that the same requests give the same ids in every run.
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def git_oid(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A file of a tree.

    Attributes:
        oid: git's id of the blob; for a large file that of its pointer.
        size: bytes of the content, not of the pointer.
        sha256: of the content if the file is large (LFS), else None.
        pointer_size: bytes of the pointer; 0 if the file is not large.
    """

    oid: str
    size: int
    sha256: str | None = None
    pointer_size: int = 0

    @classmethod
    def regular(cls, content: bytes) -> Entry:
        return cls(git_oid("blob", content), len(content))

    @classmethod
    def large(cls, sha256: str, size: int) -> Entry:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return cls(git_oid("blob", pointer), size, sha256, len(pointer))

    @property
    def key(self) -> str:
        """Under which the content is kept, and the ETag: sha256 of a large file, git's id of others."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    tree: dict[str, Entry]
    title: str
    message: str
    author: str
    date: datetime

    @property
    def timestamp(self) -> str:
        return self.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(frozen=True)
class User:
    name: str
    role: str

    @property
    def can_write(self) -> bool:
        return self.role == "write"


@dataclass
class Repository:
    """One repository; what tests look into.

    Attributes:
        gated: only the owner reads the files.
        large: sha256 of the large files that were uploaded for it, committed or not.
        refs: full name ("refs/heads/main", "refs/pr/1") to commit id.
    """

    id: str
    kind: str
    private: bool
    store: dict[str, bytes] = field(repr=False)
    gated: bool = False
    large: set[str] = field(default_factory=set, repr=False)
    commits: dict[str, Commit] = field(default_factory=dict, repr=False)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = [f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LFS_PATTERNS[self.kind]]
        tree = {".gitattributes": self.keep("".join(lines).encode())}
        if self.kind == "space":
            tree["README.md"] = self.keep(_FIRST_CARD.encode())
        self.commit("main", tree, title="initial commit", author=self.owner)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before the id in addresses for people."""
        return "" if self.kind == "model" else f"{self.kind}s/"

    def keep(self, content: bytes) -> Entry:
        entry = Entry.regular(content)
        self.store[entry.key] = content
        return entry

    def full_ref(self, revision: str) -> str | None:
        """The ref that `revision` names, or None."""
        names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
        return next((name for name in names if name in self.refs), None)

    def resolve(self, revision: str = "main") -> Commit | None:
        """The commit of a branch, a tag, a full ref, an id, or a start of an id of at least 7 digits."""
        ref = self.full_ref(revision)
        if ref is not None:
            return self.commits[self.refs[ref]]
        found = [commit for oid, commit in self.commits.items() if len(revision) >= 7 and oid.startswith(revision)]
        return found[0] if len(found) == 1 else None

    def commit(self, revision: str, tree: dict[str, Entry], *, title: str, author: str, message: str = "") -> Commit:
        """Adds a commit with this tree to a branch or a full ref, which may be new."""
        ref = self.full_ref(revision) or (revision if revision.startswith("refs/") else f"refs/heads/{revision}")
        parent = self.refs.get(ref)
        date = _EPOCH + timedelta(seconds=len(self.commits))
        person = f"{author} <{author}@localhost> {int(date.timestamp())} +0000"
        lines = [f"tree {tree_oid(tree)}", *([f"parent {parent}"] if parent else []), f"author {person}"]
        text = "\n".join([*lines, f"committer {person}", "", title, "", message])
        commit = Commit(git_oid("commit", text.encode()), parent, tree, title, message, author, date)
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit

    @property
    def head(self) -> Commit:
        return self.commits[self.refs["refs/heads/main"]]

    @property
    def tree(self) -> dict[str, Entry]:
        """Path to entry, at the head of main."""
        return self.head.tree

    def history(self, revision: str = "main") -> list[Commit]:
        """The commits of a revision, newest first."""
        return list(self._walk(self._known(revision)))

    def read(self, path: str, revision: str = "main") -> bytes:
        """A file's content. Raises KeyError if there is no such file."""
        return self.store[self._known(revision).tree[path].key]

    def last_change(self, commit: Commit, path: str) -> Commit:
        """The latest commit up to this one that changed a file or a folder."""
        for older in self._walk(commit):
            parent = self.commits[older.parent].tree if older.parent else {}
            if below(older.tree, path) != below(parent, path):
                return older
        raise KeyError(path)

    def is_large(self, path: str, size: int, sample: bytes, commit: Commit) -> bool:
        """Whether the file goes to LFS: by .gitattributes, by its size, or because it is not text."""
        rules = self.store[commit.tree[".gitattributes"].key] if ".gitattributes" in commit.tree else b""
        patterns = [line.split()[0] for line in rules.decode().splitlines() if "filter=lfs" in line]
        listed = any(fnmatch.fnmatch(path.split("/")[-1], p) or fnmatch.fnmatch(path, p) for p in patterns)
        return listed or size > _LARGEST_REGULAR_FILE or b"\0" in sample

    def _known(self, revision: str) -> Commit:
        commit = self.resolve(revision)
        if commit is None:
            raise KeyError(f"{self.id} has no revision {revision!r}, only {sorted(self.refs)} and commit ids")
        return commit

    def _walk(self, commit: Commit | None) -> Iterator[Commit]:
        while commit is not None:
            yield commit
            commit = self.commits[commit.parent] if commit.parent else None


def below(tree: dict[str, Entry], path: str) -> dict[str, Entry]:
    """The files in a folder, by their whole path; a file's path gives that file, "" everything."""
    return {name: entry for name, entry in tree.items() if not path or name == path or name.startswith(path + "/")}


def folders(paths: Iterable[str]) -> set[str]:
    """All folders above these paths, but for the root."""
    return {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}


def tree_oid(tree: dict[str, Entry], folder: str = "") -> str:
    """Git's id of a tree or of a folder in it."""
    prefix = folder + "/" if folder else ""
    names = {path.removeprefix(prefix).split("/")[0] for path in below(tree, folder)}
    rows = []
    for name in names:
        entry = tree.get(prefix + name)
        mode, oid = ("100644", entry.oid) if entry else ("40000", tree_oid(tree, prefix + name))
        # Git sorts a folder as if its name ended in a slash.
        rows.append((name if entry else name + "/", f"{mode} {name}\0".encode() + bytes.fromhex(oid)))
    return git_oid("tree", b"".join(row for _, row in sorted(rows)))


@dataclass
class State:
    """Everything the server knows. `store` holds each content once, whoever committed it."""

    users: dict[str, User] = field(default_factory=dict)
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)

    def create(self, kind: str, repo_id: str, *, private: bool) -> Repository:
        self.repositories[kind, repo_id] = Repository(repo_id, kind, private, self.store)
        return self.repositories[kind, repo_id]
