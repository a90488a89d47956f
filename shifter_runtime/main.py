# SPDX-License-Identifier: BSD-3-Clause
"""From `shifter …` to the user's program, step by step. Started by the launcher, as root."""

from __future__ import annotations

import os
import time

from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_runtime import VERSION, identity, lookup, node, process, trust, udi_config
from shifter_runtime import config as configs
from shifter_runtime import environment as environments
from shifter_runtime import image as images
from shifter_runtime import request as requests
from shifter_runtime.errors import MissingImageError, ProgramError, SetupError, UsageError
from shifter_runtime.job import joining

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.modules import Module
    from shifter_runtime.plan import Plan
    from shifter_runtime.request import Request
    from shifter_runtime.script import Script

_FAILED = 1
_NO_PROGRAM = 127  # what a shell answers, too


def main(arguments: list[str]) -> NoReturn:
    """Run what the launcher passes: udiRoot.conf, environment, state of signals, user's words."""
    config_path, environment, ignored, blocked, *words = arguments
    process.let_interrupts_through(ignored=ignored, blocked=blocked)
    variables: dict[str, str] = {}
    try:
        variables = _read_environment(int(environment))
        status = run(config_path, words, variables, ignored)
    except UsageError as error:
        _show_usage()
        status = _fail(error, _FAILED)
    except ProgramError as error:
        status = _fail(error, _NO_PROGRAM)
    except ShifterError as error:
        status = _fail(error, _FAILED)
    except MemoryError:
        _say("out of memory: the limits of this process, or of its job, leave too little to start")
        status = _FAILED
    except Exception as error:
        _say("\n".join(defects.lines(error, variables)))
        status = defects.STATUS
    os._exit(status)


def run(config_path: str, words: list[str], variables: dict[str, str], ignored: str) -> int:
    """Everything in order; the status to end with, where no program is to be run."""
    steps: list[tuple[str, int]] = []
    step = _clock(steps)
    step("start Python and load the runtime")
    try:
        config = configs.parse(trust.read(config_path), config_path)
    except SetupError:
        if _asks_about_shifter(words):
            return 0  # what shifter is can be told on any node
        raise
    step("read udiRoot.conf")
    if words[:1] == ["doctor"]:
        from shifter_runtime import doctor  # here: few launches ask for it

        doctor.call(words[1:], config, variables, ignored)
    script = _script(words)
    request = _request(script.words if script else words, variables, config)
    if _answers_itself(request):
        return 0
    step("understand the request")
    names = node.Names(config)
    user = identity.caller(names)
    identity.hide()
    step("find out who calls")
    modules = _modules(request, config)
    _say_what_is_odd(request, config)
    say = _say if request.verbose else _say_nothing
    kept = joining.records(user, request.environment)
    step("look for a container that was prepared for the job")
    pinned = joining.pinned(request.reference, kept)
    image_id = _pinned(pinned, say) or lookup.find(request.reference, user, config, say)
    step("take the image that the job was prepared with" if pinned else "look up the image")
    image = _open_image(image_id, user, request, kept, config)
    image.require_readable_by(user)
    if image.metadata.unknown_keys:
        say(f"ignored in the image's metadata: {', '.join(image.metadata.unknown_keys)}")
    step("open the image")
    command = process.choose_command(request, image.metadata)
    directory = process.choose_directory(request, image.metadata)
    description = udi_config.describe(image, request, user, modules)
    prepared = joining.find(description, kept, config) if request.is_ordinary else None
    if prepared is None:
        _say_what_is_not_joined(description, request, user, config)
        image = _opened(image, user, config)
        say(f"image {request.reference} is {image.path}")
    elif request.dry_run:
        _say(f"this launch joins {prepared}; without that, it would do this:")
    else:
        say(f"joining {prepared}")
    umask = os.umask(0o022)
    if prepared is not None and not request.dry_run:
        prepared.enter()
    else:
        plan = _plan(image, request, config, user, names, modules)
        step("read the node's files and plan the container")
        if request.dry_run:
            _show_plan(plan, request, image, config, command, directory, modules)
            _tell_timing(request, steps)
            return 0
        say(f"making a container in {len(plan.operations)} steps, which --dry-run lists")
        _build(plan, user, request, step)
    step("enter the container")
    identity.become(user)
    os.umask(umask)
    step("give up every privilege")
    problem = process.change_directory(directory)
    if problem:
        _say(problem)
    environment = _environment(request, image, config, modules)
    command = command or process.shell(environment)
    if script:
        command = script.hand_on(command)
    step("make the environment")
    for module in modules:
        if module.user_hook:
            _run_user_hook(module, config)
            step(f"run the userhook of module {module.name}")
    say(f"running {command[0]}")
    _tell_timing(request, steps)
    return process.replace(command, environment, ignored=ignored)


