# SPDX-License-Identifier: BSD-3-Clause
"""The nodes of a job, as its hostsfile lists them, and whether this is one of them."""

from __future__ import annotations

import os

from shifter_runtime import identity, process_calls, syscalls
from shifter_runtime.errors import UsageError
from shifter_runtime.job import node_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity

_MOST_TASKS = 1 << 22  # three times 10,000 nodes of 128
_LARGEST_FILE = 1 << 26  # bytes: it is in the memory of each node, as long as the container is

_MOST_ASKED = 64  # names that are looked up
_PATIENCE = 5000  # milliseconds
_NONE_IS_OURS = 1  # how `shifter-admin addresses` ends then
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 1 << 30


def parse(text: str) -> list[tuple[str, int]]:
    """Host names and numbers of tasks of `host1/2 host2/1`; a name may be a list: `n[1-3]/2`."""
    nodes: list[tuple[str, int]] = []
    for word in text.split():
        hosts, _, number = word.partition("/")
        if not hosts or not (number.isascii() and number.isdigit()) or len(number) > 7:
            raise UsageError(f"--nodes: {word[:300]!r} is not of the form HOST/TASKS")
        nodes += [(host, int(number)) for host in node_list.expand(hosts, "--nodes")]
        if len(nodes) > node_list.MOST_HOSTS:
            raise UsageError(f"--nodes: more than {node_list.MOST_HOSTS} nodes")
    _require_bounded(nodes, "--nodes")
    return nodes


def pair(nodelist: str, tasks: str) -> list[tuple[str, int]]:
    """The same of what a batch system says in two variables: `n[1-3]` and `2(x2),1`."""
    hosts = node_list.expand(nodelist, "--nodelist")
    numbers = [1] * len(hosts)
    if tasks:
        numbers = node_list.expand_numbers(tasks, "--tasks-per-node")
    if len(numbers) != len(hosts):
        raise UsageError(
            f"--tasks-per-node is for {len(numbers)} nodes, --nodelist names {len(hosts)}"
        )
    nodes = list(zip(hosts, numbers, strict=True))
    _require_bounded(nodes, "--tasks-per-node")
    return nodes


def _require_bounded(nodes: list[tuple[str, int]], option: str) -> None:
    if sum(tasks for _, tasks in nodes) > _MOST_TASKS:
        raise UsageError(f"{option}: more than {_MOST_TASKS} tasks")
    if sum((len(host) + 1) * tasks for host, tasks in nodes) > _LARGEST_FILE:
        raise UsageError(f"{option}: the hostsfile would be larger than {_LARGEST_FILE} bytes")


def hostsfile(nodes: list[tuple[str, int]]) -> bytes:
    """One host name for each task, in the order of the nodes."""
    return "".join(f"{host}\n" * tasks for host, tasks in nodes).encode()


def problem_of(nodes: list[tuple[str, int]], user: Identity, config: RuntimeConfig) -> str:
    """A sentence where this node is none of them, which MPI would not survive; else nothing.

    Most nodes are called what the batch system calls them. Of the others, the addresses tell.
    """
    own = os.uname().nodename.partition(".")[0]
    if not nodes or any(host.partition(".")[0] == own for host, _ in nodes):
        return ""
    names = [host for host, _ in nodes[:_MOST_ASKED]]
    program = config.udi_root_path + "/bin/shifter-admin"
    if _status_of([program, "addresses", "--", *names], user) != _NONE_IS_OURS:
        return ""  # one is, or it could not be told
    return f"none of the {len(names)} nodes of --nodes that were looked up is this one ({own})"


def _status_of(command: list[str], user: Identity) -> int:
    """How a program ends that runs as the user, with nothing of this process's; -1 if too late."""
    child = os.fork()
    if child == 0:
        try:
            for fd in range(_FIRST_DESCRIPTOR):
                os.dup2(os.open("/dev/null", os.O_RDWR), fd)
            os.closerange(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR)
            process_calls.forget_signals()
            identity.become(user)
            os.execve(command[0], command, _ENVIRONMENT)
        finally:
            os._exit(126)
    ending = os.pidfd_open(child)
    (ended,) = process_calls.wait_readable((ending,), _PATIENCE)
    os.close(ending)
    if not ended:
        os.kill(child, syscalls.SIGKILL)  # not waited for before, so the number is still its own
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if ended else -1
