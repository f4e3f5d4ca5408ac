"""`python -m loopback [COMMAND ...]` in tests/hub: the server for processes outside pytest."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from loopback.clients import client_variables
from loopback.server import LoopbackHub


def main() -> int:
    parser = argparse.ArgumentParser(description="A small Hub on 127.0.0.1, in memory, until it is interrupted.")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN=USER:ROLE", help="role: read or write")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="runs against the server, which then stops")
    args = parser.parse_args()
    with LoopbackHub(args.port) as hub:
        for given in args.token:
            token, _, account = given.partition("=")
            name, _, role = account.partition(":")
            hub.add_user(name, role=role or "write", token=token)
        if args.command:
            with tempfile.TemporaryDirectory() as home:
                environment = {**os.environ, **client_variables(hub, Path(home))}
                return subprocess.run(args.command, env=environment).returncode
        # Before the address is told: who reads it may stop us at once.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            print(hub.url, hub.token, flush=True)
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
