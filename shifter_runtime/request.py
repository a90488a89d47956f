# SPDX-License-Identifier: BSD-3-Clause
"""What the user asks for: `shifter` options and arguments, and the variables that stand for them.

Options are read as getopt_long(3) reads them with POSIXLY_CORRECT: bundles of short options,
attached values, unambiguous beginnings of long names, an end at the first word that is no option.
Arguments and environment may hold any bytes; what is not UTF-8 is kept as surrogate escapes.
"""

from __future__ import annotations

from shifter_common.reference import IMAGE_TYPES, ImageReference
from shifter_runtime import volumes
from shifter_runtime.errors import NotPermittedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_VALUE, _VALUE, _ATTACHED_VALUE = range(3)

# Long name -> the option it stands for, and whether that takes a value.
_LONG_OPTIONS = {
    "help": ("help", _NO_VALUE),
    "verbose": ("verbose", _NO_VALUE),
    "dry-run": ("dry-run", _NO_VALUE),
    "image": ("image", _VALUE),
    "volume": ("volume", _VALUE),
    "module": ("module", _VALUE),
    "modules": ("module", _VALUE),
    "env": ("env", _VALUE),
    "env-file": ("env-file", _VALUE),
    "clearenv": ("clearenv", _NO_VALUE),
    "workdir": ("workdir", _ATTACHED_VALUE),
    "entrypoint": ("entrypoint", _ATTACHED_VALUE),
    "entry": ("entrypoint", _ATTACHED_VALUE),
}
_SHORT_OPTIONS = {
    "h": "help",
    "v": "verbose",
    "i": "image",
    "V": "volume",
    "m": "module",
    "e": "env",
    "E": "clearenv",
    "w": "workdir",
    "n": "n",  # once "no gateway": accepted, does nothing
}


class Request:
    """One invocation of `shifter`, understood but not yet granted.

    `entrypoint` and `workdir` are None where not asked for, True for what the image says, else the
    text that was given. `modules` is None where the site's defaults apply. With `help`, nothing
    else is set.
    """

    __slots__ = (
        "clear_environment",
        "command",
        "dry_run",
        "entrypoint",
        "env_file",
        "env_overrides",
        "environment",
        "help",
        "json",
        "modules",
        "no_mounts",
        "reference",
        "requested_text",
        "timing",
        "tmpfs",
        "unset",
        "verbose",
        "volumes",
        "workdir",
        "writable",
    )

    reference: ImageReference

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment  # the caller's, in its order
        self.requested_text: str | None = None  # the image as it was typed, for the container
        self.command: list[str] = []
        self.entrypoint: str | bool | None = None
        self.workdir: str | bool | None = None
        self.env_overrides: list[tuple[str, str]] = []
        self.env_file: list[str] = []
        self.clear_environment = False
        self.volumes: list[volumes.Volume] = []
        self.modules: list[str] | None = None
        self.verbose = False
        self.dry_run = False
        self.help = False
        self.json = False  # what is shown is shown as JSON
        self.timing = False  # say on stderr how long each step took
        self.unset: list[str] = []  # names of variables, after all that set them
        self.no_mounts: list[str] = []  # targets of the site's mounts that are left out
        self.tmpfs: list[volumes.TmpfsSpec] = []
        self.writable: int | None = None  # bytes that may be written to the root; 0: no limit

    @property
    def is_ordinary(self) -> bool:
        """Whether a container that was prepared for the job may serve: nothing is different."""
        return self.writable is None and not self.tmpfs and not self.no_mounts


def parse(
    arguments: list[str],
    environment: Mapping[str, str],
    *,
    default_type: str = "docker",
    allow_local: bool = False,
) -> Request:
    """Read the words after `shifter` and the environment of whoever typed them.

    `default_type` and `allow_local` are the site's defaultImageType and allowLocalChroot.
    """
    request = Request(dict(environment))
    given, request.command = _options(arguments)
    typed_image = typed_modules = None
    typed_volumes = []
    for option, value in given:
        if option == "help":
            request.help = True
            return request
        if option == "image":
            typed_image = value
        elif option == "volume":
            typed_volumes.append(value or "")
        elif option == "module":
            typed_modules = value
        else:
            _set(request, option, value)
    request.reference, request.requested_text = _choose_image(
        typed_image, environment, default_type
    )
    if request.reference.image_type == "local" and not allow_local:
        raise NotPermittedError(
            f"image {str(request.reference)!r}: this site does not allow directories as images "
            "(allowLocalChroot in udiRoot.conf): choose an image of type docker, custom or id"
        )
    request.volumes = volumes.parse_user(
        ";".join(typed_volumes)
        if typed_volumes
        else _from_environment(environment, "SHIFTER_VOLUME")
    )
    if typed_modules is None:
        typed_modules = _from_environment(environment, "SHIFTER_MODULE") or None
    if typed_modules is not None:
        request.modules = [name for name in typed_modules.split(",") if name]
    return request


