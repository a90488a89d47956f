# SPDX-License-Identifier: BSD-3-Clause
"""Which modules are active: what was chosen, what the site offers, what cannot be together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shifter_runtime import config, modules
from shifter_runtime.errors import ConfigError, UsageError, VolumeError

LEAST = """\
udiMount=/var/udiMount
loopMount=/var/loopMount
imagePath=/images
udiRootPath=/opt/shifter
populateEtcDynamically=1
module_mpich_siteEnv=MPI=mpich
module_gpu_copyPath=/opt/gpu
module_openmpi_conflict=mpich,other
module_off_enabled=0
"""


def select(names: list[str] | None, more: str = "") -> list[str]:
    return [module.name for module in modules.select(names, config.parse(LEAST + more, "conf"))]


def refusal(names: list[str] | None, more: str = "") -> str:
    with pytest.raises(UsageError) as raised:
        select(names, more)
    return str(raised.value)


def test_none_are_active_where_nobody_names_any():
    assert select(None) == []
    assert select([]) == []


def test_those_chosen_replace_the_default_in_the_order_given():
    assert select(None, "defaultModules=mpich gpu") == ["mpich", "gpu"]
    assert select(["gpu", "mpich"], "defaultModules=openmpi") == ["gpu", "mpich"]


@pytest.mark.parametrize("names", [["none"], ["none", "none"], []])
def test_the_default_can_be_kept_out(names):
    assert select(names, "defaultModules=mpich") == []
    assert select(None, "defaultModules=none") == []


def test_a_name_given_twice_counts_once():
    assert select(["gpu", "mpich", "gpu"]) == ["gpu", "mpich"]


@pytest.mark.parametrize("names", [["mpich", "openmpi"], ["openmpi", "gpu", "mpich"]])
def test_conflicts_hold_whichever_of_both_names_the_other(names):
    first, second = names[0], names[-1]

    assert (
        refusal(names) == f"modules {first!r} and {second!r} exclude each other: choose one of them"
    )


def test_a_module_that_conflicts_with_itself_or_with_what_is_not_active_is_fine():
    assert select(["x"], "module_x_conflict=x mpich\n") == ["x"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["mpic"],
            "unknown module 'mpic', did you mean 'mpich'? this site offers gpu, mpich, openmpi",
        ),
        (["xyzzy"], "unknown module 'xyzzy'; this site offers gpu, mpich, openmpi"),
        (["off"], "module 'off' is not enabled on this site; this site offers gpu, mpich, openmpi"),
        (["gpu", ""], "unknown module ''; this site offers gpu, mpich, openmpi"),
        (["../gpu"], "unknown module '../gpu'; this site offers gpu, mpich, openmpi"),
        (
            ["gpu", "none"],
            "module 'none' means no modules at all, so it cannot stand beside others: 'gpu,none'",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(names, message):
    assert refusal(names) == message


def test_an_endless_name_costs_no_endless_search():
    assert "unknown module" in refusal(["x" * 1_000_000])


def test_a_site_without_modules_says_so():
    site = config.parse(
        "".join(line for line in LEAST.splitlines(True) if "module" not in line), "c"
    )

    with pytest.raises(UsageError, match="unknown module 'gpu'; this site offers none"):
        modules.select(["gpu"], site)


def test_a_mistake_in_the_default_is_the_site_s_not_the_user_s():
    with pytest.raises(ConfigError, match="^conf: defaultModules: unknown module 'nosuch'"):
        select(None, "defaultModules=nosuch")


def test_a_module_says_all_that_its_keys_say():
    site = config.parse(
        LEAST + "module_x_siteFs=/a:/b:ro;/c\nmodule_x_siteFs=/d\nmodule_x_siteEnv=A=1 B=2\n"
        "module_x_siteEnv=C=3\nmodule_x_siteEnvAppend=L=1\nmodule_x_siteEnvPrepend=L=0\n"
        "module_x_siteEnvUnset=Z\nmodule_x_roothook=/r//hook\nmodule_x_userhook=/u\n"
        "module_x_copyPath=/old\nmodule_x_copyPath=/new/\nmodule_x_enabled=1\n",
        "conf",
    )

    (module,) = modules.select(["x"], site)

    assert [str(volume) for volume in module.site_fs] == ["/a:/b:ro", "/c:/c", "/d:/d"]
    assert module.variables.assign == ["A=1", "B=2", "C=3"]
    assert (module.variables.append, module.variables.prepend) == (["L=1"], ["L=0"])
    assert module.variables.unset == ["Z"]
    assert (module.root_hook, module.user_hook, module.copy_path) == ("/r/hook", "/u", "/new")


def test_a_directory_of_a_module_that_cannot_be_mounted_is_named():
    with pytest.raises(VolumeError, match="cannot mount over /etc"):
        select(["x"], "module_x_siteFs=/a:/etc\n")


def test_a_plain_launch_loads_nothing_of_modules_and_hooks():
    """Each module of Python costs every rank of every job."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import shifter_runtime.main"
    show = "; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-B", "-c", code + show, str(Path(__file__).parents[3])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    loaded = {name.removeprefix("shifter_runtime.") for name in done.stdout.split()}

    assert "config_keys" in loaded
    assert not loaded & {
        *("modules", "hooks", "plan_site", "spelling", "config_findings"),
        *("operations.hook", "operations.module"),
    }
