# SPDX-License-Identifier: BSD-3-Clause
"""Modules, as a user chooses them and as a site has them active for everybody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import wait_until
from tests.integration.runtime.node import ALICE, host_state

pytestmark = pytest.mark.root

# Seconds that no other process sleeps: the mark by which those of this run are found.
AGES = f"44{os.getpid()}"
GOLDEN = Path(__file__).parents[2] / "golden/cli"

# What the original was configured with when its messages were recorded (shifter_module_default).
SITE = {
    "defaultModules": "mpi",
    "module_mpi_siteEnvPrepend": "LD_LIBRARY_PATH=/opt/udiImage/modules/mpi/lib",
    "module_mpi_siteEnv": "MPI=1",
    "module_gpu_siteEnv": "GPU=1",
    "module_gpu_conflict": "mpi",
    "module_off_enabled": "0",
}


def recorded(name: str) -> tuple[int, str]:
    """Exit code and standard output of the original."""
    head, _, rest = (GOLDEN / f"{name}.txt").read_text().partition("--- stdout")
    _, _, output = rest.partition("\n")
    code = head.rpartition("exit code: ")[2]
    return int(code), output.partition("--- stderr")[0]


def processes_with(text: str) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if text in line]


def refusal(node, *words) -> str:
    done = node.run(*(words or ("true",)))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("shifter: ")


@pytest.fixture
def tree(node):
    """A directory that only root can change, with a program in it, as copyPath wants one."""
    tree = node.prefix / "mpi"
    (tree / "lib/deep").mkdir(parents=True)
    (tree / "lib/libmpi.so.12").write_text("library\n")
    (tree / "lib/libmpi.so").symlink_to("libmpi.so.12")
    yield tree
    for path in [*tree.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(tree)


def environment(node, *options) -> dict[str, str]:
    text = node.shell("env", "--clearenv", *options)
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_site_s_default_modules_are_active(node):
    node.configure(**SITE)

    variables = environment(node)

    assert variables["MPI"] == "1"
    assert variables["LD_LIBRARY_PATH"] == "/opt/udiImage/modules/mpi/lib"
    code, output = recorded("shifter_module_default")
    assert code == 0
    assert {"MPI=1", f"LD_LIBRARY_PATH={variables['LD_LIBRARY_PATH']}"} <= set(output.splitlines())


def test_modules_that_a_user_chooses_replace_the_default(node):
    node.configure(**SITE)

    variables = environment(node, "--module=gpu")

    assert variables["GPU"] == "1"
    assert "MPI" not in variables
    text = node.shell("cat /var/shifterConfig.json", "--module=gpu")
    (line,) = [
        line for line in recorded("shifter_module_chosen")[1].splitlines() if line[:1] == "{"
    ]
    assert text.partition('"volMap"')[2] == line.partition('"volMap"')[2] + "\n"


@pytest.mark.parametrize("options", [["--module=none"], ["-m", "none"], ["--module="]])
def test_no_modules_can_be_chosen(node, options):
    node.configure(**SITE)

    assert "MPI" not in environment(node, *options)
    assert recorded("shifter_module_none") == (0, "")


def test_a_dry_run_names_the_script_that_runs_as_the_user(node):
    node.configure(module_m_userhook="/bin/prepare")

    told = node.run("--module=m", "--dry-run", "true").stdout
    as_json = node.run("--module=m", "--dry-run", "--json", "true").stdout

    assert told.splitlines()[-2:] == ["run userhook /bin/prepare", "run 'true'"]
    assert json.loads(as_json)["userhooks"] == ["/bin/prepare"]


def test_modules_may_be_chosen_by_the_environment(node):
    node.configure(**SITE)

    assert "GPU=1" in node.shell("env", env={"SHIFTER_MODULE": "gpu"})
    assert "GPU=1" in node.shell("env", env={"SLURM_SPANK_SHIFTER_MODULE": "gpu"})


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "conflict",
            "mpi,gpu",
            "modules 'mpi' and 'gpu' exclude each other: choose one of them",
        ),
        ("disabled", "off", "module 'off' is not enabled on this site; this site offers gpu, mpi"),
        ("unknown", "nosuch", "unknown module 'nosuch'; this site offers gpu, mpi"),
        ("unknown", "gpuu", "unknown module 'gpuu', did you mean 'gpu'? this site offers gpu, mpi"),
        ("conflict", "gpu,mpi", "modules 'gpu' and 'mpi' exclude each other: choose one of them"),
        (
            "conflict",
            "none,gpu",
            "module 'none' means no modules at all, so it cannot stand beside others: 'none,gpu'",
        ),
    ],
)
def test_a_choice_that_cannot_be_had_is_refused_in_a_sentence(node, name, chosen, message):
    node.configure(**SITE)

    done = node.run(f"--module={chosen}", "env")

    code, output = recorded(f"shifter_module_{name}")
    assert done.returncode == code == 1
    assert output.startswith("<short usage")
    assert done.stdout.startswith("\nUsage:\nshifter [options]")
    assert done.stderr == f"shifter: {message}\n"
    assert host_state(node.prefix) == []


def test_a_default_module_that_there_is_not_is_the_site_s_mistake(node):
    node.configure(defaultModules="mpich")

    done = node.run("true")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"shifter: {node.config}: defaultModules: unknown module 'mpich'; this site offers none\n"
    )


def test_a_module_named_twice_is_active_once(node):
    node.configure(module_x_siteEnvAppend="LIST=one")

    assert environment(node, "--module=x,x")["LIST"] == "one"


def test_variables_of_modules_come_in_order_before_the_site_s(node):
    node.configure(
        siteEnv="SHARED=site OWN=site",
        siteEnvAppend="LIST=site",
        module_a_siteEnv="SHARED=a FIRST=a LIST=a OWN=a",
        module_b_siteEnv="FIRST=b",
        module_b_siteEnvAppend="LIST=b",
        module_b_siteEnvPrepend="LIST=0",
        module_c_siteEnvUnset="GONE",
        defaultModules="a,b,c",
    )

    variables = environment(node, "--env=GONE=x", "--env=FIRST=user")

    assert {name: variables.get(name) for name in ("SHARED", "FIRST", "LIST", "OWN", "GONE")} == {
        "SHARED": "site",
        "FIRST": "b",
        "LIST": "0:a:b:site",
        "OWN": "site",
        "GONE": None,
    }


def test_directories_of_modules_are_mounted_after_the_site_s(node):
    for name in ("site", "module"):
        (node.shared / name).mkdir()
        (node.shared / name / "which").write_text(name)
    node.configure(
        siteFs=f"{node.shared}/site:/place",
        module_x_siteFs=f"{node.shared}/module:/place:ro;{node.shared}/site:/other",
    )

    assert node.shell("cat /place/which") == "site"
    assert node.shell("cat /place/which /other/which", "--module=x") == "modulesite"
    assert node.run("--module=x", "sh", "-c", "touch /place/x").returncode == 1


def test_a_directory_of_a_module_that_this_node_lacks_is_named(node):
    node.configure(module_x_siteFs="/no/such/dir")

    assert refusal(node, "--module=x", "true") == (
        "cannot use module_x_siteFs /no/such/dir on this node: No such file or directory; "
        "ask the administrator to correct the node or udiRoot.conf\n"
    )


def test_the_files_of_a_module_appear_below_opt_udi_image_unchangeable(node, tree):
    node.configure(module_mpi_copyPath=tree)

    text = node.shell(
        "cat /opt/udiImage/modules/mpi/lib/libmpi.so; cat /proc/self/mounts", "--module=mpi"
    )

    library, *mounts = text.splitlines()
    assert library == "library"
    (options,) = [
        line.split()[3] for line in mounts if line.split()[1] == "/opt/udiImage/modules/mpi"
    ]
    assert {"ro", "nosuid", "nodev"} <= set(options.split(","))
    assert not any("udiImage" in line for line in node.shell("cat /proc/self/mounts").splitlines())


def test_files_of_the_site_and_of_modules_stand_beside_each_other(node, tree):
    site = node.prefix / "site"
    (site / "bin").mkdir(parents=True)
    (site / "bin/tool").write_text("tool\n")
    (site / "notes.txt").write_text("notes\n")
    (site / "sbin").symlink_to("bin")
    node.configure(
        optUdiImage=site,
        module_mpi_copyPath=tree,
        module_other_copyPath=tree,
        defaultModules="mpi,other",
    )
    try:
        assert node.shell("cd /opt/udiImage; cat sbin/tool notes.txt; ls . modules").split() == [
            *("tool", "notes"),
            *(".:", "bin", "modules", "notes.txt", "sbin", "modules:", "mpi", "other"),
        ]
        assert node.run("touch", "/opt/udiImage/bin/new").returncode == 1
        assert node.shell("ls /opt/udiImage", "--module=none").split() == [
            *("bin", "notes.txt", "sbin")
        ]
        (site / "modules").mkdir()
        assert refusal(node) == (
            f"optUdiImage {site} has an entry 'modules', where the copyPath of modules belongs: "
            "ask the administrator to rename it\n"
        )
    finally:
        shutil.rmtree(site)


@pytest.mark.parametrize("spoilt", [".", "lib", "lib/deep", "lib/libmpi.so.12"])
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_files_that_others_can_change_are_refused_however_deep(node, tree, spoilt, how):
    node.configure(module_mpi_copyPath=tree, defaultModules="mpi")
    path = (tree / spoilt).resolve()
    if how == "owner":
        os.chown(path, ALICE, 0)
    else:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o002)

    said = refusal(node)

    assert said.startswith(f"module_mpi_copyPath: {path} ")
    assert f"belongs to user {ALICE}" in said or "is writable by others than root" in said
    assert host_state(node.prefix) == []


def test_a_link_of_somebody_else_in_a_module_is_refused(node, tree):
    (tree / "lib/link").symlink_to("/")
    os.chown(tree / "lib/link", ALICE, ALICE, follow_symlinks=False)
    node.configure(module_mpi_copyPath=tree, defaultModules="mpi")

    assert f"lib/link belongs to user {ALICE}" in refusal(node)


def test_a_module_s_directory_that_a_user_s_link_leads_to_is_refused(node, tree):
    link = node.shared / str(ALICE) / "link"
    link.symlink_to(tree)
    node.configure(module_mpi_copyPath=link, defaultModules="mpi")

    assert "on the way to it belongs to user" in refusal(node)


@pytest.mark.parametrize("kind", ["file", "pipe", "nothing"])
def test_a_module_s_directory_that_is_none_is_refused(node, tree, kind):
    path = tree / "place"
    if kind == "file":
        path.write_text("")
    elif kind == "pipe":
        os.mkfifo(path)
    node.configure(module_mpi_copyPath=path, defaultModules="mpi")

    reason = "No such file or directory" if kind == "nothing" else "Not a directory"
    assert refusal(node) == f"module_mpi_copyPath: cannot open {path}: {reason}\n"


def test_a_module_too_large_to_be_checked_is_refused(node, tree):
    big = tree / "big"
    big.mkdir()
    for number in range(20_001):
        (big / str(number)).symlink_to("x")
    node.configure(module_mpi_copyPath=tree, defaultModules="mpi")

    assert "holds more than can be checked at each launch" in refusal(node)


@pytest.fixture
def user_hook(node):
    """`user_hook(script)`: module x has this script, which the container sees at /shared/hook."""

    def user_hook(script: str, **settings) -> None:
        (node.shared / "hook").write_text(script)
        node.configure(module_x_userhook="/shared/hook", defaultModules="x", **settings)

    return user_hook


def test_a_script_of_the_user_s_runs_as_the_user_inside_before_the_program(node, user_hook):
    user_hook(
        "{ id -u; pwd; cat /etc/os-release; env; grep ^CapEff /proc/self/status; ls /proc/self/fd;"
        " } >/shared/61001/seen\n"
    )

    seen = node.shell("cat /shared/61001/seen", "--workdir=/data", "--env=SECRET=x")

    seen = seen.splitlines()
    assert seen[:3] == [str(ALICE), "/data", "ID=busybox"]
    # What is left of the environment is what the shell itself sets.
    assert {line.partition("=")[0] for line in seen[3:-5]} <= {
        "OLDPWD",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
    }
    # 3 is the directory that ls reads.
    assert seen[-5:] == ["CapEff:\t0000000000000000", *"0123"]


def test_a_script_of_the_user_s_keeps_the_umask_and_the_job_s_output(node, user_hook):
    user_hook("umask; cat; echo done >&2\n")

    done = node.run("sh", "-c", "echo result", umask=0o027)

    assert (done.stdout, done.stderr) == ("result\n", "0027\ndone\n")


def test_a_script_of_the_user_s_that_fails_keeps_the_program_from_starting(node, user_hook):
    user_hook("exit 7\n")

    done = node.run("sh", "-c", "echo started")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "shifter: module_x_userhook /shared/hook failed with exit status 7\n"


def test_a_script_of_the_user_s_that_hangs_is_ended(node, user_hook):
    user_hook(f"exec sleep {AGES}\n", hookTimeout="0.3")

    assert "took longer than 0.3 seconds (hookTimeout)" in refusal(node)


def test_a_script_of_the_user_s_that_is_missing_is_said(node):
    node.configure(module_x_userhook="/nowhere", defaultModules="x")

    done = node.run("true")

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: module_x_userhook /nowhere failed with exit status ")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_launch_ends_a_script_of_the_user_s(node, user_hook, sent):
    user_hook(f"touch /shared/61001/began; sleep {AGES} & sleep {AGES}\n")
    process = node.start("true")
    wait_until((node.shared / str(ALICE) / "began").exists)

    process.send_signal(sent)

    process.communicate(timeout=20)
    assert process.returncode in (-sent, 128 + sent)
    wait_until(lambda: not processes_with(f"sleep {AGES}"))
