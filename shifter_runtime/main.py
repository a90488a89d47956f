# SPDX-License-Identifier: BSD-3-Clause
"""From `shifter …` to the user's program, step by step. Started by the launcher, as root."""

from __future__ import annotations

import os

from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import environment as environments
from shifter_runtime import identity, lookup, namespace, node, process, trust, udi_config, usage
from shifter_runtime import image as images
from shifter_runtime import modules as module_selection
from shifter_runtime import plan as plans
from shifter_runtime import request as requests
from shifter_runtime.errors import ProgramError, SetupError, UsageError
from shifter_runtime.job import joining

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.request import Request

_FAILED = 1
_NO_PROGRAM = 127  # what a shell answers, too
_INTERRUPTED = 130  # 128 + SIGINT


def main(arguments: list[str]) -> NoReturn:
    """Run what the launcher passes: udiRoot.conf, environment, ignored signals, user's words."""
    config_path, environment, ignored, *words = arguments
    try:
        status = run(config_path, words, _read_environment(int(environment)), ignored)
    except UsageError as error:
        _write(1, usage.SHORT)
        status = _fail(error, _FAILED)
    except ProgramError as error:
        status = _fail(error, _NO_PROGRAM)
    except ShifterError as error:
        status = _fail(error, _FAILED)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except Exception as error:  # a defect of ours, which no user should have to read a trace of
        _say(f"internal error, please report it: {type(error).__name__}: {error}")
        status = _FAILED
    os._exit(status)


def run(config_path: str, words: list[str], variables: dict[str, str], ignored: str) -> int:
    """Everything in order; the status to end with, where no program is to be run."""
    config = configs.parse(trust.read(config_path), config_path)
    request = requests.parse(
        words,
        variables,
        default_type=config.default_image_type,
        allow_local=config.allow_local_chroot,
    )
    if request.help:
        _write(1, usage.LONG)
        return 0
    names = node.Names(config)
    user = identity.caller(names)
    identity.hide()
    modules = module_selection.select(request.modules, config)
    _require_supported(request, config)
    _say_what_is_odd(request, config)
    say = _say if request.verbose else _say_nothing
    image_id = lookup.find(request.reference, user, config, say)
    image = images.open_image(image_id, config)
    image.require_readable_by(user)
    command = process.choose_command(request, image.metadata)
    directory = process.choose_directory(request, image.metadata)
    prepared = None
    if request.is_ordinary and not request.dry_run:
        description = udi_config.describe(image, request, user, modules)
        prepared = joining.find(description, user, config, request.environment)
    umask = os.umask(0o022)
    if prepared is not None:
        prepared.enter()
    else:
        imported = [_imported(name, names) for name in config.users_to_import]
        files = node.read_files(config)
        plan = plans.make(image, request, config, user, files, imported, modules)
        if request.dry_run:
            _write(1, f"{plan}\n")
            return 0
        namespace.enter(plan)
    identity.become(user)
    os.umask(umask)
    problem = process.change_directory(directory)
    if problem:
        _say(problem)
    environment = environments.make(
        request,
        image.image_id,
        image.metadata,
        config,
        modules=[module.variables for module in modules],
        env_file=[pair for path in request.env_file for pair in _read_env_file(path)],
    )
    return process.replace(command or process.shell(environment), environment, ignored=ignored)


def _require_supported(request: Request, config: RuntimeConfig) -> None:
    """Refuse plainly what this release lacks, rather than to run something else than asked for."""
    if request.reference.image_type == "local":
        raise SetupError("images of type local are not part of this release: use a pulled image")
    for key, hook in (
        ("sitePreMountHook", config.site_pre_mount_hook),
        ("sitePostMountHook", config.site_post_mount_hook),
    ):
        if hook:
            raise SetupError(
                f"{config.path}: {key} is not part of this release, and a container without what "
                f"{hook} does may not be what the site means: ask the administrator to remove it"
            )


def _say_what_is_odd(request: Request, config: RuntimeConfig) -> None:
    if not request.verbose:
        return
    for warning in config.warnings:
        _say(warning)


def _imported(name: str, names: node.Names) -> node.User:
    account = names.user(name)
    if account is None:
        raise SetupError(f"usersToImport names {name!r}, who is unknown on this node")
    return account


def _read_environment(fd: int) -> dict[str, str]:
    """The caller's variables, which the launcher put into a memory file, each ended by a NUL."""
    size = os.lseek(fd, 0, os.SEEK_END)
    content = os.pread(fd, size, 0)
    os.close(fd)
    pairs = (os.fsdecode(entry).partition("=") for entry in content.split(b"\0"))
    return {name: value for name, separator, value in pairs if name and separator}


def _read_env_file(path: str) -> list[tuple[str, str]]:
    """The variables in a file of the user's, read as the user and inside the container."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(f"cannot open env-file {path!r}: {error.strerror}") from error
    try:
        text = trust.read_all(fd, f"env-file {path!r}").decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)
    return environments.parse_env_file(text, path)


def _fail(error: ShifterError, status: int) -> int:
    _say(str(error))
    return status


def _say(text: str) -> None:
    _write(2, f"shifter: {text}\n")


def _say_nothing(_text: str) -> None:
    pass


def _write(fd: int, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    try:
        while content:
            content = content[os.write(fd, content) :]
    except OSError:
        os._exit(_FAILED)  # nobody listens
