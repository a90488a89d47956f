# SPDX-License-Identifier: BSD-3-Clause
"""What the user asks for: `shifter` options and arguments, and the variables that stand for them.

Options are read as getopt_long(3) reads them with POSIXLY_CORRECT: bundles of short options,
attached values, unambiguous beginnings of long names, an end at the first word that is no option.
What is set by an option that few launches have, `rare_options` understands. Arguments and
environment may hold any bytes; what is not UTF-8 is kept as surrogate escapes.
"""

from __future__ import annotations

from shifter_common.reference import IMAGE_TYPES, ImageReference
from shifter_runtime import volumes
from shifter_runtime.errors import NotPermittedError, SetupError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NO_VALUE, VALUE, ATTACHED_VALUE = range(3)
_LONGEST_NAME = 32
_LONGEST_VALUE = 1 << 16  # characters; not of --env: the kernel says how long a variable may be

# Long name -> the option it stands for, and whether that takes a value. First the original's,
# whose beginnings stay unambiguous whatever is added.
LONG_OPTIONS = {
    "help": ("help", NO_VALUE),
    "verbose": ("verbose", NO_VALUE),
    "image": ("image", VALUE),
    "volume": ("volume", VALUE),
    "module": ("module", VALUE),
    "modules": ("module", VALUE),
    "env": ("env", VALUE),
    "env-file": ("env-file", VALUE),
    "clearenv": ("clearenv", NO_VALUE),
    "workdir": ("workdir", ATTACHED_VALUE),
    "entrypoint": ("entrypoint", ATTACHED_VALUE),
    "entry": ("entrypoint", ATTACHED_VALUE),
}
ADDED_OPTIONS = {
    "dry-run": ("dry-run", NO_VALUE),
    "writable": ("writable", ATTACHED_VALUE),
    "mount": ("mount", VALUE),
    "no-mount": ("no-mount", VALUE),
    "unsetenv": ("unsetenv", VALUE),
    "timing": ("timing", NO_VALUE),
    "json": ("json", NO_VALUE),
    "interactive": ("ignored", NO_VALUE),
    "tty": ("ignored", NO_VALUE),
    "rm": ("ignored", NO_VALUE),
    "version": ("version", NO_VALUE),
}
SHORT_OPTIONS = {
    "h": ("help", NO_VALUE),
    "v": ("verbose", NO_VALUE),
    "i": ("image", VALUE),
    "V": ("volume", VALUE),
    "m": ("module", VALUE),
    "e": ("env", VALUE),
    "E": ("clearenv", NO_VALUE),
    "w": ("workdir", ATTACHED_VALUE),
    "n": ("ignored", NO_VALUE),  # once "no gateway"
    "t": ("ignored", NO_VALUE),
}
_QUESTIONS = ("help", "version")  # about shifter itself
# As people are used to write it for docker. Elsewhere, -i takes a value.
_WORDS_OF_DOCKER = ("-it", "-ti")


class Request:
    """One invocation of `shifter`, understood but not yet granted.

    `entrypoint` and `workdir` are None where not asked for, True for what the image says, else the
    text that was given. `modules` is None where the site's defaults apply. With `help` or
    `version`, nothing else is set.
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
        "version",
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
        self.version = False
        self.json = False  # what is shown is shown as JSON
        self.timing = False  # say on stderr how long each step took
        self.unset: list[str] = []  # names of variables, after all that set them
        self.no_mounts: list[str] = []  # of the site's mounts, left out; targets, once resolved
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
    rare = []
    for option, value in given:
        if value is not None and len(value) > _LONGEST_VALUE and option != "env":
            raise UsageError(_too_long(f"--{option}"))
        if option in _QUESTIONS:
            setattr(request, option, True)
            return request
        if option == "image":
            typed_image = value
        elif option == "volume":
            typed_volumes.append(value or "")
        elif option == "module":
            typed_modules = value
        elif not _set(request, option, value):
            rare.append((option, value))
    chosen = choose_image(typed_image, environment, default_type)
    if chosen is None:
        from shifter_runtime import habits  # here: for those who are used to other programs

        raise UsageError(f"no image specified: {habits.without_image(request.command)}")
    request.reference, request.requested_text = chosen
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
    if rare:
        from shifter_runtime import rare_options  # here: few launches have any

        rare_options.apply(request, rare)
    return request


def parse_variable(text: str, what: str) -> tuple[str, str]:
    """Name and value of `NAME=value`; the value may be empty."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise UsageError(f"{what} {text!r} is not of the form NAME=value")
    return name, value


def _set(request: Request, option: str, value: str | None) -> bool:
    """Keep what an option says; whether it is one of those that are kept here."""
    if option == "env":
        request.env_overrides.append(parse_variable(value or "", "--env"))
    elif option == "env-file":
        if not value:
            raise UsageError("--env-file names nothing: write --env-file=FILE")
        request.env_file.append(value)
    elif option == "clearenv":
        request.clear_environment = True
    elif option == "verbose":
        request.verbose = True
    elif option == "workdir":
        request.workdir = _attached(option, value, "a directory")
    elif option == "entrypoint":
        request.entrypoint = _attached(option, value, "a program")
    else:
        return option == "ignored"
    return True


