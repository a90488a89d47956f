# SPDX-License-Identifier: BSD-3-Clause
"""The templates of modules are understood, as they stand and with every line in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shifter_cli.modules.content import INSIDE
from shifter_runtime import config as configs
from shifter_runtime import modules

ETC = Path(__file__).parents[2] / "etc"
EXAMPLE = (ETC / "udiRoot.conf.example").read_text()


@pytest.mark.parametrize("name", ["mpich", "openmpi", "gpu"])
def test_a_template_makes_its_module_active(name):
    template = (ETC / f"modules/{name}.conf").read_text()

    [module] = modules.select([name], configs.parse(EXAMPLE + template, "template"))

    assert module.copy_path == f"/opt/shifter/modules/{name}"
    assert f"LD_LIBRARY_PATH={INSIDE}/{name}/lib" in module.variables.prepend


def test_lines_commented_out_are_understood_too():
    texts = [path.read_text() for path in sorted((ETC / "modules").glob("*.conf"))]
    uncommented = re.sub(r"(?m)^#(\w+ = )", r"\1", "".join(texts))

    config = configs.parse(EXAMPLE + uncommented, "templates")

    assert config.warnings == []
    assert config.modules["mpich"]["conflict"] == ["openmpi"]
    assert config.modules["openmpi"]["conflict"] == ["mpich"]
