# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from shifter_imagegw import config
from shifter_imagegw.config import (
    AccessType,
    Authentication,
    AuthMethod,
    GatewayConfig,
    GroupSource,
    LimitsConfig,
    LocationConfig,
    LogFormat,
    MongoConfig,
    SshConfig,
    SystemConfig,
)
from shifter_imagegw.errors import ConfigError

GIB = 1 << 30

# As a site of the original has it, with every key that its manual names.
OLD_FILE: dict[str, object] = {
    "DefaultImageLocation": "registry-1.docker.io",
    "DefaultImageFormat": "squashfs",
    "PullUpdateTimeout": 300,
    "ImageExpirationTimeout": "90:00:00:00",
    "MongoDBURI": "mongodb://shifter:hunter2@db1,db2/?replicaSet=rs0",
    "MongoDB": "Shifter",
    "Broker": "redis://:hunter2@broker/",
    "CacheDirectory": "/images/cache/",
    "ExpandDirectory": "/images/expand/",
    "DefaultLustreReplication": 1,
    "DefaultOstCount": 1,
    "WorkerThreads": 4,
    "LogLevel": "warn",
    "Authentication": "munge",
    "ConverterOptions": {"squashfs": ["-no-xattrs"], "ext4": "-a -b"},
    "ImportUsers": ["alice"],
    "Metrics": True,
    "Locations": {
        "registry-1.docker.io": {"remotetype": "dockerv2", "authentication": "http"},
        "private.example": {
            "remotetype": "dockerv2",
            "url": "https://registry.example:5000/",
            "authMethod": "basic",
        },
    },
    "Platforms": {
        "mycluster": {
            "mungeSocketPath": "/var/run/munge/munge.socket.2",
            "accesstype": "local",
            "admins": ["root", "operator"],
            "usergroupService": "local",
            "mountCommand": "mount",
            "use_external": True,
            "policy_file": "/etc/containers/policy.json",
            "host": ["login1"],
            "local": {"imageDir": "/images"},
            "ssh": {"username": "shifter", "key": "/k", "imageDir": "/i", "sshCmdOptions": []},
        },
        "far": {
            "mungeSocketPath": "/var/run/munge/far.socket",
            "accesstype": "remote",
            "admins": ["root"],
            "usergroupService": "local",
            "host": ["far01", "far02.example"],
            "local": {"imageDir": "/images"},
            "ssh": {
                "username": "shifter",
                "key": "/etc/shifter/far_key",
                "imageDir": "/far/images",
                "sshCmdOptions": ["-p", "2222"],
                "scpCmdOptions": ["-P", "2222"],
            },
        },
    },
}


def loaded(tmp_path: Path, content: object) -> GatewayConfig:
    path = tmp_path / "imagemanager.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return config.load(path)


def changed(**changes: object) -> dict[str, object]:
    """The old file with some keys set, or, where the value is `...`, left out."""
    merged = OLD_FILE | changes
    return {key: value for key, value in merged.items() if value is not ...}


def system_with(**changes: object) -> dict[str, object]:
    return changed(
        Platforms={"cori": {"local": {"imageDir": "/i"}, "mungeSocketPath": "/m"} | changes}
    )


