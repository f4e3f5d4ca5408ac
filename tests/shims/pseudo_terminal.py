"""A terminal of 80 columns for tests, and what a user sees there in the end."""

import os
import pty
import re
import subprocess
import sys


def screen_of(code: str, environment: dict[str, str], **more: str) -> str:
    """Runs Python code in a terminal; returns what it wrote there, without colors and with every redraw."""
    master, slave = pty.openpty()
    settings = {key: value for key, value in environment.items() if key != "CI"}
    settings |= {"TERM": "xterm", "COLUMNS": "80", **more}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, env=settings, close_fds=True
    )
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # how Linux says that nobody writes there any more
            break
        if not piece:
            break
        written += piece
    os.close(master)
    process.wait(timeout=60)
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.decode()).replace("\r\n", "\n").replace("\r", "\n")
