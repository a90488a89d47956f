# SPDX-License-Identifier: BSD-3-Clause
"""Where modules go that nobody says a place for."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter_cli.administration import module_work


@pytest.mark.parametrize(
    ("installed", "modules"),
    [("/opt/tools/shifter", "/opt/tools/shifter/modules"), ("/usr", "/opt/shifter/modules")],
)
def test_modules_are_made_beside_the_installation_but_not_in_the_systems_usr(installed, modules):
    assert module_work._modules_of(Path(installed)) == Path(modules)
