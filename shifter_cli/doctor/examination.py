# SPDX-License-Identifier: BSD-3-Clause
"""The examination: all that is looked at, in order, and what came out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from shifter_cli.doctor import gateway, launch, libraries, node, variables
from shifter_cli.doctor.findings import Level, Observation, count, note, ok, problem
from shifter_cli.doctor.launch import Preview, Refusal
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.modules.errors import CheckError
from shifter_cli.modules.image_files import Files, RunningImage
from shifter_cli.session import Session
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.request import Request

DEFAULT_FORMAT = "squashfs"
_PATIENCE = 30.0  # seconds for each answer of a gateway that the site would wait for for ever
_OF_GATEWAY = ("image", "gateway")
_LOOKED_UP = ("shifterimg: ", "ERROR: ", "cannot use image ")  # what a launch says of a lookup
_STAYING = "Failed to switch to working dir: "


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was found; `preview` is None where the launch would be refused."""

    reference: str
    findings: tuple[Observation, ...]
    preview: Preview | None
    sources: Mapping[str, tuple[str, str]]  # of variables: value and where it comes from
    own_variables: int  # how many of the caller's are passed on as they are

    @property
    def problems(self) -> int:
        return count(self.findings, Level.PROBLEM)

    def to_json(self) -> dict[str, object]:
        preview = self.preview
        return {
            "image": self.reference,
            "id": preview.image_id if preview else None,
            "good": self.problems == 0,
            "findings": [finding.to_json() for finding in self.findings],
            "operations": [
                {"operation": kind, "text": text}
                for kind, text in (preview.operations if preview else ())
            ],
            "workdir": preview.directory if preview else None,
            "environment": {
                "set": [
                    {"name": name, "value": value, "source": source}
                    for name, (value, source) in self.sources.items()
                ],
                "unset": list(preview.unset_variables) if preview else [],
                "own": self.own_variables,
            },
        }


def examine(session: Session, words: Sequence[str], say: Callable[[str], None]) -> Examination:
    """Look at everything; `words` are what would follow `shifter`."""
    config = session.config
    session.patience = config.gateway_timeout or _PATIENCE
    request = launch.understand(words, os.environ, config)
    say("asking the image gateway")
    record, findings = gateway.ask(session, request.reference)
    if record is not None:
        findings += gateway.access(record)
        say("asking the registry")
        findings += gateway.newer(session, record, request.reference)
    say("asking shifter what a launch would do")
    result = launch.preview(launch.program_of(config), words)
    image_id = result.image_id if isinstance(result, Preview) else None
    image_id = image_id or (record.image_id if record else None)
    findings += _of_node(request, record, image_id, config)
    if isinstance(result, Refusal):
        findings += _refused(result, findings)
        return Examination(str(request.reference), _unique(findings), None, {}, 0)
    findings += [note("launch", line) for line in result.hints]
    say("trying it")
    findings += _tried(words, request, config)
    findings += _of_image(request, record, result, config, say)
    known = variables.sources(result, request, config, _variables(record))
    changed = {*result.set_variables, *result.unset_variables}
    own = sum(name not in changed for name in request.environment)
    return Examination(str(request.reference), _unique(findings), result, known, own)


def _of_node(
    request: Request, record: ImageRecord | None, image_id: str | None, config: RuntimeConfig
) -> list[Observation]:
    here = node.Node()
    found: list[Observation] = []
    kind = (record.format if record else "") or DEFAULT_FORMAT
    if request.reference.image_type == "local":
        kind = "VFS"
    elif image_id is not None:
        found += node.file(config.image_path, image_id, here)
    found += node.processor(record.architecture if record else "", os.uname().machine)
    found += node.kernel(kind, here, os.uname().release)
    found += node.loop_devices(kind, here)
    found += node.memory(request, here)
    return found


def _of_image(
    request: Request,
    record: ImageRecord | None,
    preview: Preview,
    config: RuntimeConfig,
    say: Callable[[str], None],
) -> list[Observation]:
    found = list(variables.leaks(preview, request, _variables(record)))
    say("looking into the image")
    try:
        files: Files = RunningImage(launch.program_of(config), _exactly(preview.image_id))
    except CheckError as error:
        hint = "whether modules fit, and your Python packages, was not looked at"
        return [*found, note("libraries", str(error), hint)]
    say("comparing libraries of modules and image")
    found += libraries.check(request, config, files)
    final = variables.final(preview, request)
    found += variables.own_python(final.get("HOME", ""), final, files)
    return found


def _tried(words: Sequence[str], request: Request, config: RuntimeConfig) -> Iterator[Observation]:
    """A launch with a program that does nothing: there, volumes and directories have to be."""
    result = launch.try_out(launch.program_of(config), words, request)
    for line in result.lines:
        if line.startswith(_STAYING):
            yield note(
                "directory",
                f"the container has no {line.removeprefix(_STAYING).partition(',')[0]}, so that "
                "the program starts in /",
                "go to a directory that the site shares, or choose one: --workdir=/path",
            )
        elif result.is_refusal:
            yield problem("launch", line)
    if not result.is_refusal:
        yield ok("launch", "a container was made with these options, and left again")


def _refused(refusal: Refusal, known: Sequence[Observation]) -> list[Observation]:
    """What the launch says, but for what the gateway has said already."""
    if any(one.level is Level.PROBLEM and one.subject in _OF_GATEWAY for one in known):
        new = [line for line in refusal.lines if not line.startswith(_LOOKED_UP)]
        return [problem("launch", line) for line in new]
    said = " ".join(finding.text for finding in known)
    new = [line for line in refusal.lines if line.partition(": ")[2] not in said]
    return [problem("launch", line) for line in new or refusal.lines]


def _exactly(image_id: str) -> str:
    return f"local:{image_id}" if image_id.startswith("/") else f"id:{image_id}"


def _variables(record: ImageRecord | None) -> dict[str, str] | None:
    """The image's ENV, as far as the gateway tells it."""
    lines = record.wire.get("ENV") if record is not None else None
    if not isinstance(lines, list):
        return None
    pairs = (line.partition("=") for line in lines if isinstance(line, str))
    return {name: value for name, separator, value in pairs if separator}


def _unique(findings: Sequence[Observation]) -> tuple[Observation, ...]:
    """Each finding once; what gateway and launch both say, in the words of the first."""
    return tuple(dict.fromkeys(findings))
