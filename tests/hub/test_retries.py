"""Trying again: what may pass, how often, and how long the pauses are."""

from types import SimpleNamespace

import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from smi_hf.hub import retries
from smi_hf.hub.retries import NUM_ATTEMPTS, connection_errors, describe, is_passing, with_retries


def answered(status: int, **headers: str) -> HfHubHTTPError:
    """What huggingface_hub raises for an answer with this status."""
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(error, f"{status} it says\nRequest ID: 1")
    error.response = SimpleNamespace(status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return error


class Calls:
    """Fails with these errors, one a call, then returns its count."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.count = list(errors), 0

    def __call__(self) -> int:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.count


@pytest.mark.parametrize("error", [answered(429), answered(503), answered(412), ConnectionError(), TimeoutError()])
def test_what_may_pass_is_tried_again(error):
    assert with_retries(Calls(error, error), "ask") == 3


@pytest.mark.parametrize("error", [answered(404), answered(403), ValueError("no"), OfflineModeIsEnabled("off")])
def test_what_no_attempt_can_mend_is_raised_at_once(error):
    calls = Calls(error)
    with pytest.raises(type(error)):
        with_retries(calls, "ask")
    assert calls.count == 1


def test_it_is_given_up_after_so_many_attempts_with_the_last_error():
    calls = Calls(*[answered(500)] * (NUM_ATTEMPTS - 1), answered(502), answered(503))
    with pytest.raises(HfHubHTTPError, match="502"):
        with_retries(calls, "ask")
    assert calls.count == NUM_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    # Refused, and so not carried out; of the others nobody knows.
    [(answered(429), True), (answered(412), True), (answered(503), False), (ConnectionError(), False)],
)
def test_what_must_not_be_done_twice_is_tried_again_only_if_it_was_refused(error, is_tried_again):
    assert is_passing(error, is_repeatable=False) is is_tried_again
    assert is_passing(error)


def test_the_cause_of_an_error_counts():
    failed = RuntimeError("upload failed")
    failed.__cause__ = answered(500)
    assert is_passing(failed)
    failed.__cause__ = answered(400)
    assert not is_passing(failed)


def test_the_clients_own_errors_are_lost_connections():
    assert all(issubclass(error, Exception) for error in connection_errors())
    # Beside Python's two there are those of requests or httpx.
    assert len(connection_errors()) > 2


@pytest.mark.parametrize(
    ("asked", "seconds"), [("7", 7.0), ("99999", 300.0), ("Wed, 21 Oct 2026", 0.01), ("-1", 0.01)]
)
def test_the_server_says_how_long_to_wait_within_reason(asked, seconds):
    state = SimpleNamespace(outcome=SimpleNamespace(exception=lambda: answered(429, Retry_After=asked)))
    assert retries._seconds_to_wait(state) == seconds


def test_an_error_is_described_in_its_first_line():
    assert describe(answered(500)) == "500 it says"
    assert describe(ConnectionResetError("[Errno 104]")) == "no connection, ConnectionResetError"
    assert describe(ValueError()) == "ValueError"