def _attached(option: str, value: str | None, what: str) -> str | bool:
    if value == "":
        raise UsageError(
            f"--{option}= names nothing: write --{option}={what.rpartition(' ')[2].upper()}, or "
            f"--{option} alone for {what} that the image names"
        )
    return True if value is None else value


def choose_image(
    typed: str | None, environment: Mapping[str, str], default_type: str
) -> tuple[ImageReference, str | None] | None:
    """The image, and the text to show as SHIFTER_IMAGEREQUEST in the container; or None.

    In this order: the command line; SHIFTER=type:tag; the pair SHIFTER_IMAGETYPE and
    SHIFTER_IMAGE, which the batch system sets; SHIFTER_IMAGEREQUEST.
    """
    if typed is not None:
        return _reference(typed, default_type, "--image"), typed
    if _from_environment(environment, "SHIFTER_REFUSED"):
        # Slurm starts such a job all the same where plugstack.conf says `optional`.
        raise SetupError(
            "the image, volumes or modules of this job or step were refused when it was submitted: "
            "submit it again, or name an image with --image"
        )
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
    return None


def _reference(text: str, default_type: str, what: str) -> ImageReference:
    if not text:
        raise UsageError(f"{what} is empty: write {what}=docker:NAME:TAG")
    return ImageReference.parse(text, default_type)


def _from_environment(environment: Mapping[str, str], name: str) -> str:
    """A variable as the user set it, else as Slurm carries it into a job."""
    text = environment.get(name) or environment.get(f"SLURM_SPANK_{name}") or ""
    if len(text) > _LONGEST_VALUE:
        raise UsageError(_too_long(name))
    return text


def _too_long(what: str) -> str:
    return f"the value of {what} is too long: at most {_LONGEST_VALUE} characters are read"


def _options(arguments: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """The options with their values, in order, and the words that are left.

    Nothing is read after a question, so that a mistake further on cannot hide the answer.
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
        if word in _WORDS_OF_DOCKER:
            position += 1
            continue
        read = _long_option if word.startswith("--") else _short_options
        found, used_following = read(word, following)
        given += found
        position += 2 if used_following else 1
        if any(option in _QUESTIONS for option, _ in found):
            break
    return given, arguments[position:]


def _long_option(word: str, following: str | None) -> tuple[list[tuple[str, str | None]], bool]:
    typed, separator, attached = word[2:].partition("=")
    option, takes = _long_name(typed)
    if separator:
        if takes == NO_VALUE:
            raise UsageError(f"option '--{typed}' takes no value")
        return [(option, attached)], False
    if takes != VALUE:
        return [(option, None)], False
    if following is None:
        raise UsageError(f"option '--{typed}' requires an argument")
    return [(option, following)], True


def _long_name(typed: str) -> tuple[str, int]:
    for known in (LONG_OPTIONS, ADDED_OPTIONS):
        if typed in known:
            return known[typed]
    for known in (LONG_OPTIONS, ADDED_OPTIONS):
        names = [name for name in known if typed and name.startswith(typed)]
        options = {known[name] for name in names}
        if len(options) == 1:
            return options.pop()
        if options:
            candidates = ", ".join(f"--{name}" for name in names)
            raise UsageError(f"option '--{typed}' is ambiguous: it may be {candidates}")
    raise UsageError(_unrecognized(typed))


def _unrecognized(typed: str) -> str:
    from shifter_runtime import habits  # here: few people mistype
    from shifter_runtime.spelling import nearest_to

    habit = habits.of_option(typed) if len(typed) > 1 else None
    if habit:
        return f"unrecognized option '--{typed}': {habit}"
    shown = typed if len(typed) <= _LONGEST_NAME else f"{typed[:_LONGEST_NAME]}…"
    nearest = nearest_to(shown, (*LONG_OPTIONS, *ADDED_OPTIONS)) if len(shown) > 2 else None
    hint = f"did you mean '--{nearest}'?" if nearest else "see shifter --help"
    return f"unrecognized option '--{shown}': {hint}"


def _short_options(word: str, following: str | None) -> tuple[list[tuple[str, str | None]], bool]:
    """A bundle such as `-vE`; the first option that takes a value takes the rest as its own."""
    found: list[tuple[str, str | None]] = []
    for index, letter in enumerate(word[1:], start=2):
        if letter not in SHORT_OPTIONS:
            from shifter_runtime import habits  # here: few people mistype

            hint = habits.of_option(letter) or "see shifter --help"
            raise UsageError(f"invalid option '-{letter}': {hint}")
        option, takes = SHORT_OPTIONS[letter]
        rest = word[index:]
        if takes == NO_VALUE:
            found.append((option, None))
            if option == "help":
                break
        elif rest or takes == ATTACHED_VALUE:
            return [*found, (option, rest or None)], False
        elif following is None:
            raise UsageError(f"option '-{letter}' requires an argument")
        else:
            return [*found, (option, following)], True
    return found, False
