# SPDX-License-Identifier: BSD-3-Clause
"""What people who come from docker, podman or apptainer write, and what to write here instead.

Loaded only where a launch is refused, and before the container is entered.
"""

from __future__ import annotations

_VOLUME = "a directory is shown elsewhere with --volume=/from:/to"
_YOURSELF = "a program runs as yourself"
_GPU = "GPUs are a module of the site: --module=NAME"
_NETWORK = "a program is on the network of the node"
_MINIMAL = "--clearenv keeps your variables out, --no-mount=NAME a directory of the site"
_WRITABLE = "with --writable, the image can be changed until the program ends"

# Names of options there, long and short -> what to say of them.
_OPTIONS = {
    **dict.fromkeys(("bind", "B"), _VOLUME),
    **dict.fromkeys(("user", "u", "userns", "fakeroot", "f", "privileged", "cap-add"), _YOURSELF),
    **dict.fromkeys(("gpus", "nv", "rocm", "device"), _GPU),
    **dict.fromkeys(("network", "net", "publish", "p", "hostname"), _NETWORK),
    **dict.fromkeys(("contain", "c", "containall", "C", "no-home"), _MINIMAL),
    **dict.fromkeys(("writable-tmpfs", "overlay"), _WRITABLE),
    **dict.fromkeys(("pwd", "cwd", "W"), "a directory to start in is --workdir=/path"),
    "tmpfs": "a directory in memory is --mount=tmpfs:/path",
    "read-only": "the image is read-only, unless --writable is given",
    **dict.fromkeys(("detach", "d"), "a program runs where you start it: append & to go on"),
    "name": "containers have no names: one ends with its program",
}
_COMMANDS = ("run", "exec", "shell", "start", "instance")
_COMMANDS_OF_IMAGES = ("pull", "images", "login", "import", "lookup", "inspect", "rm", "search")
_QUESTIONS = {"help": "write shifter --help", "version": "write shifter --version"}
_EXAMPLE = "--image=docker:NAME:TAG"


def of_option(name: str) -> str | None:
    """What stands here for an option that others have, by its long name or its letter."""
    return _OPTIONS.get(name)


def without_image(command: list[str]) -> str:
    """What to say where no image is named, and `command` is what was to be run."""
    first = command[0] if command else ""
    if first in _COMMANDS:
        return f"'{first}' is no word of shifter's: write shifter {_EXAMPLE} COMMAND"
    if first in _COMMANDS_OF_IMAGES:
        return f"images are the business of another command: shifterimg {first}"
    if first in _QUESTIONS:
        return _QUESTIONS[first]
    if ":" in first and not first.startswith(("-", "/")):
        return f"if {first!r} is one, write shifter --image={first} COMMAND"
    return f"write {_EXAMPLE}"
