# SPDX-License-Identifier: BSD-3-Clause
"""What the packages hand to others on the machine: to systemd, to Slurm."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.root

UNITS = ("shifter-gateway", "shifter-imagegw-api", "shifter-imagegw-worker@mycluster")
EXPOSURE = "25"  # of 100, as systemd counts: 2.5 of 10 is what it calls OK


@pytest.fixture(scope="module")
def with_systemd(installed):
    with installed.copy() as machine:
        machine.install("systemd")
        yield machine


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_with_a_unit(with_systemd, unit):
    done = with_systemd.run("systemd-analyze", "verify", "--man=no", f"{unit}.service", check=False)

    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_exposes_little(with_systemd, unit):
    offline = ("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}")

    done = with_systemd.run(*offline, "--no-pager", f"{unit}.service", check=False)

    assert done.returncode == 0, done.stdout


def test_units_say_only_where_packages_put_things(with_systemd):
    text = with_systemd.shell("cat /usr/lib/systemd/system/shifter-*.service")

    assert "/opt" not in text
    assert "# Once" not in text
    assert text.count("/usr/bin/shifter-gateway ") == 4
    assert text.count("/usr/lib/shifter-imagegw/bin/celery ") == 1


def test_mount_points_come_with_each_boot(with_systemd):
    with_systemd.shell("rmdir /var/udiMount /var/loopMount")

    with_systemd.run("systemd-tmpfiles", "--create", "shifter.conf")

    made = with_systemd.run("stat", "--format=%U %a", "/var/udiMount", "/var/loopMount").stdout
    assert made == "root 755\nroot 755\n"


def test_a_packaged_worker_can_start(installed):
    celery = "/usr/lib/shifter-imagegw/bin/celery"

    assert "Usage: celery" in installed.run(celery, "worker", "--help").stdout


@pytest.fixture(scope="module")
def with_slurm(installed):
    with installed.copy() as machine:
        machine.install("slurm-client")
        machine.shell("echo ClusterName=test >/etc/slurm/slurm.conf")
        machine.shell("echo SlurmctldHost=localhost >>/etc/slurm/slurm.conf")
        machine.run("cp", "/etc/shifter/slurm/plugstack.conf.example", "/etc/slurm/plugstack.conf")
        yield machine


def test_the_slurm_of_the_distribution_loads_the_plugin(with_slurm):
    helped = with_slurm.run("srun", "--help").stdout

    assert "--image=" in helped
    assert "--volume=" in helped
