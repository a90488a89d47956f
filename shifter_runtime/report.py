# SPDX-License-Identifier: BSD-3-Clause
"""What a launch tells of itself on request: what it would do, and how long each step took."""

from __future__ import annotations

from shifter_common.metadata import json_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from shifter_runtime.plan import Plan
    from shifter_runtime.request import Request
    from shifter_runtime.udi import Udi

    # Each step's name, and when it ended, in nanoseconds since the first began.
    Steps = Sequence[tuple[str, int]]

_SHELL = "your shell ($SHELL if the image has it, else /bin/sh)"


def dry_run(
    plan: Plan,
    request: Request,
    image_id: str,
    command: list[str],
    directory: str,
    variables: Mapping[str, str],
    hooks: Sequence[str] = (),
) -> str:
    """What a launch would do, as lines, or as one JSON object where the request wants that.

    `variables` are those of the program, but for what the files of `--env-file` set: these are
    read in the container. `hooks` are scripts that run as the user, before the program. In JSON,
    an empty command is the user's shell.
    """
    caller = request.environment
    changed = {name: value for name, value in variables.items() if caller.get(name) != value}
    removed = [name for name in caller if name not in variables]
    if request.json:
        described = {
            "image": {"id": image_id, "reference": str(request.reference)},
            "operations": [
                {"operation": type(operation).__name__, "text": str(operation)}
                for operation in (plan.image, plan.root, *plan.operations)
            ],
            "environment": {"set": changed, "unset": removed, "files": request.env_file},
            "workdir": directory,
            "userhooks": list(hooks),
            "command": command,
        }
        return f"{to_json(described)}\n"
    lines = [
        str(plan),
        *(f"set {name}={value!r}" for name, value in changed.items()),
        *(f"unset {name}" for name in removed),
        *(f"set what is in {path!r}" for path in request.env_file),
        f"go to {directory}",
        *(f"run userhook {hook}" for hook in hooks),
        f"run {' '.join(map(repr, command)) or _SHELL}",
    ]
    return "".join(f"{line}\n" for line in lines)


class Timed:
    """An operation of a plan that says when it is done, and so does what is done `before` it."""

    def __init__(
        self, operation: object, step: Callable[[str], None], before: str | None = None
    ) -> None:
        self._operation = operation
        self._step = step
        self._before = before

    def __str__(self) -> str:
        return str(self._operation)

    def execute(self, *udi: Udi) -> Udi | None:
        if self._before:
            self._step(self._before)
        result: Udi | None = self._operation.execute(*udi)  # type: ignore[attr-defined]
        self._step(str(self._operation))
        return result


def watch(plan: Plan, step: Callable[[str], None]) -> None:
    """Have `step` called after each operation of `plan`."""
    plan.image = Timed(plan.image, step, "take a mount namespace")  # type: ignore[assignment]
    plan.root = Timed(plan.root, step)  # type: ignore[assignment]
    timed: list[Any] = [Timed(operation, step) for operation in plan.operations]
    plan.operations = timed


def timing(steps: Steps, *, as_json: bool) -> str:
    """How long each step took, in milliseconds, the total last."""
    taken = []
    before = 0
    for name, moment in steps:
        taken.append((name, (moment - before) / 1e6))
        before = moment
    if as_json:
        described = [{"step": name, "ms": round(ms, 3)} for name, ms in taken]
        return f"{to_json({'steps': described, 'total_ms': round(before / 1e6, 3)})}\n"
    lines = [*taken, ("total", before / 1e6)]
    return "".join(f"shifter: {ms:9.3f} ms  {name}\n" for name, ms in lines)


def to_json(value: object) -> str:
    """A value of text, numbers, truth, nothing, lists and dictionaries as JSON, on one line."""
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, dict):
        members = (f"{json_string(name)}:{to_json(member)}" for name, member in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(to_json, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