def test_the_file_of_an_old_site_is_understood_without_a_word(tmp_path, caplog):
    old = loaded(tmp_path, OLD_FILE)

    assert caplog.records == []
    assert old.cache_directory == Path("/images/cache")
    assert old.expand_directory == Path("/images/expand")
    assert old.catalog_path == Path("/images/cache/catalog.sqlite")
    assert old.pull_update_timeout == timedelta(seconds=300)
    assert old.image_expiration == timedelta(days=90)
    assert (old.worker_threads, old.log_level, old.metrics) == (4, logging.WARNING, True)
    assert old.authentication is Authentication.MUNGE
    assert old.converter_options == {"squashfs": ("-no-xattrs",), "ext4": ("-a", "-b")}
    assert old.import_users == ("alice",)
    assert (old.default_location, old.default_format) == ("registry-1.docker.io", "squashfs")
    assert old.systems["mycluster"] == SystemConfig(
        name="mycluster",
        image_dir=Path("/images"),
        munge_socket=Path("/var/run/munge/munge.socket.2"),
        admins=("root", "operator"),
    )
    assert old.systems["far"] == SystemConfig(
        name="far",
        image_dir=Path("/far/images"),
        access_type=AccessType.REMOTE,
        munge_socket=Path("/var/run/munge/far.socket"),
        admins=("root",),
        ssh=SshConfig(
            hosts=("far01", "far02.example"),
            username="shifter",
            key=Path("/etc/shifter/far_key"),
            ssh_options=("-p", "2222"),
            scp_options=("-P", "2222"),
        ),
    )
    assert old.mongodb == MongoConfig(
        uri="mongodb://shifter:hunter2@db1,db2/?replicaSet=rs0", database="Shifter"
    )
    assert old.broker == "redis://:hunter2@broker/"
    assert old.stripe_count == 1
    assert old.locations["private.example"] == LocationConfig(
        name="private.example",
        url="https://registry.example:5000",
        auth_method=AuthMethod.BASIC,
    )


def test_what_is_not_said_has_a_default(tmp_path):
    few = loaded(
        tmp_path,
        {
            "CacheDirectory": "/c",
            "DefaultImageFormat": "squashfs",
            "DefaultImageLocation": "docker.io",
            "Locations": {"docker.io": {}},
            "Platforms": {"cori": {"imageDir": "/i", "mungeSocketPath": "/m"}},
        },
    )

    assert few.expand_directory == Path("/c/expand")
    assert few.catalog_path == Path("/c/catalog.sqlite")
    assert few.pull_update_timeout == timedelta(minutes=5)
    assert few.image_expiration == timedelta(days=90)
    assert (few.worker_threads, few.log_level) == (1, logging.INFO)
    assert few.authentication is Authentication.MUNGE
    assert not (few.allow_anonymous or few.metrics or few.anyone_may_import)
    assert (few.import_users, few.converter_options) == ((), {})
    assert few.systems["cori"].image_dir == Path("/i")
    assert few.systems["cori"].platform is None
    assert few.systems["cori"].admins == ()
    assert few.systems["cori"].access_type is AccessType.LOCAL
    assert few.systems["cori"].groups_from is GroupSource.GATEWAY
    assert (few.mongodb, few.broker, few.key_file, few.examiner) == (None, None, None, None)
    assert (few.stripe_count, few.trusted_importers, few.log_format) == (0, (), None)
    assert few.examiner_timeout == timedelta(minutes=10)
    assert few.limits == LimitsConfig()


def test_a_user_may_take_what_there_is_unless_the_site_says_less():
    limits = LimitsConfig()

    assert (limits.images_per_user, limits.bytes_per_user) == (None, None)
    assert limits.queued_pulls_per_user == 100
    assert limits.image_entries == 2_000_000
    assert limits.image_bytes == 512 * GIB
    assert limits.cache_bytes == 200 * GIB
    assert limits.pull == timedelta(hours=6)


def test_limits_are_read(tmp_path):
    read = loaded(
        tmp_path,
        changed(
            MaxImageSize="1.5T",
            MaxEntries=9,
            PullTimeout=60,
            CacheSize="20GiB",
            MaxQueuedPullsPerUser=2,
            MaxImagesPerUser=3,
            MaxBytesPerUser=4096,
        ),
    )

    assert read.limits == LimitsConfig(
        image_bytes=1536 * GIB,
        image_entries=9,
        pull=timedelta(minutes=1),
        cache_bytes=20 * GIB,
        queued_pulls_per_user=2,
        images_per_user=3,
        bytes_per_user=4096,
    )


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (2.5, 2),
        ("1024", 1024),
        ("7B", 7),
        ("1k", 1 << 10),
        ("3M", 3 << 20),
        ("2 GB", 2 << 30),
        ("1.5TiB", 3 << 39),
        ("1P", 1 << 50),
    ],
)
def test_a_size_is_bytes_or_has_a_unit_of_1024(tmp_path, value, size):
    assert loaded(tmp_path, changed(CacheSize=value)).limits.cache_bytes == size


