"""Other people's converters are heard only when they fail."""

import logging
import warnings

import pytest

from smi_hf.quantization.exports.quiet import quiet


def test_remarks_are_not_heard_and_errors_are(capsys, caplog, recwarn):
    with quiet("some.package"):
        print("a progress bar")
        warnings.warn("a deprecation", FutureWarning, stacklevel=1)
        logging.getLogger("some.package").warning("a remark")
        logging.getLogger("some.package").error("a failure")
    assert capsys.readouterr().out == ""
    assert caplog.messages == ["a failure"]
    assert not recwarn.list


def test_all_is_as_before_also_after_a_failure(capsys, caplog):
    logging.getLogger("some.package").setLevel(logging.INFO)
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)

    def convert():
        root.setLevel(logging.ERROR)
        root.addFilter(lambda record: False)
        root.addHandler(logging.NullHandler())
        raise KeyError

    with pytest.raises(KeyError), quiet("some.package"):
        convert()
    assert (root.level, root.filters, root.handlers) == (level, filters, handlers)
    print("heard")
    logging.getLogger("some.package").warning("again")
    assert (capsys.readouterr().out, caplog.messages) == ("heard\n", ["again"])
    assert logging.getLogger("some.package").level == logging.INFO


def test_what_is_printed_can_be_read_in_the_log(caplog):
    with caplog.at_level(logging.DEBUG, logger="smi_hf"), quiet():
        print("first")
        print("10 %", end="\r")
        print("20 %\n")
        print("no end of line", end="")
    assert caplog.messages == ["first", "20 %", "no end of line"]
