"""Faults that tests order: error statuses, slowness, broken connections, answers that get lost."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field

# What happens to the connection: closed while the request is being read, so that nothing is carried out; closed in the
# middle of the answer's body; closed after the request was carried out and before a byte of the answer.
BREAKS = ("upload", "download", "answer")


@dataclass
class Fault:
    """One order; see `Faults.add`. `fired` counts how often it was carried out."""

    status: int | None
    broken: str | None
    delay_s: float
    body_delay_s: float
    after: bool
    method: str | None
    match: str
    times: int | None
    skip: int
    rate: float
    seed: int
    headers: dict[str, str]
    fired: int = 0
    _seen: Counter = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """How the request log calls it."""
        kinds = [str(self.status) if self.status else "", self.broken or "", "slow" if self.is_slow else ""]
        return " ".join(filter(None, [*kinds, "after" if self.after else ""]))

    @property
    def is_slow(self) -> bool:
        return bool(self.delay_s or self.body_delay_s)

    def strikes(self, method: str, path: str) -> bool:
        """Whether it strikes this request; counts it."""
        if (self.method and self.method != method) or not re.search(self.match, path):
            return False
        self._seen["all"] += 1
        if self._seen["all"] <= self.skip or (self.times is not None and self.fired >= self.times):
            return False
        # The draw belongs to the request and to how often it came, so it does not depend on the order of threads.
        self._seen[method, path] += 1
        draw = random.Random(f"{self.seed} {method} {path} {self._seen[method, path]}").random()
        if draw >= self.rate:
            return False
        self.fired += 1
        return True


class Faults:
    """The faults in force. For a request the first one that strikes is carried out, alone."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self,
        *,
        status: int | None = None,
        broken: str | None = None,
        delay_s: float = 0.0,
        body_delay_s: float = 0.0,
        after: bool = False,
        method: str | None = None,
        match: str = "",
        times: int | None = None,
        skip: int = 0,
        rate: float | None = None,
        seed: int = 0,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Fault:
        """Orders a fault.

        Args:
            status: answer with this status instead of the true one.
            broken: "upload", "download" or "answer": where the connection breaks (`BREAKS`).
            delay_s: seconds before the answer.
            body_delay_s: seconds in the middle of the answer's body.
            after: with `status`: carry the request out first, then answer so.
            method: only for this HTTP method.
            match: regular expression that is searched in the request's path, without its query.
            times: how often; once if None, or without end if `rate` is given.
            skip: let so many matching requests pass first.
            rate: strike this share of the matching requests, drawn from `seed`, the request and its repetition.
            retry_after: seconds, for the header of that name.
            headers: further headers of the answer.

        Returns:
            The fault; its `fired` says how often it struck.

        Raises:
            ValueError: nothing is ordered, or what cannot go together.
        """
        if broken is not None and broken not in BREAKS:
            raise ValueError(f"broken is {broken!r}, but it may be one of {', '.join(BREAKS)}")
        if broken and status:
            raise ValueError(f"status={status} and broken={broken!r}: a broken connection has no status; give one")
        if not (status or broken or delay_s or body_delay_s):
            raise ValueError("the fault does nothing; give status, broken, delay_s or body_delay_s")
        if after and not status:
            raise ValueError('after goes with status; broken="answer" loses the answer of a request carried out')
        if times is None and rate is None:
            times = 1
        extra = {**(headers or {}), **({"Retry-After": str(retry_after)} if retry_after is not None else {})}
        share = 1.0 if rate is None else rate
        fault = Fault(status, broken, delay_s, body_delay_s, after, method, match, times, skip, share, seed, extra)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, or None."""
        return next((fault for fault in self._faults if fault.strikes(method, path)), None)
