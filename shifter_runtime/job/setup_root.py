# SPDX-License-Identifier: BSD-3-Clause
"""From `setupRoot …`, which a batch system's prolog runs, to a container that launches join."""

from __future__ import annotations

from shifter_common.metadata import json_string
from shifter_common.reference import ImageReference
from shifter_runtime import config as configs
from shifter_runtime import config_keys, lookup, node, trust, udi_config
from shifter_runtime import environment as environments
from shifter_runtime import image as images
from shifter_runtime import modules as module_selection
from shifter_runtime import plan as plans
from shifter_runtime import request as requests
from shifter_runtime.errors import SetupError
from shifter_runtime.job import account, hosts, options, preparing, ssh_plan
from shifter_runtime.job.caller import (
    answers_itself,
    end,
    require_root,
    say,
    show,
    take_known_surroundings,
)
from shifter_runtime.job.joining import NODE, called
from shifter_runtime.operations.closed_root import CloseRoot
from shifter_runtime.operations.root import SealRoot
from shifter_runtime.operations.tree import WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.job.options import Options
    from shifter_runtime.operations import Operation

_PROGRAM = "setupRoot"
_ALREADY_PREPARED = 3


def main(config_path: str, words: list[str]) -> NoReturn:
    """Prepare one container; where that fails, the node is as it was."""

    def run_all() -> None:
        run(config_path, words)

    end(_PROGRAM, run_all, {preparing.AlreadyPreparedError: _ALREADY_PREPARED})


def run(config_path: str, words: list[str]) -> None:
    """The steps of a launch, up to the point where it would become the user."""
    chosen = options.parse_setup(words)
    if answers_itself(_PROGRAM, chosen, options.SETUP_USAGE):
        return
    require_root()
    take_known_surroundings()
    config = configs.parse(trust.read(config_path), config_path)
    if chosen.verbose:
        _show_configuration(config, as_json=chosen.json)
    request = _request(chosen, config)
    names = node.Names(config)
    user = account.find(chosen.user, chosen.uid, chosen.gid, names)
    modules = module_selection.select(request.modules, config)
    image_id = lookup.find(request.reference, user, config, _say)
    image = images.open_image(image_id, config, user)
    image.require_readable_by(user)
    plan = plans.make(
        image, request, config, user,
        node.read_files(config),
        [_imported(name, names) for name in config.users_to_import],
        modules,
        hosts.hostsfile(chosen.nodes),
    )  # fmt: skip
    if chosen.ssh_key:
        variables = environments.make(
            request, image.image_id, image.metadata, config, [each.variables for each in modules]
        )
        _add_last(plan, ssh_plan.operations(chosen.ssh_key, user, config, variables))
    if chosen.job != NODE:
        _add_last(plan, [WriteFile("/var/shifterSlurm.jobid", chosen.job.encode())])
    closing = None
    if chosen.show or chosen.job == NODE:
        closing = CloseRoot(user, required=chosen.job == NODE)
        _add_last(plan, [closing])
    problem = hosts.problem_of(chosen.nodes, user, config)
    if problem:
        _say(problem)
    if chosen.dry_run:
        _show_plan(plan, as_json=chosen.json)
        return
    description = udi_config.describe(image, request, user, modules)
    container = preparing.Container(
        chosen.job,
        user,
        description=description,
        metadata=image.metadata,
        request=chosen.request,
        closing=closing,
        has_sshd=bool(chosen.ssh_key),
    )
    preparing.prepare(container, plan, config)
    if chosen.verbose:
        _say(
            f"the container for {called(chosen.job)} is prepared for user {user.name}, "
            f"of {image.path}, in {len(plan.operations)} steps"
        )


def _add_last(plan: plans.Plan, operations: list[Operation]) -> None:
    """Add to what is done to the container, before its root is sealed."""
    end = len(plan.operations) - isinstance(plan.operations[-1], SealRoot)
    plan.operations[end:end] = operations


def _request(chosen: Options, config: RuntimeConfig) -> requests.Request:
    """What a user would have to ask for, to join what is prepared."""
    request = requests.Request({})
    request.reference = ImageReference.checked(chosen.image_type, chosen.image_id)
    if chosen.image_type == "local" and not config.allow_local_chroot:
        raise SetupError("this site does not allow directories as images (allowLocalChroot)")
    request.volumes = chosen.volumes
    request.modules = chosen.modules
    return request


def _imported(name: str, names: node.Names) -> node.User:
    found = names.user(name)
    if found is None:
        raise SetupError(f"usersToImport names {name!r}, who is unknown on this node")
    return found


def _show_configuration(config: RuntimeConfig, *, as_json: bool) -> None:
    values = {key: _text(getattr(config, entry[0])) for key, entry in config_keys.KEYS.items()}
    if as_json:
        pairs = ", ".join(
            f"{json_string(key)}: {json_string(text)}" for key, text in values.items()
        )
        show(f"{{{pairs}}}\n")
    else:
        show("".join(f"{key} = {text}\n" for key, text in values.items()))
    for warning in config.warnings:
        _say(warning)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return str(int(value))
    return "" if value is None else str(value)


def _show_plan(plan: plans.Plan, *, as_json: bool) -> None:
    lines = str(plan).split("\n")
    if as_json:
        show(f"[{', '.join(map(json_string, lines))}]\n")
    else:
        show("".join(f"{line}\n" for line in lines))


def _say(text: str) -> None:
    say(_PROGRAM, text)
