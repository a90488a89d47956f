# SPDX-License-Identifier: BSD-3-Clause
"""The .rpm packages, installed by rpm into a Debian: what the packages do, not what they need.

No distribution of RPM's is at hand, so dependencies are looked at and not resolved (--nodeps).
"""

from __future__ import annotations

import subprocess

import pytest

from shifter_runtime import VERSION
from tests.integration.packages.conftest import PACKAGES

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]


@pytest.fixture(scope="module")
def rpm_site(installed, built, application, start_site):
    """A site on a machine that had what the packages need, and no package of ours."""
    with installed.copy() as machine:
        machine.lend(built.directory, "/packages")
        machine.run("apt-get", "purge", "--yes", *PACKAGES)
        machine.install("rpm")
        machine.run("rpm", "--install", "--nodeps", *built.files("rpm"))
        site = start_site(machine)
        site.pull()
        yield site


def query(built, package, *words):
    (path,) = built.directory.glob(f"{package}-{VERSION}-1.*.rpm")
    done = subprocess.run(
        ["rpm", "--query", "--package", *words, path], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_what_rpm_installed_is_what_was_packed(rpm_site):
    verified = rpm_site.machine.run("rpm", "--verify", "--nodeps", *PACKAGES, check=False)

    assert verified.stdout == ""
    assert rpm_site.machine.run("stat", "-c", "%U %a", "/usr/bin/shifter").stdout == "root 4755\n"


def test_a_user_runs_an_image_from_rpm_packages(rpm_site):
    assert rpm_site.launch("cat", "/etc/edition") == "from the registry\n"


def test_rpm_keeps_edited_configuration_and_catalog(rpm_site, built, start_site):
    before = rpm_site.images()
    with rpm_site.machine.copy() as machine:
        machine.lend(built.directory, "/packages")
        edited = "/etc/shifter/shifter_etc_files/nsswitch.conf"
        machine.shell(f"echo '# ours' >>{edited}")

        machine.run("rpm", "--upgrade", "--nodeps", *built.files("rpm", 2))

        assert machine.run("tail", "-n1", edited).stdout == "# ours\n"
        site = start_site(machine, configure=False)
        assert site.images() == before


def test_erasing_leaves_what_a_site_wrote(rpm_site):
    with rpm_site.machine.copy() as machine:
        machine.run("rpm", "--erase", *PACKAGES)

        left = machine.shell("find /usr /etc/shifter -name '*shifter*' -o -name 'udi*'").split()
        assert left == ["/etc/shifter", "/etc/shifter/udiRoot.conf"]
        assert machine.shell("ls /var/lib/shifter/images/*.squashfs").count("\n") == 1


@pytest.mark.parametrize("package", PACKAGES[:-1])
def test_an_rpm_says_which_python_or_slurm_it_is_for(built, package):
    requires = query(built, package, "--requires")

    if package == "shifter-slurm":
        assert [line for line in requires if line.startswith("slurm <")]
    else:
        assert [line for line in requires if line.startswith("python(abi) = 3.")]


def test_the_runtimes_rpm_has_no_other_set_id_file(built):
    listed = query(built, "shifter-runtime", "--queryformat", "[%{FILEMODES:octal} %{FILENAMES}\n]")

    assert [line for line in listed if line.startswith("104")] == ["104755 /usr/bin/shifter"]
