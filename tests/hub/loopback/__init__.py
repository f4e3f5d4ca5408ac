"""A small server on 127.0.0.1 that speaks enough of the Hub's HTTP for the real clients.

`state` keeps repositories as git does, `routes` answers for the Hub, `storage` for the store of large files behind
it, `faults` breaks requests on demand, `server` runs it all in a thread, `fixture` points clients at it.
"""

from loopback.faults import Fault, Faults
from loopback.server import LoopbackHub, RequestRecord
from loopback.state import Commit, Entry, Repository

__all__ = ["Commit", "Entry", "Fault", "Faults", "LoopbackHub", "Repository", "RequestRecord"]
