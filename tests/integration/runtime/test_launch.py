# SPDX-License-Identifier: BSD-3-Clause
"""`shifter`, run for real by an ordinary user: what the program sees, and what comes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID, PROJECT

pytestmark = pytest.mark.root


def test_the_program_sees_the_image(node):
    assert node.run("cat", "/etc/os-release").stdout == "ID=busybox\n"


def test_the_program_runs_as_the_user_with_his_groups(node):
    done = node.run("id", groups=(PROJECT,))

    assert done.stdout == (
        f"uid={ALICE}(alice) gid={ALICE}(alice) groups={ALICE}(alice),{PROJECT}(project)\n"
    )


def test_every_privilege_is_gone(node):
    status = dict(
        line.split(":\t") for line in node.run("cat", "/proc/self/status").stdout.splitlines()
    )

    assert status["Uid"].split() == [str(ALICE)] * 4
    assert status["Gid"].split() == [str(ALICE)] * 4
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_the_exit_code_is_the_programs(node):
    assert node.run("sh", "-c", "exit 42").returncode == 42


def test_a_signal_that_kills_the_program_is_seen_by_the_caller(node):
    assert node.run("sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_a_missing_program_ends_with_127(node):
    done = node.run("/no/such/program")

    assert done.returncode == 127
    assert done.stderr == "shifter: /no/such/program: No such file or directory\n"


def test_an_empty_name_is_no_program(node):
    done = node.run("", "x")

    assert (done.returncode, done.stderr) == (
        127,
        "shifter: the program's name is empty: write its name after the options\n",
    )


def test_a_program_without_its_loader_is_told_apart_from_a_missing_one(node):
    node.add_image(lambda tree: _script(tree / "bin/broken", "#!/no/such/interpreter\n"))

    done = node.run("broken")

    assert done.returncode == 127
    assert "its interpreter or loader is not in the image" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--workdir", "/data", "pwd"),
            "/data: Permission denied (it is a directory; to start in it: --workdir=/data)",
        ),
        (
            ("-v", "/home/alice:/data", "pwd"),
            "/home/alice:/data: No such file or directory "
            "(if this is a volume: -V or --volume; -v is --verbose)",
        ),
        (
            ("--writable", "20M", "pwd"),
            "20M: No such file or directory (if this is a size: --writable=20M)",
        ),
    ],
)
def test_a_value_in_the_place_of_the_program_is_told_how_it_is_given(node, words, said):
    node.add_image(meta="WORKDIR: /\n")

    done = node.run(*words)

    assert done.returncode == 127
    assert done.stderr.splitlines()[-1] == f"shifter: {said}"


def test_the_program_is_found_by_the_path_of_the_image(node):
    node.add_image(
        lambda tree: _script(tree / "data/tool", "#!/bin/sh\necho found\n"),
        meta="ENV: PATH=/bin:/data\n",
    )

    assert node.run("tool").stdout == "found\n"


def test_standard_input_and_output_are_the_callers(node):
    done = subprocess.run(
        [node.launcher, f"--image=id:{IMAGE_ID}", "cat"],
        user=ALICE, group=ALICE, extra_groups=[], input="through\n", text=True,
        capture_output=True, check=True, env={}, cwd="/",
    )  # fmt: skip

    assert done.stdout == "through\n"


def test_without_a_command_a_shell_runs(node):
    done = subprocess.run(
        [node.launcher, f"--image=id:{IMAGE_ID}"],
        user=ALICE, group=ALICE, extra_groups=[], input="echo $0\n", text=True,
        capture_output=True, check=True, env={"SHELL": "/bin/nosuchshell"}, cwd="/",
    )  # fmt: skip

    assert done.stdout == "/bin/sh\n"


def test_the_working_directory_is_kept(node):
    assert node.run("pwd", cwd="/tmp").stdout == "/tmp\n"


def test_a_working_directory_that_the_container_lacks_is_said(node):
    done = node.run("pwd", cwd="/usr/share")

    assert done.stdout == "/\n"
    assert "Failed to switch to working dir: /usr/share, staying in /" in done.stderr


def test_workdir_may_be_chosen_or_taken_from_the_image(node):
    node.add_image(meta="WORKDIR: /data\n")

    assert node.run("--workdir=/etc", "pwd").stdout == "/etc\n"
    assert node.run("-w", "pwd").stdout == "/data\n"


def test_the_callers_umask_holds_inside(node):
    done = node.run("sh", "-c", "umask", umask=0o027)

    assert done.stdout == "0027\n"


def test_entrypoint_runs_what_the_image_says(node):
    node.add_image(meta="ENTRY: ['/bin/sh', '-c']\nCMD: ['echo by default']\n")

    assert node.run("--entrypoint").stdout == "by default\n"
    assert node.run("--entrypoint", "echo by hand").stdout == "by hand\n"


def test_the_environment_is_made_in_the_documented_order(node):
    node.configure(siteEnv="FROM=site SITE=1")
    node.add_image(meta="ENV: FROM=image\nENV: IMAGE_ONLY=1\n")
    (node.shared / "vars").write_text("FROM=file\nFILE_ONLY=1\n")

    done = node.run(
        "--env=FROM=option", "--env-file=/shared/vars", "env",
        env={"FROM": "caller", "CALLER_ONLY": "1", "LD_PRELOAD": "/evil.so"},
    )  # fmt: skip

    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert variables["FROM"] == "site"
    assert {"CALLER_ONLY", "IMAGE_ONLY", "FILE_ONLY", "SITE"} <= variables.keys()
    assert "LD_PRELOAD" not in variables
    assert variables["SHIFTER_IMAGE"] == IMAGE_ID


def test_clearenv_keeps_the_callers_variables_out(node):
    done = node.run("--clearenv", "env", env={"MINE": "1"})

    assert "MINE" not in done.stdout


def test_any_byte_passes_in_arguments_and_variables(node):
    word = b"\xff\xfe caf\xc3\xa9 \n x"

    done = subprocess.run(
        [node.launcher, f"--image=id:{IMAGE_ID}", "sh", "-c", 'echo "$1$ODD"', "sh", word],
        user=ALICE, group=ALICE, extra_groups=[], capture_output=True, check=True,
        env={b"ODD": word}, cwd="/",
    )  # fmt: skip

    assert done.stdout == word + word + b"\n"


def test_the_images_own_etc_and_var_stay_and_the_sites_files_win(node):
    def make(tree):
        (tree / "var/lib/tool").mkdir(parents=True)
        (tree / "etc/tool.conf").write_text("mine\n")
        (tree / "etc/passwd").write_text("eve:x:0:0::/:/bin/sh\n")

    node.add_image(make)

    assert node.run("cat", "/etc/tool.conf").stdout == "mine\n"
    assert node.run("ls", "/var/lib").stdout == "tool\n"
    passwd = node.run("cat", "/etc/passwd").stdout
    assert "eve" not in passwd
    assert f"alice:x:{ALICE}:{ALICE}:Alice Example:/home/alice:/bin/bash\n" in passwd


def test_the_container_tells_what_it_was_made_of(node):
    text = node.run("cat", "/var/shifterConfig.json").stdout

    assert json.loads(text) == {
        "identifier": IMAGE_ID, "user": "alice", "volMap": "", "modules": "",
    }  # fmt: skip


def test_kernel_filesystems_are_there(node):
    script = (
        "test -r /proc/self/stat && test -d /sys/class && test -c /dev/null && test -d /dev/pts"
    )

    node.shell(script)


def test_the_root_is_read_only_and_tmp_is_not(node):
    assert "Read-only file system" in node.run("touch", "/x", "/etc/x", "/bin/x").stderr
    node.shell("f=/tmp/shifter-test-$$ && : > $f && rm $f")


def test_dry_run_says_what_would_be_done_and_does_nothing(node):
    done = node.run("--dry-run", "--volume=/shared:/data/in:ro", "true")

    assert done.returncode == 0
    assert f"mount {node.images}/{IMAGE_ID}.squashfs" in done.stdout
    assert "bind /shared on /data/in as alice (ro,nosuid,nodev)" in done.stdout


def test_help_goes_to_standard_output(node):
    done = node.run("--help", image=None)

    assert done.returncode == 0
    assert "--image=docker:ubuntu:24.04" in done.stdout


def test_an_unknown_option_shows_the_usage_and_fails(node):
    done = node.run("--no-such-option")

    assert done.returncode == 1
    assert "unrecognized option '--no-such-option'" in done.stderr
    assert "Usage:" in done.stdout


def _script(path, text):
    path.write_text(text)
    path.chmod(0o755)


def test_verbose_tells_what_is_done_in_its_order(node):
    quiet, told = node.run("true"), node.run("-v", "true")

    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert told.returncode == 0
    lines = told.stderr.splitlines()
    assert lines[0] == f"shifter: image id:{IMAGE_ID} is {node.images}/{IMAGE_ID}.squashfs"
    assert re.fullmatch(
        r"shifter: making a container in \d+ steps, which --dry-run lists", lines[1]
    )
    assert lines[2:] == ["shifter: running true"]
