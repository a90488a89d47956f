# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin check` on an installed node with real munge, gateway, registry and plugin."""

from __future__ import annotations

import json

import pytest

from tests.integration.runtime.node import ALICE

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]


@pytest.fixture
def matters(admin):
    """What `check --json` finds, by name, and its exit status."""

    def find(*arguments, **options):
        result = admin("check", "--json", *arguments, **options)
        rows = json.loads(result.stdout)["matters"]
        return result.returncode, {row["name"].partition(" ")[0]: row for row in rows}, rows

    return find


def not_well(rows):
    return [f"{row['name']}: {row['text']}" for row in rows if row["state"] in ("wrong", "warning")]


def test_a_node_that_has_all_it_needs_is_well(matters, site, tmp_path):
    (tmp_path / "slurm.conf").touch()
    plugin = site.prefix / "lib64/shifter/shifter_slurm.so"
    (tmp_path / "plugstack.conf").write_text(f"required {plugin}\n")
    environment = {"PATH": "/usr/sbin:/usr/bin", "SLURM_CONF": str(tmp_path / "slurm.conf")}

    code, found, rows = matters("--node", env=environment)

    ours = [row for row in rows if row["group"] != "Kernel"]  # that is the machine's
    assert not_well(ours) == []
    assert found["launcher"]["text"].startswith(f"{site.launcher} is set-uid root; shifter")
    assert "which is here" in found["plugin"]["text"]
    assert found["loop_free"]["state"] == "ok"
    assert found["munge"]["state"] == "ok"
    texts = [row["text"] for row in rows if row["group"] == "Image gateways"]
    assert texts == [
        "answers, and is ready",
        "its clock agrees with this node's",
        "knows system 'cluster', and accepts credentials of this node",
    ]
    assert {found[name]["state"] for name in ("overlay", "squashfs", "openat2", "mount_setattr")} \
        == {"ok"}  # fmt: skip
    assert code in (0, 1, 2)


def test_a_host_of_the_gateway_is_looked_at_by_its_own_program(matters, admin_gateway):
    code, found, rows = matters("--gateway")

    assert [row for row in rows if row["state"] == "wrong"] == []
    assert {row["group"].partition(": ")[2] for row in rows} == {
        "imagemanager.json", "servers", "registries", "disks", "programs",
    }  # fmt: skip
    assert found["catalog"]["state"] == found["munge.cluster"]["state"] == "ok"
    assert found["gateway"]["text"] == "shifter-gateway serve runs on this host"
    locations = [row["text"] for row in rows if row["group"].endswith("registries")]
    assert all(text.endswith("answers") for text in locations)


def test_a_user_is_told_what_only_root_can_see(matters, site):
    _, found, rows = matters("--node", user=ALICE, group=ALICE, extra_groups=())

    assert found["loop_free"]["state"] == "skipped"
    assert not [row for row in rows if row["state"] == "wrong" and row["group"] == "Installation"]


def test_what_is_spoilt_is_found(matters, site, munged, admin_gateway):
    program = site.prefix / "sbin/unsetupRoot"
    mode = program.stat().st_mode
    site.launcher.chmod(0o755)
    program.chmod(0o777)
    site.configure(
        system="nosuch", imageGateway=admin_gateway.url, mungeSocketPath=munged, gatewayTimeout=20
    )
    try:
        code, found, rows = matters("--node")
    finally:
        site.launcher.chmod(0o4755)
        program.chmod(mode)

    assert code == 1
    assert "is not set-uid root" in found["launcher"]["text"]
    assert found["sbin/unsetupRoot"]["state"] == "wrong"
    assert any("does not serve a system 'nosuch'" in text for text in not_well(rows))


def test_a_munge_key_of_another_site_is_found_out(matters, site, admin_gateway, run_munged):
    with run_munged() as elsewhere:
        site.configure(
            system="cluster", imageGateway=admin_gateway.url, mungeSocketPath=elsewhere,
            gatewayTimeout=20,
        )  # fmt: skip
        _, found, rows = matters("--node")

    assert found["munge"]["state"] == "ok"  # by itself it works
    assert any("need the same munge.key" in text for text in not_well(rows))


def test_a_gateway_s_host_that_lacks_its_directories_is_found_out(matters, site, tmp_path):
    content = json.loads((site.prefix / "etc/imagemanager.json").read_text())
    content["CacheDirectory"] = str(tmp_path / "cache")
    content["Locations"] = {"gone": {"url": "http://127.0.0.1:1"}}
    content["DefaultImageLocation"] = "gone"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))

    code, found, rows = matters("--gateway", "--gateway-config", str(other))

    assert code == 1
    assert "127.0.0.1:1 cannot be reached" in found["Locations.gone"]["text"]


def test_people_read_it_in_80_columns(admin):
    result = admin("check", "--node", env={"PATH": "/usr/sbin:/usr/bin", "COLUMNS": "80"})

    lines = result.stdout.splitlines()
    assert {"udiRoot.conf", "Installation", "Kernel", "Loop devices", "munge"} <= {*lines}
    # What cannot be broken (paths) may be longer.
    assert max(len(line) for line in lines if "/opt/" not in line) <= 80


def test_config_show_hands_over_to_the_gateway(admin, admin_gateway):
    result = admin("config", "show", "--gateway", "--set", "--json")

    assert result.returncode == 0
    assert json.loads(result.stdout)["Metrics"] is True
