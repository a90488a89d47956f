# SPDX-License-Identifier: BSD-3-Clause
"""What is loaded into slurmd and srun: what it shows, what it needs, and how it is protected."""

from __future__ import annotations

import re
import subprocess

import pytest

pytestmark = pytest.mark.root

HOOKS = {
    *("init", "init_post_opt", "local_user_init", "job_prolog", "user_init", "task_init"),
    *("task_init_privileged", "task_post_fork", "task_exit", "job_epilog", "slurmd_exit", "exit"),
}
DATA = {"plugin_name", "plugin_type", "plugin_version", "spank_plugin_version"}

# What <slurm/spank.h> declares, and every release of Slurm has.
OF_SLURM = re.compile(
    r"spank_(option_(register|getopt)|remote|context|get_item|(job_control_)?(un)?setenv|strerror"
    r"|(job_control_)?getenv|symbol_supported)|slurm_(error|spank_log|info|verbose|debug[23]?)"
)

# Each ends the process that loaded the plugin, changes all of it, or starts a shell.
FORBIDDEN = re.compile(
    r"_?exit|_Exit|quick_exit|abort|raise|signal|sigaction|sigset|system|popen|wordexp|err|errx"
    r"|verr|verrx|__assert_fail|alarm|setlocale|chroot|umask|atexit|__cxa_atexit|pthread_atfork"
    r"|gets|strcpy|strcat|sprintf|vsprintf|strtok|alloca|mktemp|tmpnam"
)
ALLOWED_IN_A_CHILD = {"_exit", "sigaction", "signal", "umask"}


def symbols(plugin, *options):
    listing = subprocess.run(
        ["nm", "-D", *options, plugin], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return {line.split()[-1].partition("@")[0] for line in listing.splitlines()}


def readelf(plugin, *options):
    return subprocess.run(
        ["readelf", "-W", *options, plugin], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_only_what_slurm_looks_for_is_exported(installed_plugin):
    exported = symbols(installed_plugin, "--defined-only")

    assert exported >= DATA
    assert {name.removeprefix("slurm_spank_") for name in exported - DATA} <= HOOKS
    assert "slurm_spank_init" in exported


def test_nothing_is_needed_that_slurm_and_the_c_library_lack(installed_plugin):
    undefined = symbols(installed_plugin, "--undefined-only")
    weak = {"__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable"} | {
        "_ITM_registerTMCloneTable"
    }
    needed = {name for name in undefined - weak if not OF_SLURM.fullmatch(name)}
    versioned = subprocess.run(
        ["nm", "-D", "--undefined-only", installed_plugin], stdout=subprocess.PIPE, text=True
    ).stdout
    of_libc = set(re.findall(r"U (\w+)@GLIBC_", versioned))

    assert needed <= of_libc
    assert re.findall(r"NEEDED.*\[(.*)\]", readelf(installed_plugin, "-d")) == ["libc.so.6"]


def test_what_is_called_of_slurm_is_there_in_the_slurm_of_this_machine(installed_plugin):
    of_slurm = {name for name in symbols(installed_plugin, "-u") if OF_SLURM.fullmatch(name)}
    library = next(
        line.split(" => ")[1].split()[0]
        for line in subprocess.run(
            ["ldd", "/usr/sbin/slurmstepd"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()
        if "libslurm" in line
    )

    assert of_slurm
    assert of_slurm <= symbols(library, "--defined-only")


def test_the_process_that_loads_it_is_not_ended_nor_changed(installed_plugin):
    undefined = symbols(installed_plugin, "--undefined-only")

    assert {name for name in undefined if FORBIDDEN.fullmatch(name)} <= ALLOWED_IN_A_CHILD


def test_it_is_hardened(installed_plugin):
    dynamic, headers = readelf(installed_plugin, "-d"), readelf(installed_plugin, "-l")

    assert "BIND_NOW" in dynamic or "NOW" in dynamic
    assert "GNU_RELRO" in headers
    assert re.search(r"GNU_STACK +\S+ \S+ \S+ \S+ \S+ RW ", headers)
    assert not re.search(r"LOAD .* RWE ", headers)
    assert not re.search(r"R(UN)?PATH|TEXTREL", dynamic)
    assert "__stack_chk_fail" in symbols(installed_plugin, "-u")


def test_it_is_of_the_release_that_it_was_built_for(installed_plugin, make_site):
    from tests.spank.mock import Script

    seen = make_site(installed_plugin).run(Script("slurmd").add("hook", "init"))

    assert seen.require_sound().returned("init") == 0
