# SPDX-License-Identifier: BSD-3-Clause
"""Which modules of the site fit the image: the versions of glibc and missing libraries decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shifter_cli.administration import module_work
from shifter_cli.doctor.findings import Observation, note, ok, problem
from shifter_cli.modules.errors import CheckError
from shifter_cli.modules.fitting import Verdict
from shifter_cli.modules.image_files import Files
from shifter_common.errors import ShifterError
from shifter_runtime import modules as offered
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.request import Request

_MOST_REASONS = 3


def check(request: Request, config: RuntimeConfig, image: Files) -> Iterator[Observation]:
    """Each module with libraries: one that the launch uses must fit, of others it is told."""
    try:
        active = [module.name for module in offered.select(request.modules, config)]
    except ShifterError as error:
        yield problem("module", str(error))
        return
    for name, values in sorted(config.modules.items()):
        path = (values.get("copyPath") or [""])[-1]
        if values.get("enabled") == ["0"] or not path:
            continue
        try:
            verdict = module_work.check(Path(path), image)
        except CheckError as error:
            if name in active:
                yield note("module", f"{name} was not looked into: {error}")
            continue
        yield _finding(name, verdict, is_active=name in active)
    if not config.modules:
        return
    if not active:
        names = ", ".join(sorted(config.modules))
        yield ok("module", f"none is used; the site has {names} (--module=NAME)")


def _finding(name: str, verdict: Verdict, *, is_active: bool) -> Observation:
    versions = f"needs {verdict.needs or 'no glibc'}, the image has {verdict.glibc or 'none'}"
    if verdict.fits:
        used = "fits the image" if is_active else "would fit the image"
        warnings = [str(one) for one in verdict.grouped()]
        if is_active and warnings:
            return note("module", f"{name} {used} ({versions}), but: {_some(warnings)}")
        return ok("module", f"{name} {used} ({versions})")
    reasons = _some([str(one) for one in verdict.grouped() if one.is_error])
    text = f"{name} does not fit the image ({versions}): {reasons}"
    if is_active:
        advice = "build the image from a newer distribution, or leave the module out: --module=none"
        return problem("module", text, advice)
    return note("module", text, f"programs of this image cannot use --module={name}")


def _some(texts: list[str]) -> str:
    more = len(texts) - _MOST_REASONS
    return "; ".join(texts[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
