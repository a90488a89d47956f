# SPDX-License-Identifier: BSD-3-Clause
"""Commands for who looks after the gateway, run as they are typed."""

from __future__ import annotations

import json
import os
import stat
import time

import click
import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.command import main
from shifter_imagegw.commands import own_account
from shifter_imagegw.operation import orphans
from shifter_imagegw.process_names import worker_name
from shifter_imagegw.records import NewPull
from tests.unit.shifter_imagegw.conftest import LEASE, make_image

SYSTEM = "cluster"
DEAD = "host.00000000:1:1"


class Site:
    def __init__(self, directory):
        self.image_dir = directory / "images"
        self.config_path = directory / "imagemanager.json"
        self.config = {
            "Authentication": "mock",
            "CacheDirectory": str(directory / "cache"),
            "DefaultImageFormat": "squashfs",
            "DefaultImageLocation": "docker.io",
            "Locations": {"docker.io": {}},
            "Platforms": {SYSTEM: {"imageDir": str(self.image_dir)}},
        }
        for path in (self.image_dir, directory / "cache"):
            path.mkdir()
        self.catalog = SqliteCatalog(directory / "cache/catalog.sqlite")

    def run(self, *arguments, input=None):
        self.config_path.write_text(json.dumps(self.config))
        environment = {"GWCONFIG": str(self.config_path)}
        return CliRunner().invoke(main, arguments, env=environment, input=input)

    def ask_for(self, tag, *, before=0.0):
        new = NewPull(
            system=SYSTEM, image_type="docker", pull_tag=tag, format="squashfs", puller=1001
        )
        return self.catalog.add_pull(new, time.time() - before)

    def claim(self, worker):
        return self.catalog.claim([SYSTEM], worker, LEASE, time.time())

    def store(self, image_id, *, days=0.0):
        path = self.image_dir / f"{image_id}.squashfs"
        path.write_bytes(b"x" * 2048)
        os.utime(path, (time.time() - days * 86400,) * 2)
        return path


@pytest.fixture
def site(tmp_path, process_as_before):
    return Site(tmp_path)


def test_status_says_what_is_missing_and_fails(site):
    site.image_dir.rmdir()

    answer = site.run("status")

    assert answer.exit_code == 1
    assert answer.output.startswith(f"missing: images.{SYSTEM}: ")
    assert answer.output.endswith("not ready\n")


def test_status_counts_records_and_names_workers(site):
    site.ask_for("a:1")
    site.claim(DEAD)
    site.ask_for("b:1", before=1000)

    text, content = site.run("status"), site.run("status", "--json")

    assert text.exit_code == 0
    late, *lines = text.output.splitlines()
    assert late.startswith(f"late: {SYSTEM}: 1 jobs wait for a worker, the oldest for 1000 s")
    assert lines == [
        f"{SYSTEM}: pending=2",
        f"busy: {DEAD}",
        "cache: 0 B of 200.0 GiB",
        "ready",
    ]
    assert json.loads(content.output)["missing"] == {}
    assert json.loads(content.output)["workers"] == [DEAD]


def test_queue_lists_jobs_with_who_asked(site):
    empty = site.run("queue")
    site.ask_for("a:1", before=7200)

    text, content = site.run("queue"), site.run("queue", "--system", SYSTEM, "--json")

    assert empty.output == "nothing waits, runs or has failed\n"
    assert text.output.split() == [
        SYSTEM,
        "pull",
        "PENDING",
        "2",
        "h",
        "uid=1001",
        "attempts=0",
        "docker:a:1",
    ]
    (job,) = json.loads(content.output)
    assert (job["image"], job["uid"], job["state"]) == ("docker:a:1", 1001, "PENDING")
    assert job["kind"] == "pull"


@pytest.mark.parametrize("command", ["queue", "orphans"])
def test_a_system_that_is_not_there_is_said_with_those_that_are(site, command):
    answer = site.run(command, "--system", "other")

    assert answer.exit_code == 1
    assert (
        answer.output
        == f"shifter-gateway: there is no system 'other': Platforms has ['{SYSTEM}']\n"
    )


def test_release_ends_the_lease_of_a_worker_that_is_gone(site):
    site.ask_for("a:1")
    site.claim(DEAD)

    answer = site.run("release", DEAD)

    assert answer.output == "jobs given back: 1\n"
    assert site.claim("other") is not None


def test_release_of_a_worker_that_lives_here_is_refused(site):
    own = worker_name(os.getpid())
    site.ask_for("a:1")
    site.claim(own)

    answer = site.run("release", own)

    assert answer.exit_code == 1
    assert "lives on this host: stop it, and its job goes back" in answer.output


