# SPDX-License-Identifier: BSD-3-Clause
"""The launch that is asked about: what `shifter --dry-run` says of it, and what was asked for."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from shifter_cli.doctor.errors import DoctorError
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference
from shifter_runtime import request as requests
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.request import Request

_PATIENCE = 120  # seconds; a hook of the site's may take some
_MOST_OUTPUT = 1 << 24
_NOTHING = "true"
_NO_PROGRAM = 127
_NO_IMAGE = "no image specified"


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a launch would do, as it says itself."""

    image_id: str
    operations: tuple[tuple[str, str], ...]  # the kind of each, and its sentence
    set_variables: Mapping[str, str]  # those that differ from the caller's
    unset_variables: tuple[str, ...]
    directory: str
    hints: tuple[str, ...]  # what it says beside


@dataclasses.dataclass(frozen=True)
class Trial:
    """A launch of a program that does nothing, and what was said."""

    lines: tuple[str, ...]
    is_refusal: bool


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a launch would end before the program starts, in its own words."""

    lines: tuple[str, ...]


def understand(
    words: Sequence[str], environment: Mapping[str, str], config: RuntimeConfig
) -> Request:
    """What the options mean, read as the runtime reads them."""
    try:
        return requests.parse(
            list(words), environment, default_type=config.default_image_type, allow_local=True
        )
    except ShifterError as error:
        text = str(error)
        if text.startswith(_NO_IMAGE):
            text = "no image is named: write shifter doctor IMAGE, as in docker:ubuntu:24.04"
        raise DoctorError(text) from error


def options_of(image: str | None, words: Sequence[str]) -> list[str]:
    """The words after `shifter`: the image first, then what was given beside it."""
    return [*([] if image is None else [f"--image={image}"]), *words]


def try_out(shifter: str, words: Sequence[str], request: Request) -> Trial:
    """Make the container and leave it: `true` stands for the program, or nothing where it lacks."""
    options = list(words)[: len(words) - len(request.command)]
    if options[-1:] == ["--"]:
        options.pop()
    status, _, lines = _run([shifter, *options, f"--entrypoint={_NOTHING}"])
    if status not in (0, _NO_PROGRAM):
        return Trial(lines or (f"it ended with status {status} and said nothing",), True)
    return Trial(tuple(line for line in lines if not line.startswith(f"{_NOTHING}: ")), False)


def preview(shifter: str, words: Sequence[str]) -> Preview | Refusal:
    """Have the launch described by the program that would do it."""
    status, output, lines = _run([shifter, "--dry-run", "--json", *words])
    if status != 0:
        return Refusal(lines or (f"it ended with status {status} and said nothing",))
    return _read(output, lines)


def _run(command: list[str]) -> tuple[int, bytes, tuple[str, ...]]:
    """How it ended, what it wrote, and what it said on standard error."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except OSError as error:
        raise DoctorError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise DoctorError(
            f"{command[0]} did not end in {_PATIENCE} seconds: a filesystem of this node, or a "
            "script of the site's, may hang; try another node, and tell the site's support"
        ) from error
    said = done.stderr[:_MOST_OUTPUT].decode("utf-8", "replace")
    lines = tuple(line.removeprefix("shifter: ") for line in said.splitlines() if line.strip())
    return done.returncode, done.stdout[:_MOST_OUTPUT], lines


def _read(output: bytes, lines: tuple[str, ...]) -> Preview:
    try:
        content = json.loads(output)
        return Preview(
            image_id=content["image"]["id"],
            operations=tuple((one["operation"], one["text"]) for one in content["operations"]),
            set_variables=content["environment"]["set"],
            unset_variables=tuple(content["environment"]["unset"]),
            directory=content["workdir"],
            hints=lines,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DoctorError(
            "shifter --dry-run --json answered in another form than this version knows: the "
            "installation is not of one piece; tell the site's support"
        ) from error


def program_of(config: RuntimeConfig) -> str:
    return os.path.join(config.udi_root_path, "bin/shifter")


def is_named(reference: ImageReference) -> bool:
    """Whether a gateway is asked what the image means."""
    return reference.image_type not in ("id", "local")
