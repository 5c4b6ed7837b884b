"""Plug-ins in single files, without a package: ``--plugin my_method.py``.

The file defines ``ENTRY``, a ``MethodEntry`` or ``BackboneEntry`` whose target is a class of the file; the plug-in is
called as the file is, with dashes. The file is read once: what a run computes with, in all of its processes, is the
text that was there when it began.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from bench.errors import ConfigError, suggest
from bench.registry import BackboneEntry, Entry, MethodEntry

__all__ = ["ATTRIBUTE", "PluginError", "PluginFile", "read_plugin", "read_plugins"]

ATTRIBUTE = "ENTRY"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUM_CHARS = 12
_LINE = f'{ATTRIBUTE} = MethodEntry(f"{{__name__}}:MyMethod", "My Method")'


class PluginError(ConfigError):
    """A plug-in's file was read, but its code cannot be used as it is."""


@dataclass(frozen=True)
class PluginFile:
    """A plug-in's file as it was read."""

    path: str
    """As it was given."""
    text: str

    @property
    def name(self) -> str:
        """What the plug-in is called: the file's name with dashes."""
        return Path(self.path).stem.replace("_", "-")

    @property
    def sha256(self) -> str:
        """Checksum of the file's bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def stem_and_sum(self) -> str:
        """A name that no other version of the file has."""
        return f"{Path(self.path).stem}_{self.sha256[:_SUM_CHARS]}"

    @property
    def module(self) -> str:
        """Name of the module, which nothing else has."""
        return f"bench_plugin_{self.stem_and_sum}"

    @property
    def version(self) -> dict[str, str]:
        """What records say of it."""
        return {"file": Path(self.path).name, "sha256": self.sha256}

    def load(self) -> MethodEntry | BackboneEntry:
        """Run the file, unless this version of it has been, and return its entry.

        Raises:
            PluginError: the code fails, or ``ENTRY`` is missing or not as it has to be.
        """
        module = sys.modules.get(self.module) or self._run()
        entry = getattr(module, ATTRIBUTE, None)
        if entry is None:
            found = _classes(module)
            line = _LINE if not found else _line(found[0])
            raise PluginError(f"{self.path} has no {ATTRIBUTE}. Add at its end: {line}")
        if not isinstance(entry, MethodEntry | BackboneEntry):
            kind = type(entry).__name__
            raise PluginError(f"{self.path}: {ATTRIBUTE} is a {kind}; wanted a MethodEntry or BackboneEntry: {_LINE}")
        self._check_target(entry, module)
        return entry

    def _run(self) -> ModuleType:
        file = str(Path(self.path).resolve())
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(keepends=True), file)
        spec = importlib.util.spec_from_loader(self.module, loader=None, origin=file)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__file__ = file
        sys.modules[self.module] = module  # dataclasses look their module up
        try:
            exec(compile(self.text.removeprefix("\ufeff"), file, "exec"), vars(module))
        except (Exception, SystemExit) as error:  # a plug-in may fail in any way
            del sys.modules[self.module]
            raise PluginError(f"{self.path}{_place(error, file)}: {type(error).__name__}: {_said(error)}") from error
        return module

    def _check_target(self, entry: Entry, module: ModuleType) -> None:
        where, _, attribute = entry.target.partition(":")
        if where != module.__name__:
            raise PluginError(
                f"{self.path}: the target of {ATTRIBUTE} is {entry.target!r}, which need not be this file; "
                f'write f"{{__name__}}:{attribute or "MyMethod"}".'
            )
        if not isinstance(getattr(module, attribute, None), type):
            known = suggest(attribute, [cls.__name__ for cls in _classes(module)])
            raise PluginError(
                f"{self.path}: {ATTRIBUTE} names the class {attribute!r}, which is not in the file.{known}"
            )


def _classes(module: ModuleType) -> list[type]:
    """Classes that the file itself defines and that may be plug-ins."""
    own = [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == module.__name__]
    return [cls for cls in own if hasattr(cls, "Params")]


def _line(cls: type) -> str:
    kind = "MethodEntry" if hasattr(cls, "select") else "BackboneEntry"
    return f'{ATTRIBUTE} = {kind}(f"{{__name__}}:{cls.__name__}", "{cls.__name__}")'


def _place(error: BaseException, file: str) -> str:
    """Which line of the file is at fault, and what it says."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == file else None
    if line is None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = frames[-1].lineno if frames else None
    if line is None:
        return ""
    text = linecache.getline(file, line).strip()
    return f", line {line} ({text})" if text else f", line {line}"


def _said(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error) or "no message"


def read_plugin(path: str) -> PluginFile:
    """Read the file of a plug-in; nothing of it is run.

    Raises:
        ConfigError: there is no such file, or it cannot be one of a plug-in.
    """
    file, mend = Path(path), "Give the Python file of a method or backbone."
    if file.is_dir():
        raise ConfigError(f"plugin={path} is a folder. {mend} Several files make a package (methods/README.md).")
    if file.suffix != ".py":
        raise ConfigError(f"plugin={path} does not end in .py. {mend}")
    if not _NAME.fullmatch(file.stem):
        raise ConfigError(
            f"plugin={path}: the file's name becomes the plug-in's, so that it must be of small letters, digits and "
            "single underscores, as in my_method.py; rename it."
        )
    try:
        return PluginFile(path, file.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"plugin={path} is not there. {mend}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"plugin={path} cannot be read: {error}. {mend}") from None


def read_plugins(paths: Iterable[str]) -> list[PluginFile]:
    """Read several; a file that is named twice counts once.

    Raises:
        ConfigError: one cannot be read, or two files would give one name.
    """
    found: dict[str, PluginFile] = {}
    for path in paths:
        file = read_plugin(path)
        other = found.setdefault(file.name, file)
        if Path(other.path).resolve() != Path(path).resolve():
            raise ConfigError(f"plugin={other.path} and {path} would both be called {file.name!r}; rename one of them.")
    return list(found.values())
