"""`python -m loopback --port 0 --token T=me:write` in tests/hub: the server for processes outside pytest."""

import argparse
import contextlib
import signal
import threading

from loopback.server import LoopbackHub


def main() -> None:
    parser = argparse.ArgumentParser(description="A small Hub on 127.0.0.1, in memory, until it is interrupted.")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN=USER:ROLE", help="role: read or write")
    args = parser.parse_args()
    with LoopbackHub(args.port) as hub:
        for given in args.token:
            token, _, account = given.partition("=")
            name, _, role = account.partition(":")
            hub.add_user(name, role=role or "write", token=token)
        print(hub.url, hub.token, flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
