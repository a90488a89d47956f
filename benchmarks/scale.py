# SPDX-License-Identifier: BSD-3-Clause
"""What grows with a cluster: jobs, nodes and ranks, played on one machine and counted.

Storms of submissions meet a real gateway; one node has a real prolog and as many ranks as real ones
have; a shared filesystem logs what that node asks of it. Nodes do not speak to each other, and a
node asks nobody else, so what one costs is what each of thousands costs.
"""

from __future__ import annotations

import dataclasses
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import (
    catalogs,
    launch,
    programs,
    scale_gateway,
    scale_node,
    scale_shared,
    shared_filesystem,
)
from benchmarks.installation import CHECKOUT, Installation
from benchmarks.programs import BenchmarkError, Cost
from benchmarks.report import Budget, Measurement, Report
from benchmarks.scale_gateway import Gateway, Played, Submitted
from benchmarks.scale_node import Node, NodeList, Ranks
from benchmarks.scale_shared import AGAIN, OPENS, Traffic

AT_ONCE = (1, 10, 100, 1000)
WORKFLOW, LOGIN_NODES = 10_000, 16  # jobs of one task each, and who submits them
REPETITIONS = 3
SPANK_HEADER = Path("/usr/include/slurm/spank.h")
PLUGIN = "lib64/shifter/shifter_slurm.so"
# Of libslurm, what does not leave the process; any other of its functions might ask slurmctld.
LOGGING = ("slurm_error", "slurm_info", "slurm_verbose", "slurm_debug", "slurm_spank_log")

