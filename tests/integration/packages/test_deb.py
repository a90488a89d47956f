# SPDX-License-Identifier: BSD-3-Clause
"""The .deb packages on a clean Debian: installed, used, upgraded, removed, purged."""

from __future__ import annotations

import re

import pytest

from shifter_runtime import VERSION
from tests.integration.packages.conftest import PACKAGES
from tests.integration.packages.site import USER

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

PROGRAMS = ("shifter", "setupRoot", "unsetupRoot", "shifter-prologue", "shifter-epilogue")
COMMANDS = ("shifterimg", "shifter-admin", "shifter-gateway")
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith(("celery_app", "wsgi", "job.batch.prologue", "__main__")):
            importlib.import_module(module.name)
"""
# Everything of Shifter's that is on the machine, but for what tells what was installed.
TRACES = (
    (
        "find / -xdev ( -path /packages -o -path /tmp -o -path /var/log -o -path /var/cache"
        " -o -path /home ) -prune -o ( -iname '*shifter*' -o -name 'udi*' -o -iname '*setuproot*' )"
        " -not -name 'shifter-*.list' -not -name 'shifter-*.postrm' -print"
    )
    .replace("(", r"\(")
    .replace(")", r"\)")
)


def traces(machine):
    return set(machine.shell(TRACES).splitlines())


def test_installing_starts_nothing_and_decides_nothing(installed):
    started = installed.shell("cat /proc/[0-9]*/comm").split()
    enabled = installed.shell("find /etc/systemd /lib/systemd -type l -name 'shifter*'")
    decided = installed.shell("ls /etc/shifter/*.conf /etc/shifter/*.json 2>/dev/null || true")

    assert set(started) <= {"sleep", "bash", "cat"}
    assert enabled == decided == ""


def test_only_root_can_change_what_is_installed(installed):
    files = status_of_files(installed)

    assert len(files) > 1000
    assert [entry for entry in files if entry[1:3] != ["0", "0"]] == []
    assert [entry for entry in files if int(entry[0], 8) & 0o022 and entry[3][0] != "l"] == []


def test_the_launcher_is_the_only_set_id_program(installed):
    set_id = [entry for entry in status_of_files(installed) if int(entry[0], 8) & 0o7000]

    assert [(mode, path) for mode, *_, path in set_id] == [("4755", "/usr/bin/shifter")]


def status_of_files(machine):
    """Mode, owner, group, type and path of each file that the packages brought."""
    listed = machine.run("dpkg", "-L", *PACKAGES).stdout.split("\n")
    paths = sorted({path for path in listed if path.startswith("/") and path != "/."})
    done = machine.run("stat", "--format=%a %u %g %A %n", *paths)
    return [line.split(maxsplit=4) for line in done.stdout.splitlines()]


def test_what_is_installed_is_what_was_packed(installed):
    assert installed.run("dpkg", "--verify", *PACKAGES).stdout == ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_runtime_answers(installed, program):
    assert VERSION in installed.run(program, "--version").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_answers(installed, command):
    assert installed.run(command, "--help").stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("environment", "packages"),
    [
        ("shifter-client", ["shifter_cli", "shifter_common"]),
        ("shifter-imagegw", ["shifter_imagegw", "shifter_common"]),
    ],
)
def test_every_module_finds_what_it_imports(installed, environment, packages):
    installed.run(f"/usr/lib/{environment}/bin/python", "-I", "-c", IMPORT_ALL, *packages)


def test_commands_write_nothing_beside_their_modules(installed):
    newer = "find /usr/lib/shifter* -newer /var/lib/dpkg/status"

    assert installed.shell(newer) == ""


def test_commands_have_manual_pages_and_completions(built):
    share = built.stage / "usr/share"

    for command in ("shifter", *COMMANDS):
        assert list(share.glob(f"man/man*/{command}.*"))
        assert (share / f"bash-completion/completions/{command}").exists()


def test_the_gateway_says_which_configuration_it_misses(installed):
    done = installed.run("shifter-gateway", "config", "check", check=False)

    assert done.returncode == 1
    assert "/etc/shifter/imagemanager.json" in done.stdout


def test_the_examples_fit_what_is_installed(site):
    assert site.machine.run("shifter-gateway", "config", "check").returncode == 0
    checked = site.machine.run("shifter-admin", "config", "check", check=False)

    assert "/opt/shifter/etc" not in checked.stdout
    assert "does not exist" not in checked.stdout


def test_a_user_runs_an_image_that_was_pulled(site):
    assert re.search(rf"^uid=\d+\({USER}\)", site.launch("id"))
    assert site.launch("cat", "/etc/edition") == "from the registry\n"
    assert "READY" in site.images()


def test_openssh_for_containers_needs_nothing_of_the_machine(installed):
    directory = "/usr/libexec/shifter/opt/udiImage"

    assert "OpenSSH" in installed.run(f"{directory}/bin/ssh", "-V").stdout
    assert installed.run("test", "-x", f"{directory}/sbin/sshd").returncode == 0
    assert installed.run("ldd", f"{directory}/sbin/sshd", check=False).returncode == 1


def test_the_plugin_is_for_one_release_of_slurm(built):
    fields = built.control("shifter-slurm")

    (at_least,) = re.findall(r"slurm-wlm-basic-plugins \(>= (\d+\.\d+)\)", fields)
    (below,) = re.findall(r"slurm-wlm-basic-plugins \(<< (\d+\.\d+)~\)", fields)
    assert float(below) == pytest.approx(float(at_least) + 0.01)


def test_an_upgrade_keeps_configuration_and_catalog(installed, start_site, application, built):
    with installed.copy() as machine:
        machine.lend(built.directory, "/packages")
        site = start_site(machine)
        site.pull()
        before = site.images()
        machine.shell("echo '# ours' >>/etc/shifter/udiRoot.conf")
        machine.shell("echo '# ours' >>/etc/shifter/shifter_etc_files/nsswitch.conf")
        machine.shell(
            "kill $(cat /run/gateway.pid); tail --pid=$(cat /run/gateway.pid) -f /dev/null"
        )

        machine.install(*built.files("deb", 2))

        version = machine.run("dpkg-query", "--show", "--showformat=${Version}", "shifter-runtime")
        assert version.stdout == f"{VERSION}-2"
        for file in ("udiRoot.conf", "shifter_etc_files/nsswitch.conf"):
            assert machine.run("tail", "-n1", f"/etc/shifter/{file}").stdout == "# ours\n"
        site = start_site(machine, configure=False)
        assert before
        assert site.images() == before
        assert site.launch("cat", "/etc/edition") == "from the registry\n"


def test_removing_leaves_configuration_and_purging_leaves_images(site, built):
    with site.machine.copy() as machine:
        machine.run("apt-get", "remove", "--yes", *PACKAGES)

        left = traces(machine)
        assert "/etc/shifter/udiRoot.conf" in left
        assert {
            path for path in left if not path.startswith(("/etc/shifter", "/var/lib/shifter"))
        } == set()
        assert machine.shell("ls -d /var/udiMount /var/loopMount 2>/dev/null || true") == ""

        machine.run("dpkg", "--purge", *PACKAGES)

        assert {path.split("/")[3] for path in traces(machine)} == {"shifter"}
        assert machine.shell("ls /var/lib/shifter/images/*.squashfs").count("\n") == 1
        assert machine.shell("ls /var/lib/shifter/cache/catalog.sqlite")
        assert machine.shell("ls -d /etc/shifter 2>/dev/null || true") == ""
