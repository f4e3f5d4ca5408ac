"""Points `huggingface_hub`, `datasets` and `transformers` at a loopback server, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loopback.server import LoopbackHub

if TYPE_CHECKING:
    import pytest


def client_variables(hub: LoopbackHub, home: Path) -> dict[str, str]:
    """Environment variables for a process whose clients use this server, with empty caches under `home`.

    Requests for any other host go to the server too, as a proxy: it refuses them with 403 and keeps them in
    `hub.strangers`.
    """
    variables = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub.token,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        # The server has no Xet storage, and huggingface_hub 2 takes Xet wherever the package is installed.
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        # With a plain 127.0.0.1, requests would go directly to `datasets-server.127.0.0.1` as well.
        "NO_PROXY": "127.0.0.1/32",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), hub.url),
    }
    lower = {name.lower(): value for name, value in variables.items() if name.endswith("_PROXY")}
    return {**variables, **lower}


def point_this_process(monkeypatch: pytest.MonkeyPatch, hub: LoopbackHub, home: Path) -> None:
    """The same for the libraries of this process, which read their settings when they are imported.

    A class or a function that was given another endpoint before, and the few modules that copy it (the `hf` command,
    git credentials), keep theirs; for those start a process.
    """
    import datasets.config
    import huggingface_hub.hf_api
    from huggingface_hub import HfFileSystem, constants

    variables = client_variables(hub, home)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": variables["HF_HUB_CACHE"],
        "HF_TOKEN_PATH": variables["HF_TOKEN_PATH"],
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    # Copies that were made at import: of the module's functions, of huggingface_hub 0.36.
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    settings = {
        "HF_ENDPOINT": hub.url,
        "HUB_DATASETS_URL": hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}",
        "HF_DATASETS_CACHE": Path(variables["HF_DATASETS_CACHE"]),
        "HF_HUB_OFFLINE": False,
        "HF_DATASETS_OFFLINE": False,
        "HF_UPDATE_DOWNLOAD_COUNTS": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(datasets.config, name, value)
    if "transformers" in sys.modules:
        import transformers.utils.hub as transformers_hub

        # transformers 4.57 copies both; 5 asks huggingface_hub.
        monkeypatch.setattr(transformers_hub, "_is_offline_mode", False, raising=False)
        monkeypatch.setattr(transformers_hub, "TRANSFORMERS_CACHE", variables["HF_HUB_CACHE"], raising=False)
        # transformers 5 makes one client for the process and keeps it, with the endpoint of then.
        monkeypatch.setattr(transformers_hub, "_hf_api", None, raising=False)
    HfFileSystem.clear_instance_cache()
    close_sessions()


def close_sessions() -> None:
    """Makes the next request open a session, under the settings of then: offline or not, which proxies."""
    import huggingface_hub.utils

    # huggingface_hub 2 and 0.36.
    close = getattr(huggingface_hub.utils, "close_session", None) or huggingface_hub.utils.reset_sessions
    close()