def _clock(steps: list[tuple[str, int]]) -> Callable[[str], None]:
    """What notes in `steps` that a step is done, and when: nanoseconds since the launcher began.

    Nobody tells when that was; but until now, little was waited for, so the time that the
    processor worked for this process will do.
    """
    began = time.monotonic_ns() - time.process_time_ns()

    def step(name: str) -> None:
        steps.append((name, time.monotonic_ns() - began))

    return step


def _plan(
    image: images.Image,
    request: Request,
    config: RuntimeConfig,
    user: identity.Identity,
    names: node.Names,
    modules: list[Module],
) -> Plan:
    from shifter_runtime import plan as plans  # here: a launch that joins builds nothing

    imported = [_imported(name, names) for name in config.users_to_import]
    files = node.read_files(config)
    return plans.make(image, request, config, user, files, imported, modules)


def _build(
    plan: Plan, user: identity.Identity, request: Request, step: Callable[[str], None]
) -> None:
    from shifter_runtime import namespace  # here: a launch that joins builds nothing

    if request.timing:
        _watch(plan, step)
    namespace.enter(plan, user)


def _environment(
    request: Request, image: images.Image, config: RuntimeConfig, modules: list[Module]
) -> dict[str, str]:
    """The program's variables; to be made in the container, where env-files are."""
    return environments.make(
        request,
        image.image_id,
        image.metadata,
        config,
        modules=[module.variables for module in modules],
        env_file=[pair for path in request.env_file for pair in environments.read_env_file(path)],
    )


def _script(words: list[str]) -> Script | None:
    """The script that names shifter in its first line, where it takes a look to understand that.

    Without options in that line, `words` are a command line like any other, but for a batch
    script: Slurm calls its copy of that slurm_script, and keeps it where containers do not see it.
    """
    if len(words) < 2:
        return None
    has_options = words[0].startswith("-") and (" " in words[0] or "\t" in words[0])
    if not has_options and not words[1].endswith("/slurm_script"):
        return None
    from shifter_runtime import script  # here: few launches come from a script of this kind

    return script.find(words)


def _request(words: list[str], variables: dict[str, str], config: RuntimeConfig) -> Request:
    request = requests.parse(
        words,
        variables,
        default_type=config.default_image_type,
        allow_local=config.allow_local_chroot,
    )
    if request.timing:
        # Not later, when the image would be asked for it.
        from shifter_runtime import report  # noqa: F401
    if request.no_mounts:
        from shifter_runtime import rare_options  # here: few launches leave anything out

        request.no_mounts = rare_options.targets_of(request.no_mounts, config)
    return request


def _modules(request: Request, config: RuntimeConfig) -> list[Module]:
    if not (config.default_modules if request.modules is None else request.modules):
        return []
    # Here, because most launches have none; but not later, when the image would be asked for it.
    from shifter_runtime import hooks, modules  # noqa: F401

    return modules.select(request.modules, config)


