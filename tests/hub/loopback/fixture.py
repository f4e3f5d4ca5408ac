"""The fixture `hub`, a pytest plugin: tests/conftest.py names it, so every test can ask for it."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def hub(tmp_path, monkeypatch, subprocess_environment) -> Iterator:
    """A `LoopbackHub` that the clients of this process use; `hub.environment` is for processes that a test starts."""
    from loopback.clients import client_variables, close_sessions, point_this_process
    from loopback.server import LoopbackHub

    with LoopbackHub() as server:
        server.environment = {**subprocess_environment, **client_variables(server, tmp_path / "hf-home")}
        with monkeypatch.context() as patches:
            point_this_process(patches, server, tmp_path / "hf-home-in-process")
            yield server
        close_sessions()
