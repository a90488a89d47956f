# SPDX-License-Identifier: BSD-3-Clause
"""All that is wrong or odd in a udiRoot.conf, and what it names that this node does not have."""

from __future__ import annotations

import os
import socket

import pytest

from shifter_runtime import config


@pytest.fixture
def site(tmp_path):
    """`site(more)`: errors and warnings of a file that is fine, but for these lines."""
    for name in ("images", "shifter/bin", "caches"):
        (tmp_path / name).mkdir(parents=True)
    program = tmp_path / "shifter/bin/shifterimg"
    program.write_text("")
    program.chmod(0o755)

    def site(*lines: str, without: str = "") -> tuple[list[str], list[str]]:
        usual = {
            "udiMount": "/var/udiMount",
            "loopMount": "/var/loopMount",
            "imagePath": tmp_path / "images",
            "udiRootPath": tmp_path / "shifter",
            "populateEtcDynamically": 1,
            "allowLibcPwdCalls": 1,
            "imageGateway": "http://gateway:5000",
            "system": "cluster",
        }
        start = [f"{key} = {value}" for key, value in usual.items() if key != without]
        path = "/no/such/udiRoot.conf"
        found = config.findings("\n".join([*start, *lines]) + "\n", path)
        texts = [[], []]
        for finding in found:
            texts[finding.is_error].append(str(finding).removeprefix(f"{path}: "))
        return texts[True], texts[False]

    return site


def test_a_file_that_is_fine_has_no_findings(site):
    assert site() == ([], [])


def test_every_mistake_is_found_not_only_the_first(site):
    errors, warnings = site(
        *("maxGroupCount = many", "gatewayTimeout = soon", "sysem = x", "cpPath = /none"),
        *("siteFs = /none", "siteFs = /home:/etc", "module_x_enabled = yes", "rootfs = 1"),
    )

    assert errors == [
        "line 9: maxGroupCount must be a number, not 'many'",
        "line 10: gatewayTimeout must be a number of seconds, not 'soon'",
        "line 13: siteFs: /none: No such file or directory",
        "line 14: siteFs '/home:/etc': cannot mount over /etc (reserved by Shifter)",
        "line 15: module_x_enabled must be 0 or 1, not 'yes'",
    ]
    assert warnings == [
        "line 11: unknown key 'sysem' ignored, did you mean system?",
        "line 16: unknown key 'rootfs' ignored",
    ]


def test_a_key_that_is_missing_is_about_all_of_the_file(site):
    errors, _ = site(without="imagePath")

    assert errors == [
        "imagePath is not set: the directory in which the gateway puts image files and their "
        ".meta files"
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("optUdiImage = /none", "optUdiImage: /none: No such file or directory"),
        ("optUdiImage = /etc/passwd", "optUdiImage: /etc/passwd is not a directory"),
        ("perNodeCachePath = /none", "perNodeCachePath: /none: No such file or directory"),
        ("sitePreMountHook = /none", "sitePreMountHook: cannot open /none: No such file"),
        ("module_x_roothook = /none", "module_x_roothook: cannot open /none: No such file"),
        ("module_x_copyPath = /etc/passwd", "module_x_copyPath: cannot open /etc/passwd: Not a"),
        ("module_x_siteFs = /none", "module_x_siteFs: /none: No such file or directory"),
        ("siteFs = /x:/y:perNodeCache=size=1G", "siteFs: perNodeCache needs perNodeCachePath"),
        ("defaultModules = nosuch", "defaultModules: unknown module 'nosuch'; this site offers"),
        ("usersToImport = nosuchuser", "usersToImport: the node's name service does not know"),
        ("imageOwners = nosuchuser 99", "imageOwners: the node's name service does not know"),
        ("imageGateway = gateway:5000", "imageGateway: 'gateway:5000' is no URL"),
        ("mungeSocketPath = /etc/passwd", "mungeSocketPath: /etc/passwd is not a socket"),
        ("etcPath = /none\nallowLibcPwdCalls = 0", "etcPath: /none: No such file or directory"),
    ],
)
def test_what_a_launch_would_fail_for_is_an_error(site, line, error):
    errors, _ = site(line)

    assert len(errors) == 1
    assert errors[0].startswith(f"line 9: {error}")


