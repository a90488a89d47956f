# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway migrate`: all records from one home of the catalog to another."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import click

from shifter_imagegw import config as configuration
from shifter_imagegw.catalog.copying import KINDS, Home
from shifter_imagegw.catalog.sqlite_copy import SqliteHome
from shifter_imagegw.commands import own_account
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.commands.serve import is_locked
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError

_BATCH = 500
_SQLITE = "sqlite:"
_NEVER_CARRIED = (
    "leases of workers: jobs that wait or run are carried, and begin anew",
    "what an original keeps of Lustre stripes, and fields that this gateway does not know",
)


@dataclasses.dataclass
class Report:
    """What was carried, or would be."""

    source: str
    target: str
    dry_run: bool
    found: Counter[str] = dataclasses.field(default_factory=Counter)
    written: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    names: int = 0  # of images, whose meaning was compared at the end
    problems: list[str] = dataclasses.field(default_factory=list)


@click.command(short_help="Copy all records from one catalog to another.")
@config_option
@json_option
@click.option("--from", "source", metavar="PLACE", help="Where the records are.")
@click.option("--to", "target", metavar="PLACE", help="Where they are to go.")
@click.option("--check", is_flag=True, help="Only say what a start will put right in --from.")
@click.option("--dry-run", is_flag=True, help="Read all, write nothing.")
@click.option(
    "--merge", is_flag=True,
    help="Also where the target holds records; what is there already stays as it is.",
)  # fmt: skip
def migrate(
    config_path: Path,
    as_json: bool,
    source: str | None,
    target: str | None,
    check: bool,
    dry_run: bool,
    merge: bool,
) -> None:
    """Copy all records from one catalog to another; the source stays as it is.

    PLACE is sqlite:FILE, or mongodb://[USER:PASSWORD@]HOST[:PORT]/DATABASE; without --from, or
    without --to, it is the catalog of imagemanager.json. Stop the gateway first. Carried are images
    with their names and lists, jobs, failures, lookups and the usage history; the end is verified.
    To do it again does no harm, with --merge.

    A database of the original's can be used as it is: name it in imagemanager.json, and --check
    says what the first start will put right in it.

    \b
    Examples:
      shifter-gateway migrate --check
      shifter-gateway migrate --to mongodb://db1/Shifter --dry-run
      shifter-gateway migrate --from mongodb://db1/Shifter --to sqlite:/srv/x
    """
    config = configuration.load(config_path)
    own_account.require(config)
    with contextlib.ExitStack() as opened:
        origin = opened.enter_context(contextlib.closing(_home(source, config)))
        if check:
            _say_ailments(origin, as_json=as_json)
            return
        if source is None and target is None:
            raise ConfigError(
                "give --from PLACE or --to PLACE: imagemanager.json names one catalog"
            )
        goal = opened.enter_context(contextlib.closing(_home(target, config)))
        report = run(origin, goal, dry_run=dry_run, merge=merge)
    click.echo(json.dumps(_content(report), indent=2) if as_json else _text(report))
    if report.problems:
        raise SystemExit(1)


def run(origin: Home, goal: Home, *, dry_run: bool, merge: bool) -> Report:
    """Carry everything, kind by kind, and compare the ends."""
    _require_apart(origin, goal)
    there = goal.count()
    if there and not merge:
        kinds = ", ".join(f"{number} {kind}" for kind, number in there.items())
        raise ConfigError(f"{goal} is not empty ({kinds}): choose another, or say --merge")
    report = Report(str(origin), str(goal), dry_run)
    for kind, _ in KINDS:
        items = origin.read(kind, report.left_out)
        while batch := list(itertools.islice(items, _BATCH)):
            report.found[kind] += len(batch)
            if not dry_run:
                report.written[kind] += goal.write(kind, batch, merge=merge)
            _show_progress(kind, report.found[kind])
    _show_progress("", 0)
    if not dry_run:
        _verify(origin, goal, report, there)
    return report


