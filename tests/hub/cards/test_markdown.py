"""Values of others in Markdown, YAML and examples."""

import ast
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from smi_hf.hub.cards.markdown import (
    checkpoint,
    code,
    inline,
    is_on_hub,
    link,
    plain,
    python_text,
    reference_path,
    settings_table,
    shell_word,
    table,
    template_environment,
)
from smi_hf.models import CheckpointReference

COMMIT = "0" * 40
# What Markdown is made of, more often than it comes by itself.
TEXTS = st.text(st.one_of(st.sampled_from("\\`*_[]()<>!|~&$#:\n -a1"), st.characters()), max_size=40)


def reference(name: str, revision: str | None = COMMIT) -> CheckpointReference:
    return CheckpointReference(name, revision, "vit", "1" * 64)


def parsed(markdown: str) -> list:
    (block,) = [block for block in MarkdownIt("commonmark").parse("x " + markdown + " x") if block.type == "inline"]
    return block.children


@given(TEXTS)
def test_text_stays_the_text_that_it_is(text):
    tokens = parsed(inline(text))
    assert {token.type for token in tokens} <= {"text", "text_special"}
    assert " ".join("".join(token.content for token in tokens).split()) == " ".join(f"x {plain(text)} x".split())


@given(TEXTS)
def test_code_stays_the_code_that_it_is(text):
    tokens = [token for token in parsed(code(text)) if token.type != "text"]
    assert [token.content for token in tokens] == ([plain(text)] if plain(text) else [])


@given(TEXTS)
def test_a_cell_stays_one_cell(text):
    rows = [("a", "b"), ("---", "---"), (text, code(text))]
    tokens = MarkdownIt("commonmark").enable("table").parse(table(rows))
    assert [token.type for token in tokens].count("td_open") == 2


@given(TEXTS)
def test_an_example_stays_one_word_or_string(text):
    assert ast.literal_eval(python_text(text)) == plain(text)
    assert shlex.split(shell_word(text)) == [plain(text)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("avx512_vnni", "avx512_vnni"),
        ("_a_", r"\_a\_"),
        ("a\r\n\u2028b\x00\x1b[0m\u202e", r"a b\[0m"),
        (5, "5"),
        (0.25, "0.25"),
    ],
)
def test_values_are_one_line_with_as_few_escapes_as_can_be(value, shown):
    assert inline(value) == shown


def test_a_value_of_any_length_is_cut():
    assert len(plain("a" * 10_000)) == 1000 and plain("a" * 10_000).endswith("...")


def test_templates_escape_what_nobody_has_made_markdown_of():
    template = template_environment().from_string("{{ a }} {{ a | code }} {{ b }} *x*")
    assert template.render(a="*", b=code("c")) == r"\* `*` `c` *x*"


def test_a_checkpoint_is_linked_to_its_commit_if_it_is_on_the_hub():
    assert checkpoint(reference("me/v_")) == (
        rf"[me/v\_](https://huggingface.co/me/v_/tree/{COMMIT}) (revision `{COMMIT}`)"
    )
    assert checkpoint(reference("vit", None)) == "`vit`"
    assert checkpoint(reference("a](b)")) == "`a](b)`"
    assert checkpoint(reference("me/vit", "a)/../b")).startswith(
        "[me/vit](https://huggingface.co/me/vit/tree/a%29%2F..%2Fb)"
    )
    assert reference_path(reference("me/vit")) == "me/vit"
    assert reference_path(reference("--help")) == "path/to/--help"


@pytest.mark.parametrize(
    ("name", "is_there"),
    [("me/vit", True), ("vit", True), ("a/b/c", False), ("a b", False), (None, False)],
)
def test_only_what_may_be_a_name_on_the_hub_is_taken_for_one(name, is_there):
    assert is_on_hub(name, COMMIT) is is_there
    assert not is_on_hub(name, None)


def test_a_link_of_no_web_address_is_its_words():
    assert link("a*", "javascript:b") == r"a\*"
    assert link("a", None) == "a"


def test_settings_are_shown_in_words_without_those_left_to_a_default():
    settings = {"a": True, "b": None, "c": [], "d": [1, 2.50], "e": {"x": 1e-4, "y": None}, "f": 0}
    rows = settings_table(settings)[2:]
    assert rows == [("`a`", "yes"), ("`d`", "1, 2.5"), ("`e`", "x 0.0001"), ("`f`", "0")]
