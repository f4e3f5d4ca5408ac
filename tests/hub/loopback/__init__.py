"""A small server on 127.0.0.1 that speaks enough of the Hub's HTTP for the real clients.

`state` keeps repositories as git does; `routes` lists the Hub's answers, of `accounts`, `reading` and `writing`;
`storage` is the store of large files behind it; `faults` breaks requests on demand; `server` runs it all in a thread;
`clients` points the libraries at it, and `fixture` is pytest's way to it.
"""

from loopback.faults import Fault, Faults
from loopback.server import LoopbackHub, RequestRecord
from loopback.state import Commit, Entry, Repository

__all__ = ["Commit", "Entry", "Fault", "Faults", "LoopbackHub", "Repository", "RequestRecord"]
