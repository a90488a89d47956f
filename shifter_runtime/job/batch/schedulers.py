# SPDX-License-Identifier: BSD-3-Clause
"""What each batch system tells about a job that starts or ends, and where.

Who the user is must come from the batch system itself, never from the environment, which is the
user's: whoever is taken for somebody else could have an sshd started as that user. LSF alone has no
other place, so that there is no sshd with it.
"""

from __future__ import annotations

from shifter_runtime.errors import SetupError, UsageError
from shifter_runtime.job import joining
from shifter_runtime.job.batch import child, machine_file
from shifter_runtime.job.batch.options import VARIABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shifter_runtime.job.batch.options import Options


def job_of(chosen: Options, environment: Mapping[str, str]) -> str:
    """The name of the job on this node."""
    scheduler = chosen.text("scheduler")
    job, task = chosen.text("job"), chosen.text("task")
    if scheduler == "torque" and not job:
        job = chosen.arguments[0] if chosen.arguments else ""
    elif scheduler == "lsf":
        job = job or environment.get("LSB_JOBID", "")
        task = task or environment.get("LSB_JOBINDEX", "")
    if not job:
        raise UsageError("a job is needed: give --job")
    name = joining.element(job, task)
    if not joining.is_job_id(name):
        raise UsageError(f"{name[:80]!r} cannot be the name of a job")
    return name


def complete(chosen: Options, environment: Mapping[str, str]) -> None:
    """Add what the batch system tells to what the options say, which go before."""
    scheduler = chosen.text("scheduler")
    if scheduler == "torque":
        _ask_torque(chosen)
    elif scheduler == "lsf":
        if "sshd" in chosen.flags or chosen.text("ssh-key"):
            raise UsageError("there is no sshd with lsf, which does not prove whose job it is")
        _add(chosen, "user", environment.get("LSFUSER", ""))
        _add(chosen, "nodes", machine_file.of_pairs(environment.get("LSB_MCPU_HOSTS", "")))
    elif scheduler == "gridengine":
        _add(chosen, "node-file", environment.get("PE_HOSTFILE", ""))
    if scheduler in ("lsf", "gridengine") or "environment" in chosen.flags:
        found = {name: environment[name] for name in VARIABLES if name in environment}
        chosen.variables = found | chosen.variables
    if not chosen.text("user") and not chosen.text("uid"):
        raise UsageError("a user is needed: give --user, --uid or both")


def attributes(text: str) -> dict[str, str]:
    """The attributes of a job as `qstat -f` lists them, folded or not.

    A value with line breaks may look like other attributes. All that is used is the user's own.
    """
    found: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        name, separator, value = line.strip().partition(" = ")
        if line.startswith("    ") and separator and " " not in name:
            last = name
            found.setdefault(name, value)
        elif last and line.startswith("\t"):
            found[last] += line[1:]
        else:
            last = ""
    return found


def variables(text: str) -> dict[str, str]:
    """PBS's list of variables: commas are between them, and may be in them, escaped or not."""
    found: dict[str, str] = {}
    last = ""
    for item in _items(text):
        name, separator, value = item.partition("=")
        if separator:
            last = name
            found[name] = value
        elif last:
            found[last] += f",{item}"
    return found


def _ask_torque(chosen: Options) -> None:
    """Torque's arguments: job, user, group, and more; the rest only its server knows."""
    if len(chosen.arguments) < 2:
        raise UsageError('torque\'s arguments are missing: write -- "$@" at the end')
    job, user = chosen.arguments[:2]
    _add(chosen, "user", user)
    command = [chosen.text("qstat") or "/usr/bin/qstat", "-f", "-1", job]
    status, text = child.output_of(command, chosen.timeout)
    if status != 0:
        raise SetupError(f"{' '.join(command)} failed, so nobody knows what job {job} asks for")
    found = attributes(text)
    _add(chosen, "exec-host", found.get("exec_host", ""))
    chosen.variables = {
        name: value
        for name, value in variables(found.get("Variable_List", "")).items()
        if name in VARIABLES
    } | chosen.variables


def _add(chosen: Options, name: str, value: str) -> None:
    chosen.texts[name] = chosen.text(name) or value


def _items(text: str) -> list[str]:
    """What commas separate; a backslash takes away what the next character means."""
    items = [""]
    is_escaped = False
    for character in text:
        if is_escaped or character not in ",\\":
            items[-1] += character
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        else:
            items.append("")
    return items
