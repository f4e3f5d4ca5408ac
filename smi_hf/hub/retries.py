"""Trying again what the Hub or the network refused for a moment."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from smi_hf.models.loading import connection_errors

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

NUM_ATTEMPTS = 6
# Refused, and so not carried out: too many requests, or another commit came between looking and committing.
_REFUSED = frozenset({412, 429})
_FAILED = frozenset({408, 500, 502, 503, 504})
_BACK_OFF = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5)
_LONGEST_WAIT = 300.0


def with_retries(call: Callable[[], Result], doing: str, *, is_repeatable: bool = True) -> Result:
    """What `call` returns, called again with growing pauses while the reason to fail may pass.

    Args:
        doing: what it does, for the log: "send train-0.parquet".
        is_repeatable: whether it may be carried out twice, as may happen when the answer to a request is lost.

    Raises:
        Exception: what the last attempt raised, or what no attempt can mend.
    """
    retrying = Retrying(
        stop=stop_after_attempt(NUM_ATTEMPTS),
        wait=_seconds_to_wait,
        retry=retry_if_exception(lambda error: is_passing(error, is_repeatable=is_repeatable)),
        before_sleep=lambda state: logger.warning(
            "could not %s (%s); trying again in %.0f s",
            doing,
            describe(state.outcome.exception()),
            state.next_action.sleep,
        ),
        reraise=True,
    )
    return retrying(call)


def is_passing(error: BaseException, *, is_repeatable: bool = True) -> bool:
    """Whether an error may be gone at the next attempt: too many requests, a failing server, a lost connection."""
    for each in chain(error):
        if isinstance(each, OfflineModeIsEnabled):
            return False
        if isinstance(each, HfHubHTTPError):
            return status(each) in (_REFUSED | _FAILED if is_repeatable else _REFUSED)
        if is_repeatable and isinstance(each, connection_errors()):
            return True
    return False


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it: a failed upload arrives as the cause of a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__


def status(error: HfHubHTTPError) -> int | None:
    """HTTP status of an error, None if there was no answer."""
    return getattr(error.response, "status_code", None)


def _seconds_to_wait(state: RetryCallState) -> float:
    """Exponential back-off, but no less than what the server asks for."""
    assert state.outcome is not None
    asked = 0.0
    for error in chain(state.outcome.exception()):
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            header = error.response.headers.get("Retry-After", "")
            asked = float(header) if header.isdecimal() else 0.0
    return min(max(_BACK_OFF(state), asked), _LONGEST_WAIT)


def describe(error: BaseException | None) -> str:
    """What went wrong in a few words."""
    for root in chain(error):
        if isinstance(root, connection_errors()):
            # Its text is that of three libraries, each quoting the next.
            return f"no connection, {type(root).__name__}"
    # The first line: the others are request ids and advice for other occasions.
    return next((line for line in str(root).splitlines() if line.strip()), type(root).__name__)