def parse_variable(text: str, what: str) -> tuple[str, str]:
    """Name and value of `NAME=value`; the value may be empty."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise UsageError(f"{what} {text!r} is not of the form NAME=value")
    return name, value


def _set(request: Request, option: str, value: str | None) -> None:
    if option == "env":
        request.env_overrides.append(parse_variable(value or "", "--env"))
    elif option == "env-file":
        request.env_file.append(value or "")
    elif option == "clearenv":
        request.clear_environment = True
    elif option == "verbose":
        request.verbose = True
    elif option == "dry-run":
        request.dry_run = True
    elif option == "workdir":
        request.workdir = _attached(option, value, "a directory")
    elif option == "entrypoint":
        request.entrypoint = _attached(option, value, "a program")


def _attached(option: str, value: str | None, what: str) -> str | bool:
    if value == "":
        raise UsageError(
            f"--{option}= names nothing: write --{option}={what.rpartition(' ')[2].upper()}, or "
            f"--{option} alone for {what} that the image names"
        )
    return True if value is None else value


def _choose_image(
    typed: str | None, environment: Mapping[str, str], default_type: str
) -> tuple[ImageReference, str | None]:
    """The image, and the text to show as SHIFTER_IMAGEREQUEST in the container.

    In this order: the command line; SHIFTER=type:tag; the pair SHIFTER_IMAGETYPE and
    SHIFTER_IMAGE, which the batch system sets; SHIFTER_IMAGEREQUEST.
    """
    if typed is not None:
        return _reference(typed, default_type, "--image"), typed
    text = environment.get("SHIFTER", "")
    # People use this name for other things, too: the path of the program, for one.
    if text.partition(":")[0] in IMAGE_TYPES and ":" in text:
        return _reference(text, default_type, "SHIFTER"), text
    requested = _from_environment(environment, "SHIFTER_IMAGEREQUEST")
    image_type = _from_environment(environment, "SHIFTER_IMAGETYPE")
    tag = _from_environment(environment, "SHIFTER_IMAGE")
    if image_type and tag:
        return ImageReference.checked(image_type, tag), requested or None
    if requested:
        return _reference(requested, default_type, "SHIFTER_IMAGEREQUEST"), requested
    raise UsageError("no image specified: write --image=docker:NAME:TAG")


def _reference(text: str, default_type: str, what: str) -> ImageReference:
    if not text:
        raise UsageError(f"{what} is empty: write {what}=docker:NAME:TAG")
    return ImageReference.parse(text, default_type)


def _from_environment(environment: Mapping[str, str], name: str) -> str:
    """A variable as the user set it, else as Slurm carries it into a job."""
    return environment.get(name) or environment.get(f"SLURM_SPANK_{name}") or ""


def _options(arguments: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """The options with their values, in order, and the words that are left.

    Nothing is read after `--help`, so that a mistake further on cannot hide the help.
    """
    given: list[tuple[str, str | None]] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-") or word == "-":
            break
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        read = _long_option if word.startswith("--") else _short_options
        found, used_following = read(word, following)
        given += found
        position += 2 if used_following else 1
        if any(option == "help" for option, _ in found):
            break
    return given, arguments[position:]


def _long_option(word: str, following: str | None) -> tuple[list[tuple[str, str | None]], bool]:
    typed, separator, attached = word[2:].partition("=")
    option, takes = _long_name(typed)
    if separator:
        if takes == _NO_VALUE:
            raise UsageError(f"option '--{typed}' takes no value")
        return [(option, attached)], False
    if takes != _VALUE:
        return [(option, None)], False
    if following is None:
        raise UsageError(f"option '--{typed}' requires an argument")
    return [(option, following)], True


def _long_name(typed: str) -> tuple[str, int]:
    if typed in _LONG_OPTIONS:
        return _LONG_OPTIONS[typed]
    names = [name for name in _LONG_OPTIONS if typed and name.startswith(typed)]
    options = {_LONG_OPTIONS[name] for name in names}
    if len(options) == 1:
        return options.pop()
    if not options:
        raise UsageError(f"unrecognized option '--{typed}'")
    candidates = ", ".join(f"--{name}" for name in names)
    raise UsageError(f"option '--{typed}' is ambiguous: it may be {candidates}")


def _short_options(word: str, following: str | None) -> tuple[list[tuple[str, str | None]], bool]:
    """A bundle such as `-vE`; the first option that takes a value takes the rest as its own."""
    found: list[tuple[str, str | None]] = []
    for index, letter in enumerate(word[1:], start=2):
        option = _SHORT_OPTIONS.get(letter)
        if option is None:
            raise UsageError(f"invalid option '-{letter}'")
        takes = _LONG_OPTIONS[option][1] if option in _LONG_OPTIONS else _NO_VALUE
        rest = word[index:]
        if takes == _NO_VALUE:
            found.append((option, None))
            if option == "help":
                break
        elif rest or takes == _ATTACHED_VALUE:
            return [*found, (option, rest or None)], False
        elif following is None:
            raise UsageError(f"option '-{letter}' requires an argument")
        else:
            return [*found, (option, following)], True
    return found, False