def test_release_of_nobody_is_refused(site):
    answer = site.run("release", "nobody")

    assert answer.exit_code == 1
    assert answer.output.startswith("shifter-gateway: no worker 'nobody' has a job")


def test_orphans_are_listed_and_stay(site):
    old = site.store("a" * 64, days=2)
    site.store("b" * 64)

    text, content = site.run("orphans"), site.run("orphans", "--json")

    assert text.output.splitlines() == [
        f"{SYSTEM} {'a' * 64}.squashfs 2.0 KiB 2 d old (without .meta)",
        f"{SYSTEM}: 1 of 2 images are in no record, 2.0 KiB",
    ]
    (orphan,) = json.loads(content.output)
    assert (orphan["image_id"], orphan["removed"]) == ("a" * 64, False)
    assert old.exists()


@pytest.mark.parametrize(
    ("arguments", "input", "exists"),
    [(["--yes"], None, False), ([], "y\n", False), ([], "n\n", True), ([], "", True)],
)
def test_orphans_are_removed_by_who_means_it(site, monkeypatch, arguments, input, exists):
    monkeypatch.setattr(orphans, "_NOTICED_AFTER", 0)
    orphan, young = site.store("a" * 64, days=2), site.store("b" * 64)

    answer = site.run("orphans", "--remove", *arguments, input=input)

    assert (orphan.exists(), young.exists()) == (exists, True)
    assert answer.exit_code == (1 if exists else 0)
    assert (f"{SYSTEM}: removed 1 images, 2.0 KiB" in answer.output) is not exists


def test_ready_images_are_no_orphans_however_old(site, monkeypatch):
    monkeypatch.setattr(orphans, "_NOTICED_AFTER", 0)
    site.ask_for("a:1")
    image = make_image("a")
    site.catalog.publish(site.claim("worker"), image, time.time())
    path = site.store(image.image_id, days=1000)

    site.run("orphans", "--remove", "--yes")

    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--older-than", "0.5"], "--older-than must be 1 or more with --remove"),
        (["--json"], "--remove with --json needs --yes"),
    ],
)
def test_a_removal_that_may_hit_the_wrong_image_is_refused(site, arguments, reason):
    path = site.store("a" * 64, days=2)

    answer = site.run("orphans", "--remove", *arguments)

    assert answer.exit_code == 1
    assert reason in answer.output
    assert path.exists()


def test_the_cache_is_measured_and_trimmed_to_its_bound(site, tmp_path):
    site.config["CacheSize"] = 2048
    blobs = tmp_path / "cache/sha256"
    blobs.mkdir()
    for letter in "ab":
        (blobs / (letter * 64)).write_bytes(b"x" * 2048)
    os.utime(blobs / ("a" * 64), (1, 1))

    measured, trimmed = site.run("cache"), site.run("cache", "--trim")

    assert measured.output == f"{tmp_path}/cache: 2 blobs, 4.0 KiB of 2.0 KiB\n"
    assert trimmed.output.splitlines() == [
        "removed 1 blobs, 2.0 KiB",
        f"{tmp_path}/cache: 1 blobs, 2.0 KiB of 2.0 KiB",
    ]
    assert [path.name for path in blobs.iterdir()] == ["b" * 64]
    assert json.loads(site.run("cache", "--json").output)["bytes"] == 2048


def test_metrics_are_printed_for_hosts_without_an_api(site):
    answer = site.run("metrics")

    assert answer.exit_code == 0
    assert "shifter_catalog_up 1\n" in answer.output


def test_a_key_is_new_each_time_and_seals():
    keys = [CliRunner().invoke(main, ["key"]).output for _ in range(2)]

    assert keys[0] != keys[1]
    assert Fernet(keys[0].strip()).encrypt(b"x")


def test_a_key_is_written_for_its_owner_alone_and_never_over_another(tmp_path):
    path = tmp_path / "gateway.key"

    first = CliRunner().invoke(main, ["key", "--write", str(path)])
    key = path.read_text()
    second = CliRunner().invoke(main, ["key", "--write", str(path)])

    assert (first.exit_code, first.output) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Fernet(key.strip())
    assert second.exit_code == 1
    assert "is there already" in second.output
    assert path.read_text() == key


def test_a_key_that_cannot_be_written_is_said_in_words(tmp_path):
    answer = CliRunner().invoke(main, ["key", "--write", str(tmp_path / "none/key")])

    assert (
        answer.output
        == f"shifter-gateway: cannot write '{tmp_path}/none/key': No such file or directory\n"
    )


