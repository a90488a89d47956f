# SPDX-License-Identifier: BSD-3-Clause
"""The user's program: which it is, where it starts, and its exec."""

from __future__ import annotations

import os

from shifter_runtime import syscalls
from shifter_runtime.errors import ProgramError, SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_common.metadata import ImageMetadata
    from shifter_runtime.request import Request

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_DEFAULT_SHELL = "/bin/sh"
# What Python ignores or handles, and SIGCHLD, which the launcher resets: by the launcher's letters.
_SIGNALS = {"c": syscalls.SIGCHLD, "p": syscalls.SIGPIPE, "x": syscalls.SIGXFSZ}


def choose_command(request: Request, metadata: ImageMetadata) -> list[str]:
    """The program and its arguments; empty where a shell is wanted."""
    if request.entrypoint is None:
        return request.command
    if isinstance(request.entrypoint, str):
        return [request.entrypoint, *request.command]
    command = [*(metadata.entry or []), *(request.command or metadata.command or [])]
    if not command:
        raise SetupError(
            "--entrypoint: the image defines neither an entry point nor a command: "
            "name a program instead"
        )
    return command


def choose_directory(request: Request, metadata: ImageMetadata) -> str:
    """Where the program is to start, as a path in the container."""
    if isinstance(request.workdir, str):
        return request.workdir
    if request.workdir:
        if not metadata.workdir:
            raise SetupError(
                "--workdir: the image defines no working directory: write --workdir=/path"
            )
        return metadata.workdir
    try:
        return os.getcwd()
    except OSError:
        return "/"  # it was removed, or lies where not even the caller could reach it


def change_directory(wanted: str) -> str | None:
    """Go to `wanted`, or stay in `/` and return a sentence that says so."""
    try:
        os.chdir(wanted)
    except OSError as error:
        return f"Failed to switch to working dir: {wanted}, staying in / ({error.strerror})"
    return None


def shell(environment: dict[str, str]) -> list[str]:
    """The user's own shell where the image has it."""
    wanted = environment.get("SHELL", "")
    return [wanted if wanted.startswith("/") and os.access(wanted, os.X_OK) else _DEFAULT_SHELL]


def let_interrupts_through(*, ignored: str, blocked: str) -> None:
    """From now on, Ctrl-C ends this process as it would end any program; one that waits does now.

    Whatever has been mounted until then was seen by nobody else, and vanishes. Python's own handler
    would lose what comes just before exec.
    """
    if "i" not in ignored:
        syscalls.default_signal(syscalls.SIGINT)
    if not blocked:
        syscalls.unblock_signal(syscalls.SIGINT)


def replace(command: list[str], environment: dict[str, str], *, ignored: str) -> NoReturn:
    """Become `command`; its exit status is then the launcher's.

    `ignored` holds the letters of the signals that the caller ignored.
    """
    for letter, number in _SIGNALS.items():
        if letter in ignored:
            syscalls.ignore_signal(number)
        else:
            syscalls.default_signal(number)
    if not command[0]:  # as an unset variable in quotes leaves it
        raise ProgramError("the program's name is empty: write its name after the options")
    raise ProgramError(f"{command[0]}: {_execute(command, environment)}")


def _execute(command: list[str], environment: dict[str, str]) -> str:
    """Try every place where the program may be; the reason why none would do.

    From -v, -w or --writable, a volume, a directory or a size comes to stand here.
    """
    reason = "No such file or directory"
    if ":/" in command[0]:
        reason += " (if this is a volume: -V or --volume; -v is --verbose)"
    elif command[0][:-1].isdecimal() and command[0][-1] in "KMGTkmgt":
        reason += f" (if this is a size: --writable={command[0]})"
    for path in _candidates(command[0], environment.get("PATH", _DEFAULT_PATH)):
        try:
            os.execve(path, command, environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            if os.path.exists(path):
                reason = f"{error.strerror} (its interpreter or loader is not in the image)"
        except (OSError, ValueError) as error:
            # As execvp(3): go on looking, but say this if nothing better is found.
            reason = getattr(error, "strerror", None) or str(error)
            if os.path.isdir(path):
                reason += f" (it is a directory; to start in it: --workdir={path})"
    return reason


def _candidates(program: str, search_path: str) -> list[str]:
    if "/" in program:
        return [program]
    return [f"{directory or '.'}/{program}" for directory in search_path.split(":")]
