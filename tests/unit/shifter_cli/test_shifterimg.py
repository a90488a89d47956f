# SPDX-License-Identifier: BSD-3-Clause
"""The command line: options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import pytest

from shifter_cli import shifterimg
from shifter_common import munge
from shifter_common.errors import MungeError
from shifter_runtime import VERSION

READY = {"id": "abc123", "status": "READY", "tag": ["x:1"], "last_pull": 1600000000.5}
FAILED = {"status": "FAILURE", "status_message": "registry.example: no tag 'x' in app"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "must specify a mode; modes are acl, autoexpire, cancel, "),
        (("frobnicate",), "no such mode: 'frobnicate'"),
        (("--nope", "images"), "--nope"),
        (("lookup",), "missing argument 'IMAGE' (shifterimg lookup --help shows how)"),
        (("pull",), "missing argument 'IMAGE"),
        (("pull", "--jsno", "x"), "no such option '--jsno'; did you mean '--json'? (shifterimg p"),
        (("metrics", "--limit", "0"), "range 1<=x<=10000 (shifterimg metrics --help shows how)"),
        (("lookup", "a", "b"), "unexpected extra argument"),
        (("pull", "-u"), "requires an argument"),
    ],
)
def test_misuse_is_told_on_stderr_with_exit_code_1(arguments, words, run, gateway):
    result = run(*arguments)

    assert (result.code, result.stdout, gateway.requests) == (1, "", [])
    assert words in result.stderr
    assert result.stderr.startswith("shifterimg: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rmi", "did you mean shifterimg rm?"),
        ("ls", "did you mean shifterimg images?"),
        ("PULL", "did you mean shifterimg pull?"),
        ("imgaes", "did you mean shifterimg images?"),
        ("run", "shifter --image=IMAGE COMMAND"),
        ("build", "docker, podman or buildah"),
        ("cp", "modes are acl"),
    ],
)
def test_a_word_of_another_tool_is_told_what_stands_for_it(word, hint, run):
    result = run(word, "ubuntu")

    assert (result.code, result.stdout) == (1, "")
    assert f"no such mode: {word!r}; " in result.stderr
    assert hint in result.stderr


def test_help_can_be_asked_for_as_a_mode(run):
    assert run("help").stdout == run("--help").stdout
    assert run("help", "pull").stdout == run("pull", "--help").stdout


def test_version_is_told_of_the_program(run):
    result = run("--version")

    assert (result.code, result.stdout) == (0, f"shifterimg {VERSION}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_has_examples_and_exit_code_0(option, run):
    result = run(option)

    assert (result.code, result.stderr) == (0, "")
    assert "shifterimg pull ubuntu:24.04" in result.stdout
    assert "--config" not in result.stdout


@pytest.mark.parametrize("arguments", [("-v", "lookup", "x:1"), ("lookup", "--verbose", "x:1")])
def test_options_stand_before_or_after_the_mode(arguments, run, gateway):
    gateway.answer(READY)

    assert run(*arguments).stdout == f"Message: {json.dumps(READY)}\nabc123\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--user", "1001,5", "--group", "7", "pull", "x:1"),
        ("-u", "1001", "-u", "5", "-g7", "pull", "x:1"),
        ("-u", "1001", "pull", "-u", "5", "x:1", "--group=7"),
        ("pull", "x:1", "-u", "1001,5,1001", "-g", "7"),
    ],
)
def test_access_lists_are_gathered_from_all_options(arguments, run, gateway):
    gateway.answer(READY)

    run(*arguments)

    assert gateway.requests[0].body == b'{"allowed_uids":"1001,5","allowed_gids":"7"}'


def test_unknown_user_in_an_access_list_is_refused_without_a_pull(run, gateway, monkeypatch):
    monkeypatch.setattr("pwd.getpwnam", {}.__getitem__)

    result = run("--user", "nobodyknows", "pull", "x:1")

    assert (result.code, gateway.requests) == (1, [])
    assert "no user 'nobodyknows' on this machine" in result.stderr


def test_lookup_prints_the_id_and_nothing_else(run, gateway):
    gateway.answer(READY)

    result = run("lookup", "x:1")

    assert (result.code, result.stdout, result.stderr) == (0, "abc123\n", "")


def test_lookup_of_a_missing_image_prints_nothing_for_scripts(run, gateway):
    gateway.answer({"status": 404, "error": "image not found"}, status="404 Not Found")

    result = run("lookup", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("shifterimg: cannot find docker:x:1: image not found")


def test_lookup_without_a_gateway_that_answers_can_be_told_from_a_refusal(run, gateway):
    silent = run("lookup", "x", urls="http://127.0.0.1:1")
    gateway.answer({"error": "no catalog"}, status="503 Service Unavailable")
    broken = run("lookup", "x")
    gateway.answers[:] = []
    gateway.answer({"error": "no"}, status="403 Forbidden")
    refused = run("lookup", "x")

    assert (silent.code, broken.code, refused.code) == (75, 75, 1)
    assert silent.stderr.startswith("ERROR: failed to contact the image gateway.")
    assert [silent.stdout, broken.stdout, refused.stdout] == ["", "", ""]


def test_failed_pull_gives_stage_and_reason_on_stderr_and_exit_code_1(run, gateway):
    gateway.answer({"status": "PULLING"}, FAILED)

    result = run("pull", "x:1")

    assert result.code == 1
    assert result.stdout.endswith("Pulling Image: docker:x:1, status: FAILURE\n")
    assert result.stderr == (
        "shifterimg: docker:x:1: PULLING failed: registry.example: no tag 'x' in app\n"
    )


def test_quiet_pull_says_nothing_but_why_it_failed(run, gateway):
    gateway.answer({"status": "PULLING"}, FAILED, READY)

    failed, ready = run("pull", "--quiet", "x:1"), run("pull", "-q", "x:1")

    assert (failed.code, failed.stdout) == (1, "")
    assert "no tag 'x' in app" in failed.stderr
    assert (ready.code, ready.stdout, ready.stderr) == (0, "", "")


def test_failed_pull_without_wait_exits_with_1(run, gateway):
    gateway.answer(FAILED)

    result = run("pullnb", "x:1")

    assert result.code == 1
    assert "no tag 'x' in app" in result.stderr


def test_several_images_are_pulled_and_the_failed_ones_told(run, gateway):
    gateway.answer(READY, FAILED, READY)

    result = run("pull", "a:1", "b:1", "c:1")

    paths = [request.line.split()[1] for request in gateway.requests]
    assert paths == [f"/api/pull/mycluster/docker/{name}%3A1/" for name in "abc"]
    assert result.code == 1
    assert result.stderr.startswith("shifterimg: docker:b:1: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout.count("status: READY\n") == 2


def test_one_bad_name_among_several_pulls_nothing(run, gateway):
    result = run("pull", "a:1", "b b")

    assert (result.code, gateway.requests) == (1, [])


def test_interrupted_pull_exits_with_130_and_says_that_it_goes_on(run, gateway, monkeypatch):
    gateway.answer({"status": "PULLING"})
    credentials = iter(["MUNGE:1:"])

    def encode(payload, *, socket):
        try:
            return next(credentials)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("shifter_common.munge.encode", encode)

    result = run("pull", "x:1")

    assert result.code == 130
    assert "the pull goes on at the gateway" in result.stderr


def test_images_are_sorted_by_tag_bytewise_and_untagged_ones_come_last(run, gateway):
    tags = (["b:1", "Zeta:1"], [], ["a:1"])
    gateway.answer({"list": [dict(READY, tag=tag, system="c", itype="docker") for tag in tags]})

    result = run("images")

    assert [line.split()[-1] for line in result.stdout.splitlines()] == [
        "Zeta:1",
        "a:1",
        "b:1",
        "<none>",
    ]
    assert result.code == 0


def test_no_images_is_no_output_and_no_error(run, gateway):
    gateway.answer({"list": []})

    result = run("images")

    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_output_that_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", "from shifter_cli.shifterimg import main; main()", "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    assert result.returncode == 1
    assert result.stderr == "shifterimg: cannot write the output: No space left on device\n"


def test_terminal_is_not_obeyed_by_what_comes_from_elsewhere(run, gateway):
    gateway.answer({"status": "FAILURE", "status_message": "bad \x1b[2Jlayer\r"})

    result = run("pull", "x:1")

    assert "\x1b" not in result.stderr
    assert "bad \\x1b[2Jlayer\\x0d" in result.stderr


def test_images_as_json_is_the_list_of_the_gateway(run, gateway):
    gateway.answer({"list": [READY]})

    result = run("-v", "images", "--json")

    assert json.loads(result.stdout) == [READY]


@pytest.mark.parametrize(("code", "status"), [(munge.SOCKET, 75), (1, 1)])
def test_lookup_without_munge_is_no_refusal_of_the_gateways(run, monkeypatch, code, status):
    def encode(*_arguments, **_options):
        raise MungeError("munged does not answer", code)

    monkeypatch.setattr("shifter_common.munge.encode", encode)

    result = run("lookup", "ubuntu:24.04")

    assert (result.code, result.stdout) == (status, "")
    assert "munged does not answer" in result.stderr


def test_lookup_as_json_is_the_record(run, gateway):
    gateway.answer(READY)

    assert json.loads(run("lookup", "--json", "x:1").stdout) == READY


def test_pull_as_json_is_one_settled_record_per_line(run, gateway):
    gateway.answer({"status": "PULLING"}, FAILED, READY)

    result = run("pull", "--json", "a:1", "b:1")

    assert [json.loads(line) for line in result.stdout.splitlines()] == [FAILED, READY]
    assert result.code == 1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(True, 0, ""), (False, 1, "only administrators"), (None, 1, "no such image")],
)
def test_expire_succeeds_only_if_the_gateway_does_it(status, code, words, run, gateway):
    gateway.answer({"status": status})

    result = run("expire", "x:1")

    assert (result.code, result.stdout) == (code, "")
    assert words in result.stderr
    assert gateway.requests[0].line == "GET /api/expire/mycluster/docker/x%3A1/ HTTP/1.1"


def test_queue_shows_state_and_image(run, gateway):
    gateway.answer({"list": [{"status": "PULLING", "image": "lib/slow:1"}]})

    assert run("queue").stdout == "PULLING      lib/slow:1\n"


def test_configuration_that_is_missing_is_named(run, config_path, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        shifterimg.main(str(tmp_path / "nowhere.conf"), ["images"])

    assert end.value.code == 1
    assert "nowhere.conf" in capsys.readouterr().err


def test_config_option_names_another_configuration(run, gateway, tmp_path, config_path):
    gateway.answer({"list": []})
    run("images")
    other = tmp_path / "other.conf"
    other.write_text(config_path.read_text().replace("mycluster", "othercluster"))

    run("--config", str(other), "images")

    assert gateway.requests[-1].line == "GET /api/list/othercluster/ HTTP/1.1"


def test_lookup_loads_no_module_that_it_can_do_without():
    program = (
        "import sys\n"
        "import shifter_cli.shifterimg, shifter_cli.gateway.client, shifter_runtime.config\n"
        "print(*sys.modules)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}

    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()

    unwanted = {"requests", "subprocess", "asyncio", "flask", "shutil", "termios"}
    unwanted |= {"shifter_cli.progress", "shifter_cli.logins.prompts", "shifter_imagegw"}
    assert unwanted.isdisjoint(modules)


@pytest.fixture
def registry_login(monkeypatch, tmp_path):
    """A login for two locations, and munge left out."""
    directory = tmp_path / ".udiRoot"
    directory.mkdir()
    (directory / ".cred").write_text(
        "mycluster:default=MUNGE:one:\nmycluster:reg=MUNGE:two:\nother:default=MUNGE:three:\n"
    )

    def decode(credential, *, socket=None, allow_stale=False):
        assert allow_stale
        payload = {"MUNGE:one:": b'bob:pa:ss"w', "MUNGE:two:": b"carol:x"}[credential]
        return types.SimpleNamespace(uid=os.getuid(), payload=payload)

    monkeypatch.setattr("shifter_common.munge.decode", decode)


def test_registry_logins_travel_in_the_credential_of_a_pull(registry_login, run, gateway, payloads):
    gateway.answer(READY)

    run("pull", "x:1")

    assert json.loads(payloads[0]) == {
        "authorized_locations": {"default": 'bob:pa:ss"w', "reg": "carol:x"}
    }


def test_registry_logins_stay_at_home_when_nothing_is_pulled(
    registry_login, run, gateway, payloads
):
    gateway.answer(READY)

    run("lookup", "x:1")

    assert payloads == [b""]


def test_login_that_another_user_made_is_not_sent(
    registry_login, run, gateway, payloads, monkeypatch
):
    monkeypatch.setattr(
        "shifter_common.munge.decode",
        lambda *a, **k: types.SimpleNamespace(uid=os.getuid() + 1, payload=b"x:y"),
    )
    gateway.answer(READY)

    result = run("pull", "x:1")

    assert payloads == [b""]
    assert "your login for reg is not used: it was made by user" in result.stderr
    assert result.code == 0


def test_login_from_a_closed_standard_input_is_refused(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)

    result = run("login", "reg", "--username", "bob", "--password-stdin")

    assert (result.code, result.stdout) == (1, "")
    assert "--password-stdin finds standard input closed" in result.stderr


def test_errors_do_not_go_to_standard_output_where_standard_error_is_closed(run, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)

    result = run("lookup", "no such name")

    assert (result.code, result.stdout) == (1, "")


def test_logout_removes_the_login(registry_login, run, tmp_path):
    result = run("logout", "reg")

    assert result.code == 0
    assert (tmp_path / ".udiRoot/.cred").read_text() == (
        "mycluster:default=MUNGE:one:\nother:default=MUNGE:three:\n"
    )


def test_logout_from_where_nobody_is_logged_in_is_an_error(run):
    result = run("logout", "reg")

    assert result.code == 1
    assert "no login for reg on mycluster" in result.stderr
