"""Pages of Markdown: their code, and what runs of it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

Block = tuple[str, str]


def blocks(page: Path) -> list[Block]:
    """(language, text) of every code block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """Each command of a bash block in one line."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_blocks(page: Sequence[Block], small: Mapping[str, Sequence[str]]) -> list[str]:
    """Runs the commands of `smi-hf` and the code of a page, one after another, in this process and folder.

    Args:
        small: options that are added to a command, by its name.

    Returns:
        What ran: names of commands, and "python" for a block of it.
    """
    from smi_hf.cli.main import main

    namespace: dict[str, object] = {}
    ran = []
    for language, text in page:
        if language == "python":
            exec(compile(text, "a block of a page", "exec"), namespace)
            ran.append("python")
        for command in commands(text) if language == "bash" else ():
            words = shlex.split(command, comments=True)
            if words[0] != "smi-hf":
                continue
            # The last one of an option wins.
            assert main([*words[1:], *small.get(words[1], ())]) == 0, command
            ran.append(words[1])
    return ran
