"""What every command line shares: help at once, errors in one line, exit codes."""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from nas.core.errors import UserError

# Beside the package in a checkout, inside it in an installed wheel.
CONF = next(
    p
    for p in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf")
    if (p / "search.yaml").is_file()
)
# Lines of an option's file that are no settings.
NO_SETTING = re.compile(r" *_\w+_:|defaults:|  - |# @|weights:$|name: |\{\}$|$")
# What is printed where an encoding (ASCII, Windows' cp1252) lacks our own signs.
PLAIN_SIGNS = {
    "→": "->", "★": "*", "±": "+-", "·": "|", "×": "x", "–": "-", "≈": "~", "²": "^2", "µ": "u",
    "▲": "^", "▼": "v",
}  # fmt: skip
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a file system
# A read-only /dev/shm, say, that workers need, or a folder where a file should be.
FORBIDDEN = (
    *(errno.EACCES, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)


def main(
    command: str,
    about: str,
    run: Callable[[list[str]], None],
    words: str = "",
    *,
    together: bool = False,
) -> None:
    """Print the help, or `run` the command with the words of sys.argv.

    `words` stand in its usage for what it takes beside name=value; `together` is of a command that
    several processes of torchrun may do as one.
    `run` imports what it needs by itself, so that the help answers at once.
    Exits with 2 after a user's mistake (one line, no traceback), with 130 after Ctrl-C.
    """
    arguments = sys.argv[1:]
    print_any_letter(sys.stdout)
    print_any_letter(sys.stderr)
    try:
        if {"-h", "--help"} & set(arguments):
            print(help_text(command, about, arguments, words))
        else:
            _check_temporary_folder()
            if not together:
                _check_alone(command)
            run(arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only be a traceback
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output went away (say, `| head`)
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123
    except (UserError, OSError) as error:
        print(f"python -m nas.{command}: {_in_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _in_one_line(error: UserError | OSError) -> str:
    """What the user can mend; any other error is raised again."""
    if isinstance(error, UserError):
        return str(error)
    again = "then give the same command again"
    if error.errno in DISK_FULL:
        return f"cannot write ({error.strerror}): make room, {again}"
    if error.errno in FORBIDDEN:
        return f"cannot use {error.filename or 'a file'} ({error.strerror}): mend that, {again}"
    raise error


def _check_temporary_folder() -> None:
    """UserError where there is none: torch may not even be imported without."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(f"{error.strerror}: set TMPDIR to a folder that can be written") from None


def _check_alone(command: str) -> None:
    """UserError, said once, where torchrun started this process and others."""
    rank = os.environ.get("RANK")  # as nas.training.processes, which imports torch
    if rank and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if rank != "0":
            sys.exit(2)
        raise UserError(
            "torchrun is for nas.train, and for accuracy=oneshot of nas.search: start nas."
            f"{command} once, with workers= or executor=ray"
        )


def print_any_letter(stream: TextIO) -> None:
    """Have `stream` print what its encoding lacks in plain signs, else as \\u65e5; never raise."""
    if isinstance(stream, io.TextIOWrapper):  # no notebook's, and not None, as it is where closed
        stream.reconfigure(errors=_plain.__name__)


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(PLAIN_SIGNS.get(c, ascii(c)[1:-1]) for c in letters), error.end


codecs.register_error(_plain.__name__, _plain)


def options(group: str) -> list[str]:
    """The names that a config group (`space`, `data`, ...) offers."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def help_text(command: str, about: str, arguments: Sequence[str] = (), words: str = "") -> str:
    """Usage, and every setting with its type and range, as the files of conf/ have them.

    Of groups the options that the `arguments` choose are shown, else the first ones.
    """
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    defaults, _, settings = text.partition("\n\n")
    first = dict(re.findall(r"^ *- (\w+): (\w+)", defaults, re.MULTILINE))
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    chosen = {g: given[g] if given.get(g) in options(g) else option for g, option in first.items()}
    usage = f"usage: python -m nas.{command} {words}".rstrip()
    lines = [f"{usage} [name=value ...]", "", about.strip()]
    if first:
        lines += ["", "groups (name=option; the first is the default):"]
        for group, default in first.items():
            rest = (option for option in options(group) if option != default)
            lines.append(f"  {group:<10}{', '.join([default, *rest])}")
    lines += ["", "settings (name=value):", *(f"  {s}" for s in settings.strip().splitlines())]
    for group, option in chosen.items():
        text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8")
        shown = [line for line in text.splitlines() if not NO_SETTING.match(line)]
        inner = next((line[:-1] for line in shown if re.fullmatch(r"\w+:", line)), "")
        nested = f"; nested ones {group}.{inner}.NAME=value" if inner else ""
        lines += ["", f"settings of {group}={option} (each {group}.NAME=value{nested}):"]
        lines += [f"  {line}" for line in shown]
    lines += ["", "-h, --help  this text, with name=option of that option's settings"]
    lines += ["--cfg       the whole configuration as it would be used"]
    return "\n".join(lines)