@pytest.mark.parametrize(
    "value",
    [0, -1, True, "", "G", "0", "0.5", "-1G", "1e3", "1_0", "9999P", "12X", "1GG", "\u0663G", [1]],
)
def test_what_is_no_size_is_refused_with_an_example(tmp_path, value):
    with pytest.raises(ConfigError, match="CacheSize must be a size such as '200G', not "):
        loaded(tmp_path, changed(CacheSize=value))


def test_keys_of_operation_are_read(tmp_path):
    examiner = tmp_path / "examine"
    examiner.touch()

    read = loaded(
        tmp_path,
        changed(
            KeyFile="/etc/shifter/key",
            examiner=str(examiner),
            ExaminerTimeout=30,
            TrustedImporters=["alice", "bob"],
            LogFormat="json",
        ),
    )

    assert read.key_file == Path("/etc/shifter/key")
    assert (read.examiner, read.examiner_timeout) == (examiner, timedelta(seconds=30))
    assert read.trusted_importers == ("alice", "bob")
    assert read.log_format is LogFormat.JSON


@pytest.mark.parametrize(
    ("value", "count"), [("", 0), (None, 0), (0, 0), ("8", 8), (8, 8), (-1, -1), (" 4 ", 4)]
)
def test_stripes_are_a_number_or_its_text(tmp_path, value, count):
    assert loaded(tmp_path, changed(DefaultOstCount=value)).stripe_count == count


def test_a_system_may_take_groups_from_the_credential():
    system = SystemConfig.from_mapping("cori", {"imageDir": "/i", "groupsFrom": "credential"})

    assert system.groups_from is GroupSource.CREDENTIAL


def test_one_host_may_be_a_text_and_each_may_have_a_filesystem_of_its_own():
    section = {
        "accesstype": "remote",
        "host": "fe80::1",
        "ssh": {"imageDir": "/i", "everyHost": True, "sshCmdOptions": "-o 'User Known=x'"},
    }

    system = SystemConfig.from_mapping("far", section)

    assert system.ssh == SshConfig(
        hosts=("fe80::1",), ssh_options=("-o", "User Known=x"), every_host=True
    )


def test_a_local_system_may_keep_the_section_of_a_remote_one_whatever_it_holds():
    section = {"imageDir": "/i", "host": ["-x"], "ssh": {"key": "/k"}}

    assert SystemConfig.from_mapping("cori", section).ssh is None


@pytest.mark.parametrize("uri", ["mongodb://a:hunter2@x", "mongodb+srv://a:hunter2@x/?w=1"])
def test_no_text_of_a_configuration_holds_a_password(tmp_path, uri):
    read = loaded(tmp_path, changed(MongoDBURI=uri))

    assert read.mongodb is not None
    assert read.mongodb.uri == uri
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize(
    "content",
    [
        {"MongoDBURI": "http://a:hunter2@x"},
        {"MongoDBURI": ["mongodb://a:hunter2@x"]},
        {"MongoDB": ...},
        {"MongoDB": ""},
        {"Broker": "amqp://a:hunter2@x"},
        {"Broker": {"url": "redis://:hunter2@x"}},
        {"Locations": {"registry-1.docker.io": {"url": "https://a:hunter2@x"}}},
    ],
)
def test_no_complaint_about_a_configuration_holds_a_password(tmp_path, content):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, changed(**content))

    assert "hunter2" not in str(caught.value)


