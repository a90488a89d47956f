# SPDX-License-Identifier: BSD-3-Clause
"""What `scale` counted, as tables for the documentation: one node, all nodes, and how it grows.

The columns for all nodes are arithmetic; so is what is said of the original, from how it works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from benchmarks.programs import BenchmarkError
from benchmarks.report import duration
from benchmarks.scale import Measured
from benchmarks.scale_gateway import Played
from benchmarks.scale_shared import (
    AGAIN,
    ALONE,
    CONFIGURATION,
    FIRST,
    IMAGES,
    LOOKUPS,
    OPENS,
    PROLOG,
    READS,
    Traffic,
)

BEGIN = "<!-- written by `python -m benchmarks scale --into` -->"
END = "<!-- end of what is written -->"
UNKNOWN = "not measured"
HOST = 6  # characters of a node's name, such as n00001


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that is counted."""

    what: str
    one: str  # a job, or a node
    all: str  # every node of the cluster, in one job
    grows: str
    original: str = ""

    def __str__(self) -> str:
        return f"| {self.what} | {self.one} | {self.all} | {self.grows} | {self.original} |"


def write(measured: Measured, path: Path) -> None:
    """Put the tables into a file between its marks; the words around them stay."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{path} has no place for the tables: it lacks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{markdown(measured)}\n\n{END}{after}")


def markdown(measured: Measured) -> str:
    """Both tables."""
    head = Row("", "one", f"{measured.nodes:,} nodes × {measured.ranks} ranks", "grows with",
               "the original, on paper")  # fmt: skip
    lines = [str(head), "| --- | --- | --- | --- | --- |", *map(str, rows(measured)), ""]
    lines += ["| submissions | at once | not answered | the last after | a second | 99 % within |"
              " gateway's CPU, each |", "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    lines += map(_storm, measured.storms)
    return "\n".join(lines)


def rows(measured: Measured) -> Iterator[Row]:
    """Gateway, node, shared filesystem, Slurm."""
    yield from _of_gateway(measured)
    yield from _of_node(measured)
    yield from _of_shared_filesystem(measured)
    yield from _of_slurm(measured)


def _of_gateway(measured: Measured) -> Iterator[Row]:
    submitted, node, tasks = measured.submitted, measured.node, measured.nodes * measured.ranks
    each = submitted.requests / submitted.submissions
    yield Row("requests of a submission", f"{each:g}", f"{each:g}", "submissions", "1")
    cpu = duration(measured.workflow.cpu_seconds / measured.workflow.submissions)
    yield Row("the gateway's CPU for it", cpu, cpu, "submissions")
    cpu = duration(submitted.cpu_seconds)
    yield Row("the login node's CPU for it", cpu, cpu, "submissions")
    yield Row(
        f"requests of {measured.ranks} ranks, however they name the image",
        f"{measured.requests_of_ranks}",
        f"{measured.requests_of_ranks * measured.nodes:,}",
        _growth(measured.requests_of_ranks, "ranks"),
        f"{tasks:,} where they name it by tag",
    )
    yield Row(
        "the same outside of a job, or without a prolog, by tag",
        f"{node.requests_alone}",
        f"{node.requests_alone * measured.nodes:,}",
        "ranks",
        f"{tasks:,}",
    )


def _of_node(measured: Measured) -> Iterator[Row]:
    node = measured.node
    small, large = duration(node.small.cpu_seconds), duration(node.prolog.cpu_seconds)
    yield Row("the prolog's CPU, on each node", small, large, "the list of nodes, a little")
    extra = node.job.mounts - node.mounts_before
    yield Row(
        "mounts that the node sees of it, shown on udiMount", f"{extra}", f"{extra} on each",
        "volumes and siteFs; further jobs on the node add 1 each", "as many",
    )  # fmt: skip
    yield Row(
        "mount namespaces of all ranks",
        f"{node.job.namespaces}",
        f"{node.job.namespaces} on each",
        "jobs on a node",
        "0: it mounts in the node's own",
    )
    yield Row(
        "mounts in it",
        f"{node.job.mounts_inside}",
        f"{node.job.mounts_inside} on each",
        "volumes and siteFs",
    )
    yield Row(
        "mount namespaces without a prolog, each with as many",
        f"{node.alone.namespaces}",
        f"{node.alone.namespaces} on each",
        "ranks on a node",
        "the same",
    )
    devices = max(node.job.devices, node.alone.devices)
    yield Row(
        "loop devices, with a prolog or without", f"{devices}", f"{devices} on each",
        "images in use on a node", f"1; {measured.ranks} without a prolog",
    )  # fmt: skip
    cpu = duration(node.job.cpu_seconds / node.job.count)
    yield Row("CPU of the start of a rank", cpu, cpu, "ranks on a node")
    cpu = duration(node.alone.cpu_seconds / node.alone.count)
    yield Row("... without a prolog", cpu, cpu, "ranks on a node")


def _of_shared_filesystem(measured: Measured) -> Iterator[Row]:
    shared, nodes, ranks = measured.shared, measured.nodes, measured.ranks
    prolog, first = shared[PROLOG], shared[FIRST]
    yield Row(
        "a prolog's operations, cold", _operations(prolog), _operations(prolog, nodes), "nodes"
    )
    read = sum(prolog.bytes.values()) + sum(first.bytes.values())
    yield Row(
        "read of the image by the prolog and all ranks of a small program, cold",
        _size(read),
        _size(read * nodes),
        "nodes, and what the program touches",
    )
    for what, name, files, original in (
        ("a rank's opens of imagePath, metadata and image", AGAIN, IMAGES, "1 or more"),
        ("... without a prolog", ALONE, IMAGES, "2 or more"),
        ("... of udiRoot.conf, where that is there, too", AGAIN, (CONFIGURATION,), "1 or more"),
    ):
        opens = shared[name].count(OPENS, of=files)
        yield Row(
            what, f"{opens / ranks:.3g}", f"{opens * nodes:,}", _growth(opens, "ranks"), original
        )
    again = shared[AGAIN]
    yield Row(
        f"reads of {ranks} ranks, warm",
        f"{again.count(READS)}",
        f"{again.count(READS) * nodes:,}",
        _growth(again.count(READS), "ranks"),
    )


def _of_slurm(measured: Measured) -> Iterator[Row]:
    node, nodes = measured.node, measured.nodes
    calls = UNKNOWN if measured.calls is None else f"{len(measured.calls)}"
    yield Row("questions of prologs to slurmctld", calls, calls, "nothing", f"{nodes:,}")
    spec = nodes * (HOST + len(f"/{measured.ranks} "))
    yield Row(
        "setupRoot's list of nodes", "", f"{node.nodes.size} bytes", "gaps in the numbers of nodes",
        f"{spec:,} bytes; the kernel takes 131,071 in one argument",
    )  # fmt: skip
    hostsfile = node.job.hostsfile
    yield Row(
        "`/var/hostsfile`, in the memory of each node", f"{hostsfile // nodes} bytes a node",
        f"{_size(hostsfile)} on each", "nodes × ranks", "the same",
    )  # fmt: skip


def _storm(played: Played) -> str:
    seconds = sorted(played.storm.seconds)
    late = duration(seconds[len(seconds) * 99 // 100]) if len(seconds) >= 100 else ""
    cells = (
        f"{played.submissions:,}",
        f"{min(played.at_once, played.submissions):,}",
        f"{played.failed}",
        duration(played.storm.elapsed),
        f"{played.per_second:,.0f}" if played.submissions > 1 else "",
        late,
        duration(played.cpu_seconds / played.submissions) if played.submissions >= 100 else "",
    )
    return f"| {' | '.join(cells)} |"


def _operations(traffic: Traffic, nodes: int = 1) -> str:
    kinds = (LOOKUPS, OPENS, READS)
    return ", ".join(f"{traffic.count(kind) * nodes:,} {kind}" for kind in kinds)


def _growth(count: float, with_what: str) -> str:
    return with_what if count else "nothing"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