AnyCost = TypeVar("AnyCost", Cost, Ranks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """What one run of the benchmark shares, and the cluster that it is about."""

    work: Path
    installation: Installation
    user: pwd.struct_passwd
    nodes: int
    ranks: int  # of each node


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneNode:
    """A node of a job, seen in each way to start a rank there."""

    small: Cost  # of its prolog in a job of one node
    prolog: Cost  # of its prolog in a job of all nodes
    nodes: NodeList
    mounts_before: int
    job: Ranks  # that take the image from the job's environment
    requests: dict[str, int]  # of the gateway, by how ranks name their image
    alone: Ranks  # without a prolog
    requests_alone: int  # of those that name it by tag


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that was counted."""

    nodes: int
    ranks: int
    storms: tuple[Played, ...]
    submitted: Submitted
    node: OneNode
    shared: dict[str, Traffic]
    calls: tuple[str, ...] | None  # of libslurm, by the plugin; None where it was not built

    @property
    def workflow(self) -> Played:
        return self.storms[-1]

    @property
    def requests_of_ranks(self) -> int:
        return sum(self.node.requests.values())


def install(work: Path) -> Installation:
    """This checkout, with the plugin where Slurm's headers are."""
    prefix = work / "prefix"
    plugin = ["--with-slurm"] if SPANK_HEADER.exists() else []
    programs.run([CHECKOUT / "install", "--prefix", prefix, *plugin])
    return Installation(prefix)


def measure(scale: Scale) -> Measured:
    """Storms first, then a node with the same gateway, then one with a shared filesystem."""
    launch.make_tree(scale.work / "tree")
    with scale_gateway.running(scale.work, scale.installation) as gateway:
        scale.installation.configure(
            scale.work / "images",
            gateway_url=gateway.served.url,
            munge_socket=gateway.munge_socket,
        )
        with launch.image_of(scale.work, scale.installation) as image:
            node = Node(
                work=scale.work,
                installation=scale.installation,
                image=image,
                request=f"docker:{catalogs.tag(0)}",
                user=scale.user,
                ranks=scale.ranks,
            )
            return Measured(
                nodes=scale.nodes,
                ranks=scale.ranks,
                storms=tuple(_storms(gateway)),
                submitted=scale_gateway.submit(gateway, scale.installation, scale.user),
                node=_one_node(node, gateway, scale.nodes),
                shared=scale_shared.measure(node),
                calls=_calls_of(scale.installation.prefix / PLUGIN),
            )


def report(measured: Measured) -> Report:
    """The same for a terminal, with what must be true at any size."""
    node = measured.node
    return Report(
        title=f"scale: {measured.nodes:,} nodes with {measured.ranks} ranks each",
        ours="",
        measurements=(
            *(_as_measurement(played) for played in measured.storms),
            Measurement(
                name="a submission, on the login node",
                seconds=measured.submitted.seconds,
                cpu_seconds=measured.submitted.cpu_seconds,
            ),
            _of_prolog(node.small, "1 node"),
            _of_prolog(node.prolog, f"{measured.nodes:,} nodes"),
            _of_ranks(node.job, "that join the job's container"),
            _of_ranks(node.alone, "without a prolog"),
        ),
        budgets=tuple(_budgets(measured)),
        facts={
            "shared filesystem": shared_filesystem.describe(0),
            **{f"its traffic, {name}": str(one) for name, one in measured.shared.items()},
        },
    )


def _budgets(measured: Measured) -> Iterator[Budget]:
    """What would break a cluster of any size."""
    node = measured.node
    failed = sum(played.failed for played in measured.storms)
    asked = measured.submitted
    extra = max((played.requests / played.submissions for played in measured.storms), default=0)
    yield Budget(text="submissions without an answer", limit=0, measured=failed)
    yield Budget(text="requests for each submission played", limit=1, measured=extra)
    yield Budget(
        text="requests for each real submission",
        limit=1,
        measured=asked.requests / asked.submissions,
    )
    for how, requests in node.requests.items():
        yield Budget(text=f"requests of ranks that {how}", limit=0, measured=requests)
    yield Budget(
        text="requests of ranks outside of the job, so that they do count",
        limit=measured.ranks,
        measured=node.requests_alone,
        at_least=True,
    )
    yield Budget(text="mount namespaces of all ranks", limit=1, measured=node.job.namespaces)
    yield Budget(text="loop devices of all ranks", limit=1, measured=node.job.devices)
    yield Budget(
        text="opens of images, by each rank that joins",
        limit=0,
        measured=measured.shared[AGAIN].count(OPENS, of=scale_shared.IMAGES) / measured.ranks,
    )
    calls = None if measured.calls is None else len(measured.calls)
    yield Budget(text="functions of the plugin that may ask slurmctld", limit=0, measured=calls)


def _storms(gateway: Gateway) -> Iterator[Played]:
    scale_gateway.storm(gateway, AT_ONCE[-1], at_once=1)  # its processes have loaded everything
    for submissions in AT_ONCE:
        yield scale_gateway.storm(gateway, submissions, at_once=submissions)
    yield scale_gateway.storm(gateway, WORKFLOW, at_once=LOGIN_NODES)


def _one_node(node: Node, gateway: Gateway, nodes: int) -> OneNode:
    by_id, by_tag = f"--image=id:{node.image.image_id}", f"--image={node.request}"
    job = node.variables
    before = scale_node.node_mounts()
    all_nodes = scale_node.node_list(nodes, node.ranks)
    small = _prolog(node, scale_node.node_list(1, node.ranks))
    prolog = _prolog(node, all_nodes)
    with scale_node.prepared(node, all_nodes):
        by_way = {
            "name no image": _counted(gateway, node, variables=job),
            "name it by id": _counted(gateway, node, by_id, variables=job),
            "name it by tag": _counted(gateway, node, by_tag, variables=job),
        }
    alone = [scale_node.launch(node, by_id) for _ in range(REPETITIONS)]
    outside, _ = _counted(gateway, node, by_tag)
    return OneNode(
        small=small,
        prolog=prolog,
        nodes=all_nodes,
        mounts_before=before,
        job=_middle([ranks for _, ranks in by_way.values()]),
        requests={way: requests for way, (requests, _) in by_way.items()},
        alone=_middle(alone),
        requests_alone=outside,
    )


def _prolog(node: Node, nodes: NodeList) -> Cost:
    """What it costs, the epilog after it left out."""
    costs = []
    for _ in range(REPETITIONS):
        with scale_node.prepared(node, nodes) as cost:
            costs.append(cost)
    return _middle(costs)


def _middle(costs: Sequence[AnyCost]) -> AnyCost:
    return sorted(costs, key=lambda cost: cost.cpu_seconds)[len(costs) // 2]


def _counted(
    gateway: Gateway, node: Node, *options: str, variables: dict[str, str] | None = None
) -> tuple[int, Ranks]:
    """How often the gateway was asked while the ranks were started, and the ranks."""
    before = gateway.requests()
    ranks = scale_node.launch(node, *options, variables=variables or {})
    return gateway.requests() - before, ranks


def _calls_of(plugin: Path) -> tuple[str, ...] | None:
    """What the plugin takes from libslurm beside SPANK and the log."""
    if not plugin.exists():
        return None
    if absent := programs.missing("nm"):
        raise BenchmarkError(absent)
    listed = programs.run(["nm", "--dynamic", "--undefined-only", plugin])
    return calls_in(line.split()[-1] for line in listed.splitlines())


def calls_in(symbols: Iterator[str] | list[str]) -> tuple[str, ...]:
    """Of the functions that a plugin imports, those that may ask slurmctld or slurmstepd."""
    return tuple(
        symbol
        for symbol in symbols
        if symbol.startswith(("slurm", "stepd_", "hostlist_")) and not symbol.startswith(LOGGING)
    )


def _name(played: Played, at_once: int) -> str:
    plural = "" if played.submissions == 1 else "s"
    return f"{played.submissions:,} submission{plural}, {at_once:,} at once"


def _as_measurement(played: Played) -> Measurement:
    failures = "; ".join(f"{number} × {why}" for why, number in played.storm.failures.items())
    return Measurement(
        name=_name(played, min(played.submissions, played.at_once)),
        seconds=tuple(played.storm.seconds),
        per_second=played.per_second,
        cpu_seconds=played.cpu_seconds,
        note=failures,
    )


def _of_prolog(cost: Cost, of: str) -> Measurement:
    return Measurement(
        name=f"prolog of a job of {of}",
        seconds=(cost.seconds,),
        cpu_seconds=cost.cpu_seconds,
        peak_memory=cost.peak_memory or None,
    )


def _of_ranks(ranks: Ranks, which: str) -> Measurement:
    return Measurement(
        name=f"{ranks.count} ranks {which}",
        seconds=(ranks.seconds,),
        cpu_seconds=ranks.cpu_seconds,
        note=f"mount namespaces: {ranks.namespaces}, loop devices: {ranks.devices}",
    )