def remote_with(**changes: object) -> dict[str, object]:
    section = {"local": ..., "accesstype": "remote", "host": ["h"], "ssh": {"imageDir": "/i"}}
    return {key: value for key, value in (section | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("section", "name", "url"),
    [
        ({}, "quay.io", "https://quay.io"),
        ({}, "docker.io", "https://registry-1.docker.io"),
        ({}, "index.docker.io", "https://registry-1.docker.io"),
        ({"url": "https://index.docker.io/"}, "hub", "https://registry-1.docker.io"),
        ({"url": "http://127.0.0.1:5000"}, "local", "http://127.0.0.1:5000"),
        ({"url": "registry.example"}, "site", "https://registry.example"),
    ],
)
def test_a_location_has_a_url(section, name, url):
    assert LocationConfig.from_mapping(name, section).url == url


def test_a_ca_file_is_found_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "ca.crt").touch()
    monkeypatch.chdir(tmp_path)

    assert (
        LocationConfig.from_mapping("reg", {"sslcacert": "ca.crt"}).ca_file == tmp_path / "ca.crt"
    )


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ({"PullUpdateTimeout": 7}, 7),
        ({"PullUpdateTime": 8, "PullUpdateTimeout": ...}, 8),
        ({"PullUpdateTimeout": 7, "PullUpdateTime": 8}, 7),
        ({"PullUpdateTimeout": 0.5}, 0.5),
        ({"PullUpdateTimeout": 0}, 0),
    ],
)
def test_pull_update_timeout_works_on_its_own_and_by_its_old_name(tmp_path, keys, seconds):
    assert loaded(tmp_path, changed(**keys)).pull_update_timeout.total_seconds() == seconds


def test_image_expiration_is_days_hours_minutes_seconds(tmp_path):
    assert loaded(
        tmp_path, changed(ImageExpirationTimeout="1:2:3:4")
    ).image_expiration == timedelta(days=1, hours=2, minutes=3, seconds=4)


def test_admins_given_as_one_string_are_that_one_name():
    assert SystemConfig.from_mapping("cori", {"imageDir": "/i", "admins": "root"}).admins == (
        "root",
    )


