"""Command lines: a frozen dataclass is the interface, presets are instances of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar

import tyro

Config = TypeVar("Config")


def parse(
    presets: Mapping[str, Config], description: str | None, arguments: Sequence[str] | None = None
) -> Config:
    """Read `--preset` first, then every other flag on top of that preset's values.

    Args:
      presets: name -> instance of one frozen dataclass with a field `preset` of that name; the first is
        the default.
      description: the script's header; its first three paragraphs are shown: title, command, purpose.
      arguments: the command line; None reads sys.argv.

    Raises:
      SystemExit: after --help, or with a message for unknown flags, values or presets.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = next(iter(presets))
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            name = arguments[i + 1]
        elif argument.startswith("--preset="):
            name = argument.removeprefix("--preset=")
    if name not in presets:
        raise SystemExit(f"--preset: expected one of {', '.join(presets)}; got {name!r}")
    default = presets[name]
    shown = "\n\n".join((description or "").split("\n\n")[:3])
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    prog = f"python -m {module}" if module else None
    return tyro.cli(type(default), default=default, args=arguments, description=shown, prog=prog)
