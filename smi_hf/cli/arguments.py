"""Options from a YAML file and the command line: the file gives defaults, the command line wins."""

import argparse
import dataclasses
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from smi_hf.cli.help_text import HELP_OPTIONS, full_help, short_help
from smi_hf.cli.screen import error_stream
from smi_hf.errors import UsageError, printable
from smi_hf.files import one_line
from smi_hf.nearby import nearest_path
from smi_hf.registry import suggest

_NULLS = {"", "~", "null", "Null", "NULL"}
# How the heading of the options of another library's class begins.
_FOREIGN = "taken over from "


def _hf_argparser() -> ModuleType:
    """`transformers.hf_argparser` without `transformers`, which in version 4 imports torch: --help must not wait."""
    package = importlib.util.find_spec("transformers")
    assert package is not None and package.submodule_search_locations is not None, "transformers is a dependency"
    file = Path(package.submodule_search_locations[0]) / "hf_argparser.py"
    spec = importlib.util.spec_from_file_location("smi_hf._hf_argparser", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from transformers import HfArgumentParser
else:
    HfArgumentParser = _hf_argparser().HfArgumentParser


class _HelpAll(argparse.Action):
    """Prints every option and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, ArgumentParser)
        print(parser.format_full_help(), end="")
        parser.exit()


def _declaring(dataclass_type: type, name: str) -> type:
    """The class among a dataclass and its bases that says what a field is."""
    return next(each for each in dataclass_type.__mro__ if name in inspect.get_annotations(each))


def _heading(dataclass_type: type) -> str:
    """What the options of a dataclass are about: the beginning of its docstring."""
    if not dataclass_type.__module__.startswith("smi_hf"):
        return f"{_FOREIGN}{dataclass_type.__module__.partition('.')[0]}.{dataclass_type.__name__}"
    first = re.split(r"[.;,:]", dataclass_type.__doc__ or "", maxsplit=1)[0].replace("`", "").strip()
    return first[:1].lower() + first[1:]


def _words_of(options: Mapping[str, Any]) -> list[str]:
    """Options as one would write them on the command line."""
    words = []
    for name, value in options.items():
        words += [f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"]
    return words


def last_value(words: Sequence[str], option: str) -> str | None:
    """What was given to an option of one value, in words of a command line; None if it was not."""
    found = None
    for word, following in zip(words, [*words[1:], ""]):
        name, _, value = word.partition("=")
        if name == f"--{option}":
            found = value or following
    return found


class ArgumentParser(HfArgumentParser):
    """An `HfArgumentParser` that reads `--config FILE`, answers a wrong option or choice with the nearest one, and has
    help in two lengths (`smi_hf.cli.help_text`).

    Args:
        dataclass_types: dataclasses whose fields become options.
        options: those that matter, which `--help` shows, by heading; names without dashes. All if None.
        presets: by the name of a preset, offered as `--preset`, what makes its options of all words that were given.
        positionals: dataclass of what is given in order, without a name; all required.
        **kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(
        self,
        dataclass_types: Any,
        *,
        options: Mapping[str, Sequence[str]] | None = None,
        presets: Mapping[str, Callable[[Sequence[str]], Mapping[str, Any]]] | None = None,
        positionals: Any = None,
        **kwargs: Any,
    ) -> None:
        # An abbreviation that works today is ambiguous when the next option comes.
        super().__init__(dataclass_types, allow_abbrev=False, add_help=False, **kwargs)
        self._ordered = positionals
        self._presets = presets or {}
        for field in dataclasses.fields(positionals) if positionals else ():
            self.add_argument(field.name, **field.metadata)
        self.add_argument(
            "--config",
            metavar="FILE",
            default=None,
            help="YAML file of these options (without the dashes); an option given here as well wins.",
        )
        if presets:
            self.add_argument(
                "--preset",
                choices=list(presets),
                default=None,
                help="Settings for a purpose; --config and options given here win over them.",
            )
        self.add_argument(*HELP_OPTIONS, action="help", help="Show the options that matter to most, and exit.")
        self.add_argument("--help-all", action=_HelpAll, nargs=0, help="Show every option, and exit.")
        seen = self.add_mutually_exclusive_group()
        seen.add_argument("--quiet", action="store_true", help="Show the result alone, and errors.")
        seen.add_argument("--verbose", action="store_true", help="Show everything that other packages say as well.")
        for action in self._actions:
            # The other spelling, with dashes, is taken as before; it is not shown.
            if action.option_strings[:1] in ([f"--{action.dest}"], [f"--no_{action.dest}"]):
                action.option_strings = action.option_strings[:1]
        self.main_options = options or {"options": self._field_names()}
        self._config_file: str | None = None

    def _field_names(self) -> list[str]:
        types = [*([self._ordered] if self._ordered else []), *self.dataclass_types]
        return [field.name for each in types for field in dataclasses.fields(each) if field.init]

    def format_help(self) -> str:
        """The options that matter, on a screen."""
        return short_help(self, self.main_options)

    def format_full_help(self) -> str:
        """Every option; those that do not matter to most by the dataclass that declares them."""
        rest: dict[str, list[str]] = {}
        for dataclass_type in self.dataclass_types:
            for name in (field.name for field in dataclasses.fields(dataclass_type)):
                rest.setdefault(_heading(_declaring(dataclass_type, name)), []).append(name)
        # Those of other libraries last.
        ordered = sorted(rest.items(), key=lambda item: item[0].startswith(_FOREIGN))
        return full_help(self, self.main_options, dict(ordered))

    def parse(self, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
        """One instance of each dataclass, that of the positionals first.

        Raises:
            UsageError: a file, key or value is wrong. argparse itself exits with code 2 on a wrong option.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        for word in given:
            # Bytes of a file name that are no UTF-8 arrive as surrogates, which other libraries cannot write.
            if "\0" in word or (not word.isascii() and any("\ud800" <= character <= "\udfff" for character in word)):
                raise UsageError(f"argument {word!r} is not text in UTF-8 without NUL; rename the file or folder")
        found = self._files_given(given)
        self._config_file = found.config
        # What is to win comes last, as argparse lets the last one win. A wrong name is refused with the rest.
        words = [*(self._arguments_of(Path(found.config)) if found.config else []), *given]
        defaults = _words_of(self._presets[found.preset](words)) if found.preset in self._presets else []
        namespace = self.parse_args([*defaults, *words])
        instances = []
        for dataclass_type in [*([self._ordered] if self._ordered else []), *self.dataclass_types]:
            names = [name for name in dataclass_type.__dataclass_fields__ if hasattr(namespace, name)]
            try:
                instances.append(dataclass_type(**{name: getattr(namespace, name) for name in names}))
            except UsageError:
                raise
            # How the dataclasses of transformers refuse a value, or a package that a value needs.
            except (ValueError, TypeError, ImportError, NotImplementedError) as error:
                raise UsageError(f"an option was refused: {one_line(error)}") from error
        return tuple(instances)

    def _files_given(self, given: Sequence[str]) -> argparse.Namespace:
        """`config` and `preset`, before anything else is read."""
        finder = argparse.ArgumentParser(prog=self.prog, add_help=False, allow_abbrev=False)
        # One sentence, as for any other option.
        finder.error = self.error
        finder.add_argument("--config")
        finder.add_argument("--preset")
        return finder.parse_known_args(given)[0]

    def _arguments_of(self, file: Path) -> list[str]:
        """A YAML file as command line arguments."""
        try:
            # BaseLoader leaves every scalar the text that was written; the options' own types read it, so that 1e-4
            # is a number (YAML 1.1 says it is a string) and "no" is not False.
            values = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
        except OSError as error:
            raise UsageError(f"--config {file} cannot be read: {error.strerror}{nearest_path(file)}") from error
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"--config {file} is not valid YAML: {one_line(error)}") from error
        if not isinstance(values, dict):
            raise UsageError(f"--config {file} must hold one 'option: value' a line")
        named = [action.dest for action in self._actions if action.option_strings]
        known = [name for name in named if name not in ("help", "help_all", "config", "preset", "quiet", "verbose")]
        arguments = []
        for key, value in values.items():
            if key not in known:
                raise UsageError(f"--config {file} has an unknown option {key!r}{suggest(str(key), known)}")
            if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
                arguments += [f"--{key}", *value]
            elif isinstance(value, str) and "\0" not in value:
                arguments += [] if value in _NULLS else [f"--{key}={value}"]
            else:
                raise UsageError(f"--config {file}: {key} must be one value or a list of values, not {value!r}")
        return arguments

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuses what is no choice of an option, with the nearest that is."""
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{suggest(str(value), choices)}; choose from {', '.join(choices)}"
            )

    def error(self, message: str) -> NoReturn:
        """Exits with code 2 and one message; names the nearest option and the file that options came from."""
        if message.startswith("unrecognized arguments:"):
            known = [option for action in self._actions for option in action.option_strings]
            message += "".join(suggest(word, known) for word in message.split() if word.startswith("--"))
        if self._config_file:
            message += f" (options came from {self._config_file} and the command line)"
        print(printable(f"{self.prog}: error: {message}"), file=error_stream())
        self.exit(2)
