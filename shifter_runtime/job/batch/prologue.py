# SPDX-License-Identifier: BSD-3-Clause
"""From `shifter-prologue …` to the container that a job asks for, where its launches find it.

A batch system takes a node, or a queue, out of service when its prologue fails. No job can do that
here: unless the site wants otherwise, a job whose container could not be prepared starts all the
same, and each of its launches builds its own, or says what is wrong where its user reads it.
"""

from __future__ import annotations

import os

from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import identity, lookup, node, trust
from shifter_runtime import request as requests
from shifter_runtime.errors import SetupError
from shifter_runtime.job import account, setup_root, unsetup_root
from shifter_runtime.job.batch import child, machine_file, options, schedulers
from shifter_runtime.job.caller import (
    answers_itself,
    require_root,
    say,
    take_known_surroundings,
    words_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.job.batch.options import Options

_PROGRAM = "shifter-prologue"
_ALREADY_PREPARED = 3  # how setupRoot ends then


def main(config_path: str, words: list[str]) -> NoReturn:
    """Prepare the container of one job; the exit status is what the site wants it to be."""
    chosen = options.Options()
    environment = dict(os.environ)
    try:
        options.parse(words, chosen)
        run(config_path, chosen, environment)
        status = 0
    except (ShifterError, OSError) as error:
        say(_PROGRAM, options.shortened(words_of(error)))
        status = chosen.fail_status
    except Exception as error:
        say(_PROGRAM, "\n".join(defects.lines(error, environment)))
        status = chosen.fail_status
    os._exit(status)


def run(config_path: str, chosen: Options, environment: dict[str, str]) -> None:
    """Find out whose job it is and what it asks for, and prepare that."""
    if answers_itself(_PROGRAM, chosen, options.PROLOGUE_USAGE):
        return
    require_root()
    take_known_surroundings()
    child.keep_standard_descriptors()
    job = schedulers.job_of(chosen, environment)
    schedulers.complete(chosen, environment)
    config = configs.parse(trust.read(config_path), config_path)
    request = _request(chosen, config)
    if request is None:
        return

    def prepare() -> None:
        _prepare(config_path, config, job, chosen, request)

    status = child.run(prepare, chosen.timeout)
    if status == _ALREADY_PREPARED:  # a job that starts again, whose end nobody saw
        _take_down(config_path, job, chosen)
        status = child.run(prepare, chosen.timeout)
    if status != 0:  # what may be left of it, the epilogue takes down
        late = f" within {chosen.timeout} seconds" if status is None else ""
        raise SetupError(
            f"the container of job {job} ({request.reference}) could not be prepared on "
            f"{os.uname().nodename}{late}: each launch there builds its own"
        )


def _request(chosen: Options, config: RuntimeConfig) -> requests.Request | None:
    """What a launch in the job would ask for, if it would ask for anything."""
    words = [f"--volume={volume}" for volume in chosen.volumes]
    words += [
        f"--{name}={chosen.texts[name]}" for name in ("image", "module") if name in chosen.texts
    ]
    image, variables, default_type = (
        chosen.texts.get("image"),
        chosen.variables,
        config.default_image_type,
    )
    if requests.choose_image(image, variables, default_type) is None:
        return None
    return requests.parse(
        words, variables, default_type=default_type, allow_local=config.allow_local_chroot
    )


def _prepare(
    config_path: str, config: RuntimeConfig, job: str, chosen: Options, request: requests.Request
) -> NoReturn:
    """In a process of its own: look the image up as the user, and go on as setupRoot."""
    try:
        user = account.find(
            chosen.texts.get("user"),
            _number(chosen, "uid"),
            _number(chosen, "gid"),
            node.Names(config),
        )
        image_id = lookup.find(request.reference, user, config, lambda text: say(_PROGRAM, text))
        words = [*_words(job, chosen, request, user), *_nodes(chosen, user)]
    except (ShifterError, OSError) as error:
        say(_PROGRAM, options.shortened(str(error)))
        os._exit(1)
    image_type = "local" if request.reference.image_type == "local" else "id"
    setup_root.main(config_path, [*words, "--", image_type, image_id])


def _words(job: str, chosen: Options, request: requests.Request, user: Identity) -> list[str]:
    words = [f"--job={job}", "--show", f"--uid={user.uid}", f"--gid={user.gid}"]
    if request.reference.image_type in ("docker", "custom"):
        words.append(f"--request={request.reference}")  # launches by that name ask no gateway
    words += [f"--volume={volume}" for volume in request.volumes]
    if request.modules is not None:
        words.append(f"--module={','.join(request.modules)}")
    key = chosen.text("ssh-key")
    if "sshd" in chosen.flags:
        key = key or chosen.variables.get("SHIFTER_SSH_PUBKEY", "")
    return [*words, f"--ssh-key={key}"] if key else words


def _nodes(chosen: Options, user: Identity) -> list[str]:
    """The nodes, where known. A file of them is read as the user, who may have named it."""
    spec = chosen.text("nodes")
    if not spec and chosen.text("exec-host"):
        spec = machine_file.of_slots(chosen.text("exec-host"))
    elif not spec and chosen.text("node-file"):
        spec = machine_file.of_lines(_read_as(user, chosen.text("node-file")))
    return [f"--nodes={spec}"] if spec else []


def _read_as(user: Identity, path: str) -> str:
    try:
        with identity.AsUser(user):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SetupError(
            f"cannot read the list of nodes {path!r} as user {user.name}: {error.strerror}"
        ) from error
    try:
        return trust.read_all(fd, path).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def _take_down(config_path: str, job: str, chosen: Options) -> None:
    child.run(lambda: unsetup_root.main(config_path, [f"--job={job}"]), chosen.timeout)


def _number(chosen: Options, name: str) -> int | None:
    return options.number(name, chosen.texts[name], 1, 2**32 - 2) if name in chosen.texts else None
