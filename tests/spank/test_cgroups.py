# SPDX-License-Identifier: BSD-3-Clause
"""memory_cgroup: what is started for a job outside of its steps is counted, and ended with it."""

from __future__ import annotations

import secrets
import subprocess

import pytest

from tests.spank.jobs import ENVIRONMENT, JOB, UID, prolog
from tests.spank.mock import Script

pytestmark = pytest.mark.root

GROUP = f"shifter/uid_{UID}/job_{JOB}"


@pytest.fixture(params=["cgroup:memory", "cgroup2"])
def hierarchy(request, site):
    """The type of a hierarchy, where it will be mounted, and a group there of the test's own."""
    kind, _, options = request.param.partition(":")
    mounted = site.directory / "hierarchy"
    mounted.mkdir()
    group = mounted / f"spank-{secrets.token_hex(4)}"
    yield request.param, mounted, group
    # A group outlives the mount, where the plugin did not remove what is in it.
    remove = f"mount -t {kind} -o {options or 'rw'} none {mounted}; test ! -e {group} || "
    remove += f"find {group} -depth -type d -exec rmdir {{}} +"
    subprocess.run(["unshare", "--mount", "sh", "-ec", remove], check=True)


def around_a_job(site, hierarchy):
    """Prolog and epilog; programs see the hierarchy, which only their processes have mounted."""
    kind, mounted, group = hierarchy
    seen = site.directory / "seen"
    site.setup_root(
        f"cat /proc/self/cgroup >{seen}; trap '' TERM; sleep 300 & echo $! >{seen}.pid; exit 0"
    )
    site.unsetup_root(
        f"find {group}/shifter -mindepth 1 -type d >{seen}.left; rmdir {group}/shifter {group}; "
        f"grep ^State: /proc/$(cat {seen}.pid)/status >{seen}.state; exit 0"
    )
    script = Script("error").add("mount", str(mounted), kind).add("directory", str(group))
    return script.extend(prolog(f"memory_cgroup={group}", hooks=("job_prolog", "job_epilog")))


def test_what_setup_root_starts_is_in_the_job_s_group_and_gone_with_it(site, hierarchy):
    seen = site.run(around_a_job(site, hierarchy), environment=ENVIRONMENT).require_sound()

    assert {value for _, value in seen.of("return")} == {"0"}
    assert f"{hierarchy[2].name}/{GROUP}\n" in (site.directory / "seen").read_text()
    assert (site.directory / "seen.left").read_text() == ""
    # Nobody may have waited for it yet.
    assert (site.directory / "seen.state").read_text() in ("", "State:\tZ (zombie)\n")


@pytest.mark.parametrize("place", ["/nonexistent", "/proc", "/dev/null", "", "x" * 5000, "/sys"])
def test_a_hierarchy_that_is_none_is_told_and_the_container_made(site, place):
    site.setup_root(site.log_call())
    site.unsetup_root("exit 0")
    script = prolog(f"memory_cgroup={place}", hooks=("job_prolog", "job_epilog"))

    seen = site.run(script, environment=ENVIRONMENT, seconds=20).require_sound()

    assert {value for _, value in seen.of("return")} == {"0"}
    assert len(site.calls()) == 1
    assert seen.said() or not place