@pytest.mark.parametrize(
    ("value", "users", "anyone"),
    [
        ("bob", ("bob",), False),
        (["alice", "bob"], ("alice", "bob"), False),
        ("None", (), False),
        ("none", (), False),
        (None, (), False),
        ("all", ("all",), True),
    ],
)
def test_import_users_are_names_all_or_none(tmp_path, value, users, anyone):
    read = loaded(tmp_path, changed(ImportUsers=value))

    assert (read.import_users, read.anyone_may_import) == (users, anyone)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (changed(WorkerThread=3), "unknown key 'WorkerThread', did you mean 'WorkerThreads'?"),
        (system_with(adminz=[]), "Platforms.cori: unknown key 'adminz', did you mean 'admins'?"),
        (
            system_with(**remote_with(ssh={"imageDir": "/i", "sshcmdoptions": ""})),
            "Platforms.cori.ssh: unknown key 'sshcmdoptions', did you mean 'sshCmdOptions'?",
        ),
        (
            changed(Locations={"registry-1.docker.io": {"sslcert": "x"}}),
            "Locations.registry-1.docker.io: unknown key 'sslcert', did you mean 'sslcacert'?",
        ),
        (changed(Qwertz=1), "unknown key 'Qwertz'"),
    ],
)
def test_an_unknown_key_is_only_a_warning(tmp_path, caplog, content, warning):
    loaded(tmp_path, content)

    assert [record.getMessage() for record in caplog.records] == [warning]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (system_with(imageDir=3), "Platforms.cori.imageDir must be a str, not 3"),
        (system_with(local={"imageDir": 3}), "Platforms.cori.local.imageDir must be a str, not 3"),
        (system_with(local={}), "Platforms.cori.local.imageDir is missing"),
        (system_with(local=...), "Platforms.cori.local must be a dict, not '...'"),
        (system_with(admins=3), "Platforms.cori.admins must be a list, not 3"),
        (system_with(admins=["a", 3]), "Platforms.cori.admins[1] must be a str, not 3"),
        (system_with(accesstype="x"), "Platforms.cori.accesstype must be 'local' or 'remote', not"),
        (
            system_with(**remote_with(host=...)),
            "Platforms.cori.host is missing: accesstype 'remote' needs it",
        ),
        (system_with(**remote_with(host=["a/b"])), "Platforms.cori.host must name hosts, not 'a/b"),
        (system_with(**remote_with(host="-oX=y")), "Platforms.cori.host must name hosts, not '-oX"),
        (system_with(**remote_with(ssh=...)), "Platforms.cori.ssh.imageDir is missing"),
        (system_with(**remote_with(ssh=3)), "Platforms.cori.ssh must be a dict, not 3"),
        (
            system_with(**remote_with(ssh={"imageDir": "/i", "username": "-oX=y"})),
            "Platforms.cori.ssh.username must name an account, not '-oX=y'",
        ),
        (
            system_with(**remote_with(ssh={"imageDir": "/i", "scpCmdOptions": [3]})),
            "Platforms.cori.ssh.scpCmdOptions must be a list of str, not [3]",
        ),
        (
            system_with(**remote_with(ssh={"imageDir": "/i", "everyHost": "no"})),
            "Platforms.cori.ssh.everyHost must be a bool, not 'no'",
        ),
        (
            system_with(groupsFrom="ldap"),
            "Platforms.cori.groupsFrom must be 'gateway' or 'credential', not 'ldap'",
        ),
        (system_with(mungeSocketPath=None), "Platforms.cori.mungeSocketPath is missing"),
        (system_with(platform="arm64"), "Platforms.cori.platform must be such as 'linux/amd64'"),
        (changed(Platforms={"cori": 3}), "Platforms.cori must be a JSON object, not 3"),
        (changed(Platforms=...), "Platforms is missing"),
        (changed(CacheDirectory=...), "CacheDirectory is missing"),
        (
            changed(CacheDirectory=..., CacheDirectroy="/c"),
            "CacheDirectory is missing: is 'CacheDirectroy' meant to be it?",
        ),
        (changed(Platforms={}), "Platforms names no system, so there is nowhere for images to go"),
        (changed(CacheDirectory=""), "CacheDirectory must be a path, not ''"),
        (changed(DefaultImageFormat=...), "DefaultImageFormat is missing"),
        (changed(DefaultImageLocation="x"), "DefaultImageLocation 'x' is not in Locations"),
        (changed(MongoDBURI="db1"), "MongoDBURI must start with mongodb:// or mongodb+srv://"),
        (changed(MongoDB=...), "MongoDB is missing: it names the database at MongoDBURI"),
        (changed(Broker="amqp://x"), "Broker must be the URL of a Redis server, such as redis://"),
        (changed(KeyFile=3), "KeyFile must be a str, not 3"),
        (changed(examiner="/nowhere"), "examiner: there is no file '/nowhere'"),
        (changed(ExaminerTimeout=0), "ExaminerTimeout must be more than 0 seconds"),
        (changed(PullTimeout="1h"), "PullTimeout must be a number of seconds, not '1h'"),
        (changed(PullTimeout=0), "PullTimeout must be more than 0 seconds"),
        (changed(MaxImageSize=0), "MaxImageSize must be a size such as '200G', not 0"),
        (changed(MaxBytesPerUser="x"), "MaxBytesPerUser must be a size such as '200G', not 'x'"),
        (changed(MaxEntries=0), "MaxEntries must be 1 or more, not 0"),
        (changed(MaxQueuedPullsPerUser=-1), "MaxQueuedPullsPerUser must be 1 or more, not -1"),
        (changed(MaxImagesPerUser="5"), "MaxImagesPerUser must be an int, not '5'"),
        (changed(TrustedImporters=[3]), "TrustedImporters[0] must be a str, not 3"),
        (changed(DefaultOstCount=-2), "DefaultOstCount must be a number of OSTs, or -1 for all"),
        (changed(DefaultOstCount="all"), "DefaultOstCount must be a number of OSTs, or -1 for all"),
        (changed(LogFormat="xml"), "LogFormat must be 'text' or 'json', not 'xml'"),
        (changed(Authentication="none"), "Authentication must be 'munge' or 'mock', not 'none'"),
        (changed(LogLevel="loud"), "LogLevel must be 'debug' or"),
        (changed(Metrics=1), "Metrics must be a bool, not 1"),
        (changed(WorkerThreads=True), "WorkerThreads must be an int, not True"),
        (changed(WorkerThreads=0), "WorkerThreads must be 1 or more, not 0"),
        (changed(PullUpdateTimeout="5"), "PullUpdateTimeout must be a number of seconds, not '5'"),
        (changed(PullUpdateTimeout=-1), "PullUpdateTimeout must be a number of seconds, not -1"),
        (changed(ImageExpirationTimeout="90"), "must be 'days:hours:minutes:seconds', not '90'"),
        (changed(ConverterOptions={"squashfs": 3}), "ConverterOptions.squashfs must be a list"),
        (changed(ConverterOptions={"squashfs": "'"}), "ConverterOptions.squashfs: No closing"),
        (
            changed(Locations={"registry-1.docker.io": {"remotetype": "dockerhub"}}),
            "Locations.registry-1.docker.io.remotetype must be 'dockerv2', not 'dockerhub'",
        ),
        *(
            (
                changed(Locations={"registry-1.docker.io": {"url": url}}),
                f"Locations.registry-1.docker.io.url must be the URL of a registry, not '{url}'",
            )
            for url in ("", "https://", "https://[x", "https://x:port", "a b")
        ),
        (
            changed(Locations={"registry-1.docker.io": {"url": "ftp://x"}}),
            "Locations.registry-1.docker.io.url must start with https:// or http://",
        ),
        (
            changed(Locations={"registry-1.docker.io": {"sslcacert": "/nowhere"}}),
            "Locations.registry-1.docker.io.sslcacert: there is no file '/nowhere'",
        ),
        (
            changed(Locations={"registry-1.docker.io": {"url": "https://me:pw@x"}}),
            "Locations.registry-1.docker.io.url must hold no login: users bring their own",
        ),
        ([], "the file must be a JSON object, not []"),
        ('{"a": 1,\n  }', "not JSON at line 2, column 3"),
        ("{}  // none", "JSON has no comments, and no comma after the last of a list"),
        ("", "not JSON at line 1, column 1"),
    ],
)
def test_what_is_wrong_is_said_with_file_section_and_key(tmp_path, content, message):
    if isinstance(content, dict):
        content = json.dumps(content, default=lambda _: "...")

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, content)

    assert str(caught.value).startswith(f"{tmp_path}/imagemanager.json: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_said_in_words(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot read .*/none.json: there is no such file; start from"
    ):
        config.load(tmp_path / "none.json")


