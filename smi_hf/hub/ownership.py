"""Which files of a repository a push may replace or delete: its card, its record, and what that record lists.

The record that counts is the one in the repository, on the branch that is pushed to, read as a record of ours. A file
of the same name that is none makes the repository somebody else's, and nothing in it is touched.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from smi_hf.data.schema import CARD_FILE
from smi_hf.errors import UsageError
from smi_hf.hub.cards.markdown import plain
from smi_hf.hub.kinds import Kind
from smi_hf.json_record import NewerRecordError

_GIT_ATTRIBUTES = ".gitattributes"
_MAX_BYTES = 64 << 20
_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?\r?\n)?---[ \t]*(\r?\n|\Z)", re.DOTALL)
# The text that the Hub puts into a Space that it makes.
_TEXT_OF_THE_HUB = re.compile(r"Check out the configuration reference at https://huggingface\.co/docs/hub/\S*")


@dataclass(frozen=True)
class Contents:
    """What a branch of a repository holds.

    Args:
        commit: its id.
        paths: of all files.
        ours: of those that a push may replace or delete.
    """

    commit: str
    paths: frozenset[str]
    ours: frozenset[str]


def look_into(api: HfApi, where: Mapping[str, Any], kind: Kind) -> Contents:
    """Looks which files of a repository are ours.

    A repository without a record is taken for a new one if it holds nothing, or a README.md without a text of its own,
    as the Hub makes it: YAML, and of a Space one line about it. A text that somebody wrote is not replaced.

    Args:
        where: `repo_id`, `repo_type` and `revision`.
        kind: what will be pushed.

    Raises:
        UsageError: the repository is somebody else's, or its record is one of a newer smi_hf.
    """
    what = f"{where['repo_type']} {where['repo_id']!r} on the Hub"
    info = api.repo_info(**where, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    files = _Files(api, where | {"revision": info.sha}, sizes)
    record_file = kind.record.file_name
    if record_file not in sizes:
        strange = sorted(sizes.keys() - {_GIT_ATTRIBUTES, CARD_FILE})
        if strange:
            raise UsageError(
                f"{what} holds {len(strange)} files ({plain(', '.join(strange[:3]))}) and is no {kind.name} (it has "
                f"no {record_file}); nothing there was changed, so choose another name"
            )
        if CARD_FILE in sizes and _has_text(files):
            raise UsageError(
                f"{what} holds a {CARD_FILE} that somebody wrote and is no {kind.name} (it has no {record_file}); "
                f"nothing there was changed, so remove the file there or choose another name"
            )
        return Contents(info.sha, frozenset(sizes), frozenset(sizes) & {CARD_FILE})
    try:
        record = kind.record.from_json(files.read(record_file), record_file)
    except NewerRecordError as error:
        raise UsageError(
            f"{what} was made by a newer smi_hf ({error}); nothing there was changed, so update this smi_hf or choose "
            f"another name"
        ) from error
    except UsageError as error:
        raise UsageError(
            f"{what} is no {kind.name} ({plain(error)}); nothing there was changed, so choose another name"
        ) from error
    listed = {path for path in sizes if path in (CARD_FILE, record_file) or kind.lists(record, path)}
    return Contents(info.sha, frozenset(sizes), frozenset(listed - {_GIT_ATTRIBUTES}))


def check_overwrites_nothing(contents: Contents, paths: Collection[str], what: str) -> None:
    """Checks that no file would take the place of one that is not ours.

    Args:
        paths: of the files that would be written.
        what: the repository, in words.

    Raises:
        UsageError: one would.
    """
    if foreign := sorted((contents.paths & set(paths)) - contents.ours):
        raise UsageError(
            f"{what} on the Hub holds {plain(', '.join(foreign[:3]))}, which smi_hf did not put there and would "
            f"overwrite; nothing there was changed, so rename it there or choose another name"
        )


@dataclass(frozen=True)
class _Files:
    """Small text files of a commit."""

    api: HfApi
    where: Mapping[str, Any]
    sizes: Mapping[str, int]

    def read(self, path: str) -> str:
        """The text of a file, byte for byte what the commit holds; what is no UTF-8 comes as U+FFFD.

        Raises:
            UsageError: it is too large to be one of ours.
        """
        if self.sizes[path] > _MAX_BYTES:
            raise UsageError(f"{path} has {self.sizes[path]} bytes")
        url = hf_hub_url(**self.where, filename=path, endpoint=self.api.endpoint)
        headers = build_hf_headers(token=self.api.token, library_name="smi_hf")
        answer = get_session().get(url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        hf_raise_for_status(answer)
        return answer.content.decode(errors="replace")


def _has_text(files: _Files) -> bool:
    """Whether the README.md says anything beside its YAML."""
    if files.sizes[CARD_FILE] > _MAX_BYTES:
        return True
    text = _FRONT_MATTER.sub("", files.read(CARD_FILE))
    return bool(_TEXT_OF_THE_HUB.sub("", text).strip())