def _run_user_hook(module: Module, config: RuntimeConfig) -> None:
    from shifter_runtime import hooks  # here: few modules have one

    hooks.run_as_user(f"module_{module.name}_userhook", module.user_hook, config.hook_timeout)


def _pinned(pinned: tuple[str, str] | None, say: Callable[[str], None]) -> str | None:
    if pinned is None:
        return None
    image_id, name = pinned
    say(f"taking image {image_id}, which was looked up for {joining.called(name)}")
    return image_id


def _open_image(
    image_id: str,
    user: identity.Identity,
    request: Request,
    kept: joining.Kept,
    config: RuntimeConfig,
) -> images.Image:
    """What a container was prepared of serves on, where the gateway has expired it since.

    If it was everybody's, its files are not even opened: all ranks of a job on all nodes would open
    the same ones, on a shared filesystem. Access lists are read anew by each launch.
    """
    recalled = None
    if kept and request.is_ordinary and not request.dry_run and not image_id.startswith("/"):
        recalled = joining.recall(image_id, kept)
        if recalled is not None and recalled.is_public:
            return recalled
    try:
        return images.open_image(image_id, config, user)
    except MissingImageError:
        recalled = recalled or joining.recall(image_id, kept)
        if recalled is None:
            raise
        return recalled


def _opened(image: images.Image, user: identity.Identity, config: RuntimeConfig) -> images.Image:
    """The image as it is now, where it was only recalled and there is nothing to be joined."""
    if image.fd >= 0:
        return image
    try:
        found = images.open_image(image.image_id, config, user)
    except MissingImageError as error:
        raise joining.missing(image) from error
    found.require_readable_by(user)
    return found


def _say_what_is_odd(request: Request, config: RuntimeConfig) -> None:
    if not request.verbose:
        return
    for warning in config.warnings:
        _say(warning)


def _say_what_is_not_joined(
    description: str, request: Request, user: identity.Identity, config: RuntimeConfig
) -> None:
    if not request.verbose:
        return
    from shifter_runtime.job import differences  # here: for those who ask

    for line in differences.of(description, request, user, config):
        _say(line)


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


# What few launches show is made by modules that the others do not load.


def _asks_about_shifter(words: list[str]) -> bool:
    """Whether help or version was asked for, which is then shown."""
    try:
        return _answers_itself(requests.parse(words, {}))
    except ShifterError:
        return False


def _answers_itself(request: Request) -> bool:
    if request.help:
        _show_usage(complete=True)
    elif request.version:
        _write(1, f"shifter {VERSION}\n")
    return request.help or request.version


def _show_usage(*, complete: bool = False) -> None:
    from shifter_runtime import usage

    _write(1, usage.LONG if complete else usage.SHORT)


def _show_plan(
    plan: Plan,
    request: Request,
    image: images.Image,
    config: RuntimeConfig,
    command: list[str],
    directory: str,
    modules: list[Module],
) -> None:
    from shifter_runtime import report

    variables = environments.make(
        request, image.image_id, image.metadata, config, [module.variables for module in modules]
    )
    hooks = [module.user_hook for module in modules if module.user_hook]
    text = report.dry_run(plan, request, image.image_id, command, directory, variables, hooks)
    _write(1, text)


def _watch(plan: Plan, step: Callable[[str], None]) -> None:
    from shifter_runtime import report

    report.watch(plan, step)


def _tell_timing(request: Request, steps: list[tuple[str, int]]) -> None:
    if request.timing:
        from shifter_runtime import report

        _write(2, report.timing(steps, as_json=request.json))


def _fail(error: ShifterError, status: int) -> int:
    _say(str(error))
    return status


def _say(text: str) -> None:
    _write(2, f"shifter: {text}\n")


def _say_nothing(_text: str) -> None:
    pass


def _write(fd: int, text: str) -> None:
    try:
        identity.write(fd, text.encode("utf-8", "surrogateescape"))
    except OSError:
        os._exit(_FAILED)  # nobody listens