@pytest.mark.parametrize("wrong", ["/home:/etc/passwd", "home:/home", "/home:/etc"])
def test_of_several_lines_the_one_with_the_wrong_volume_is_named(site, wrong):
    errors, _ = site("siteFs = /home:/home", f"siteFs = /usr:/usr2;{wrong}")

    assert [error.partition(": ")[0] for error in errors] == ["line 10"]


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("siteFs = /etc:/a;/etc:/a", "siteFs: /a is mounted twice, and the last counts"),
        ("siteFs = /etc:/a/b;/etc:/a", "siteFs: /a/b is hidden by /a, which is mounted later"),
        ("module_x_conflict = y", "module_x_conflict: there is no module 'y'"),
        ("perNodeCacheSizeLimit = 1G", "perNodeCacheSizeLimit has no effect, because"),
        ("rootfsType = ramfs", "rootfsType = ramfs cannot be had, because the root is an overlay"),
        ("kmodBasePath = /x", "kmodBasePath is deprecated and ignored"),
        ("module_none_siteEnv = A=1", "unknown key 'module_none_siteEnv' ignored: a module's name"),
        ("module_a/b_siteEnv = A=1", "unknown key 'module_a/b_siteEnv' ignored: a module's name"),
    ],
)
def test_what_a_launch_would_survive_is_a_warning(site, line, warning):
    errors, warnings = site(line)

    assert errors == []
    assert len(warnings) == 1
    assert warnings[0].startswith(f"line 9: {warning}")


def test_the_system_must_be_named_where_a_gateway_is(site):
    assert site(without="system")[0] == [
        "system is not set: the gateway would not know this cluster"
    ]


def test_a_gateway_cannot_be_asked_without_the_program_that_asks(site, tmp_path):
    (tmp_path / "shifter/bin/shifterimg").chmod(0o644)

    (error,) = site()[0]

    assert error == f"line 4: udiRootPath: {tmp_path}/shifter/bin/shifterimg is not executable"


def test_an_image_directory_that_everybody_can_write_is_an_error(site, tmp_path):
    (tmp_path / "images").chmod(0o1777)

    assert site()[0] == [f"line 3: imagePath: {tmp_path}/images is writable by everybody"]


def test_the_socket_of_munge_is_looked_at(site, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/socket")

        assert site(f"mungeSocketPath = {tmp_path}/socket") == ([], [])


def test_a_program_that_makes_caches_must_be_one(site, tmp_path):
    errors, _ = site(f"perNodeCachePath = {tmp_path}/caches", "mkfsXfsPath = /etc/passwd")

    assert errors == ["line 10: mkfsXfsPath: /etc/passwd is not executable"]


def test_what_only_root_can_see_is_said_to_be_so(monkeypatch, site):
    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", denied)

    errors, warnings = site(without="imageGateway")

    assert errors == []
    assert any("only root can see whether there is" in warning for warning in warnings)


def test_a_file_that_exists_must_be_roots(tmp_path):
    path = tmp_path / "udiRoot.conf"
    path.write_text("")
    path.chmod(0o666)

    assert any(
        finding.is_error and not finding.line and "so Shifter cannot rely on it" in finding.text
        for finding in config.findings("", str(path))
    )


def test_nothing_that_a_file_can_hold_breaks_the_search():
    for text in (
        "\0",
        "=\n",
        "module_\n",
        "module__=\n",
        "siteFs=;;;\n",
        "a\\\n" * 100,
        "é=\udce9\n",
    ):
        config.findings(text, "udiRoot.conf")