def test_a_file_that_is_not_text_is_said_in_words(tmp_path):
    path = tmp_path / "imagemanager.json"
    path.write_bytes(b'{"a": "\xff"}')

    with pytest.raises(ConfigError, match="not UTF-8 text"):
        config.load(path)


def test_a_key_that_stands_twice_is_a_warning(tmp_path, caplog):
    text = json.dumps(OLD_FILE).replace("{", '{"MongoDB": "Other", ', 1)

    loaded(tmp_path, text)

    said = [record.getMessage() for record in caplog.records]
    assert said == ["given more than once, and only the last counts: MongoDB"]


def test_mock_authentication_needs_no_munge_socket(tmp_path):
    mock = loaded(tmp_path, system_with(mungeSocketPath=None) | {"Authentication": "mock"})

    assert mock.authentication is Authentication.MOCK


def test_an_old_file_has_a_page_that_shows_nothing_to_strangers():
    config = GatewayConfig.from_mapping(OLD_FILE)

    assert (config.web_page, config.web_url, config.allow_anonymous) == (True, None, False)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://images.example.org", "https://images.example.org"),
        ("https://www.example.org:8443/shifter/", "https://www.example.org:8443/shifter"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_the_page_may_be_reached_elsewhere(url, kept):
    assert GatewayConfig.from_mapping(OLD_FILE | {"WebUrl": url}).web_url == kept


@pytest.mark.parametrize(
    "url",
    ["images.example.org", "ftp://a", "https://", "https://a:b@c", "https://a/?b", "https://a/#b"]
    + ["javascript:alert(1)", "https://a b", "https://a;b", "https://a:port", "https://\u00e4", ""],
)
def test_what_is_no_url_of_a_page_is_refused(url):
    with pytest.raises(ConfigError, match="WebUrl must be a URL such as https://images"):
        GatewayConfig.from_mapping(OLD_FILE | {"WebUrl": url})