def test_a_check_says_what_the_configuration_means(site):
    site.config |= {
        "MongoDBURI": "mongodb://u:m0ngo-secret@db",
        "MongoDB": "Shifter",
        "Broker": "redis://:br0ker-secret@b",
    }
    site.config["Platforms"]["far"] = {
        "accesstype": "remote",
        "host": ["h1", "h2"],
        "ssh": {"imageDir": "/far", "username": "shifter"},
    }

    text, content = site.run("config", "check"), site.run("config", "check", "--json")

    assert text.exit_code == 0
    assert "catalog: MongoDB, database 'Shifter'" in text.output
    assert "broker: Redis" in text.output
    assert "web page: wherever the gateway is reached; before a login it shows nothing" in (
        text.output
    )
    assert (
        "systems: far in /far by ssh on the first that answers of shifter@h1, shifter@h2"
        in text.output
    )
    assert text.output.endswith(f"{site.config_path}: good (systems: 2, locations: 1)\n")
    assert len(json.loads(content.output)["systems"]) == 2
    assert "secret" not in text.output + content.output


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"DefaultImageFormat": "cramfs"}, "DefaultImageFormat: "),
        (
            {"ConverterOptions": {"squashfs": ["-nosuchoption"]}},
            "ConverterOptions.squashfs: '-nosuch",
        ),
        ({"ConverterOptions": {"tape": []}}, "ConverterOptions: "),
        ({"KeyFile": "/nowhere/key"}, "KeyFile '/nowhere/key' is not there: 'shifter-gateway key"),
    ],
)
def test_a_check_refuses_what_no_pull_could_do(site, changes, reason):
    site.config |= changes

    answer = site.run("config", "check")

    assert answer.exit_code == 1
    assert answer.output.startswith(f"shifter-gateway: {site.config_path}: {reason}")


def test_a_check_warns_of_what_is_not_there_yet(site, tmp_path, caplog):
    site.image_dir.rmdir()
    system = site.config["Platforms"][SYSTEM]
    system |= {"mungeSocketPath": str(tmp_path / "none"), "admins": ["root", "no-such-user"]}
    site.config["Authentication"] = "munge"

    answer = site.run("config", "check")

    assert answer.exit_code == 0
    directory, munge, admin = [record.getMessage() for record in caplog.records]
    assert directory.endswith("is no directory: create it, owned by the gateway's account")
    assert munge.endswith(f"mungeSocketPath: no munge daemon listens at '{tmp_path}/none'")
    assert admin == f"Platforms.{SYSTEM}.admins: there is no user 'no-such-user' on this host"


def test_a_check_of_json_is_json_alone(site):
    site.config["Platforms"][SYSTEM]["admins"] = ["no-such-user"]

    answer = site.run("config", "check", "--json")

    assert json.loads(answer.stdout)["catalog"].startswith("SQLite file ")


def test_a_check_refuses_an_examiner_that_cannot_be_run(site, tmp_path):
    examiner = tmp_path / "examine"
    examiner.touch(mode=0o644)
    site.config["examiner"] = str(examiner)

    answer = site.run("config", "check")

    assert answer.exit_code == 1
    assert answer.output.endswith("is not executable, so every pull would fail\n")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_each_command_has_help_that_says_what_it_does(name):
    answer = CliRunner().invoke(main, [name, "--help"])

    assert answer.exit_code == 0
    assert answer.output.splitlines()[2].strip()


COMMANDS = [name for name, found in main.commands.items() if not isinstance(found, click.Group)]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example(name):
    answer = CliRunner().invoke(main, [name, "--help"])

    example = answer.output.partition("\n  Example")[2]
    assert f"shifter-gateway {name}" in example


@pytest.fixture
def another_user(monkeypatch):
    monkeypatch.setattr(own_account, "elsewhere", lambda _: "shifter")


def test_a_check_by_another_user_blames_nobody_for_what_that_one_may_not(
    site, another_user, caplog
):
    site.image_dir.rmdir()

    answer = site.run("config", "check")

    (warning,) = caplog.messages
    assert (answer.exit_code, "gateway's account (shifter)" in warning) == (0, True)


@pytest.mark.parametrize(
    "command", ["status", "queue", "orphans", "cache", "metrics", "gc --yes", "index rebuild"]
)
def test_another_user_is_told_who_may(site, another_user, command):
    answer = site.run(*command.split())

    assert answer.exit_code == 1
    assert answer.output == (
        "shifter-gateway: only root and the gateway's account (shifter) may do this: run it by "
        "sudo\n"
    )
