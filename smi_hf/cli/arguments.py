"""Options from a YAML file and the command line: the file gives defaults, the command line wins."""

import argparse
import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from smi_hf.errors import UsageError, printable
from smi_hf.files import one_line
from smi_hf.registry import suggest

_NULLS = {"", "~", "null", "Null", "NULL"}


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


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and shows a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _words_of(options: Mapping[str, Any]) -> list[str]:
    """Options as one would write them on the command line."""
    words = []
    for name, value in options.items():
        words += [f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"]
    return words


class ArgumentParser(HfArgumentParser):
    """An `HfArgumentParser` that reads `--config FILE` and answers unknown options with the nearest one.

    Args:
        dataclass_types: dataclasses whose fields become options.
        presets: options by the name of a preset, offered as `--preset`.
        positionals: dataclass of what is given in order, without a name; all required.
        **kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(
        self,
        dataclass_types: Any,
        *,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        positionals: Any = None,
        **kwargs: Any,
    ) -> None:
        # An abbreviation that works today is ambiguous when the next option comes.
        super().__init__(dataclass_types, allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        self._ordered = positionals
        self._presets = presets or {}
        for field in dataclasses.fields(positionals) if positionals else ():
            self.add_argument(field.name, help=field.metadata["help"], nargs=field.metadata.get("nargs"))
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
        self._config_file: str | None = None

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
        defaults = _words_of(self._presets.get(found.preset, {}))
        defaults += self._arguments_of(Path(found.config)) if found.config else []
        namespace = self.parse_args([*defaults, *given])
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
            raise UsageError(f"--config {file} cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"--config {file} is not valid YAML: {one_line(error)}") from error
        if not isinstance(values, dict):
            raise UsageError(f"--config {file} must hold one 'option: value' a line")
        named = [action.dest for action in self._actions if action.option_strings]
        known = [name for name in named if name not in ("help", "config", "preset")]
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

    def error(self, message: str) -> NoReturn:
        """Exits with code 2 and one message; names the nearest option and the file that options came from."""
        if message.startswith("unrecognized arguments:"):
            known = [option for action in self._actions for option in action.option_strings]
            message += "".join(suggest(word, known) for word in message.split() if word.startswith("--"))
        if self._config_file:
            message += f" (options came from {self._config_file} and the command line)"
        self.exit(2, printable(f"{self.prog}: error: {message}") + "\n")