def _verify(origin: Home, goal: Home, report: Report, there: Counter[str]) -> None:
    now = goal.count()
    for kind, _ in KINDS:
        # Days and counts that both had are one.
        least = report.written[kind] if not there else there[kind]
        expected = there[kind] + report.written[kind]
        if now[kind] < least or now[kind] > expected:
            report.problems.append(f"{kind}: {now[kind]} are there, {expected} were expected")
    meant = origin.tags()
    found = goal.tags()
    report.names = len(meant)
    lost = [name for name in meant if name not in found]
    others = [name for name in meant if name in found and found[name] != meant[name]]
    if lost:
        report.problems.append(f"names that mean no image there: {len(lost)}, {_shown(lost[0])}")
    if others and not there:
        report.problems.append(
            f"names that mean another image there: {len(others)}, {_shown(others[0])}"
        )


def _shown(name: tuple[str, str, str]) -> str:
    system, image_type, tag = name
    return f"such as {image_type}:{tag} on {system}"


def _home(place: str | None, config: GatewayConfig) -> Home:
    if place is None and config.mongodb is None:
        place = f"{_SQLITE}{config.catalog_path}"
    if place is not None and place.startswith(_SQLITE):
        path = Path(place.removeprefix(_SQLITE)).absolute()
        if is_locked(path):
            raise ConfigError(f"a gateway runs on catalog {str(path)!r}: stop it first")
        return SqliteHome(path)
    # Here, because pymongo takes a tenth of a second to import.
    from shifter_imagegw.catalog.mongo_copy import MongoHome

    if place is None:
        assert config.mongodb is not None
        return MongoHome(config.mongodb.uri, config.mongodb.database)
    if not place.startswith(("mongodb://", "mongodb+srv://")):
        raise ConfigError("a place is sqlite:FILE or mongodb://HOST[:PORT]/DATABASE")
    return MongoHome.at(place)


def _require_apart(origin: Home, goal: Home) -> None:
    if str(origin) == str(goal):
        raise ConfigError(f"--from and --to are the same: {origin}")


def _say_ailments(origin: Home, *, as_json: bool) -> None:
    from shifter_imagegw.catalog.mongo_copy import MongoHome

    found = origin.ailments() if isinstance(origin, MongoHome) else Counter()
    count = origin.count()
    if as_json:
        content = {"source": str(origin), "records": count["records"], "to_heal": dict(found)}
        click.echo(json.dumps(content, indent=2))
        return
    click.echo(f"{origin}: {count['records']} records, {count['lookups']} lookups")
    for words, number in found.items():
        click.echo(f"  {number:>6} {words}")
    if not found:
        click.echo("nothing has to be put right in it")
    else:
        click.echo("the gateway puts this right when it first starts on it; nothing was changed")


def _show_progress(kind: str, number: int) -> None:
    """One line that is written over, where somebody watches."""
    if sys.stderr.isatty():
        text = f"{kind}: {number}" if kind else ""
        click.echo(f"\r\x1b[2K{text}", nl=False, err=True)


def _content(report: Report) -> dict[str, object]:
    return {
        "source": report.source,
        "target": report.target,
        "dry_run": report.dry_run,
        "found": dict(report.found),
        "written": dict(report.written),
        "left_out": dict(report.left_out),
        "never_carried": list(_NEVER_CARRIED),
        "names_compared": report.names,
        "problems": report.problems,
    }


def _text(report: Report) -> str:
    lines = [f"from {report.source}", f"to   {report.target}"]
    for kind, _ in KINDS:
        number = report.found[kind]
        new = "" if report.dry_run else f", {report.written[kind]} of them new there"
        lines.append(f"{kind + ':':<14}{number}{new if number else ''}")
    lines += [f"left out: {number} {words}" for words, number in report.left_out.items()]
    lines += [f"not carried: {words}" for words in _NEVER_CARRIED]
    if report.dry_run:
        lines.append("nothing was written")
    elif report.problems:
        lines += [f"wrong: {problem}" for problem in report.problems]
    else:
        lines.append(f"verified: all counts agree, and so do {report.names} names of images")
    return "\n".join(lines)
