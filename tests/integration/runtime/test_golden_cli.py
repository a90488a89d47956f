# SPDX-License-Identifier: BSD-3-Clause
"""Every command line that was recorded of the original, given to ours on a node like that one.

Exit code and standard output are the recorded ones, but for what `BETTER` lists with its reason.
What is said on standard error is ours.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import wait_until
from tests.integration.runtime.node import ALICE, BOB, host_state

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).parents[2] / "golden"
IMAGE_ID = "e1edb98a467409ea070bb8ceb37c9f375b20d64a65c7f24d3cffda7ba75cdf0f"
CASES = sorted(path.stem.removeprefix("shifter_") for path in GOLDEN.glob("cli/shifter_*.txt"))

# Ours has digits for ids only.
IDS = {"noentry": "b" * 64, "denied": "c" * 64, "nometa": "d" * 64}

MODULES = """
defaultModules=mpi
module_mpi_siteEnvPrepend=LD_LIBRARY_PATH=/opt/udiImage/modules/mpi/lib
module_mpi_siteEnv=MPI=1
module_gpu_siteEnv=GPU=1
module_gpu_conflict=mpi
module_off_enabled=0
"""
CONFIGURATION = {
    **{f"module_{name}": MODULES for name in ("chosen", "conflict", "default", "disabled", "none")},
    "module_unknown": MODULES,
    "config_bad_siteFs": "siteFs=/home:/etc\n",
    "config_etcpath_missing": "etcPath=/nonexistent\n",
    "config_missing_key": "udiMount=\n",
    "config_missing_tool": "cpPath=/bin/nosuchcp\n",
    "config_unknown_key": "noSuchKey=1\n",
    "no_default_type": "defaultImageType=\n",
}
ENVIRONMENT = {
    "env_image_half": {"SHIFTER_IMAGE": IMAGE_ID},
    "env_image_pair": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": IMAGE_ID},
    "env_imagerequest": {"SHIFTER_IMAGEREQUEST": f"id:{IMAGE_ID}"},
    "env_shifter": {"SHIFTER": f"id:{IMAGE_ID}"},
    "env_spank": {
        "SLURM_SPANK_SHIFTER_IMAGETYPE": "id",
        "SLURM_SPANK_SHIFTER_IMAGE": IMAGE_ID,
        "SLURM_SPANK_SHIFTER_VOLUME": "/data:/mnt",
    },
    "env_volume": {"SHIFTER_VOLUME": "/data:/mnt"},
    "env_volume_replaced": {"SHIFTER_VOLUME": "/data:/mnt"},
}
PLACE = {"cwd_missing_in_container": "/usr/share"}
SORTED = {"module_chosen", "module_default"}  # the shell of another busybox has another order

NO_APPLET = "the recorded image's busybox had no printenv"
CLEARED = (
    f"SHIFTER_IMAGEREQUEST=id:{IMAGE_ID}\nSHIFTER_IMAGE={IMAGE_ID}\n"
    "PATH=/usr/local/bin:/usr/bin:/bin:/sbin:/opt/udiImage/bin\nIMGVAR=fromimage\n"
)
# Name -> why ours differs, the exit code, and what must be on standard output.
BETTER = {
    "env_image_pair": (NO_APPLET, 0, f"{IMAGE_ID}\nid\n"),
    "env_imagerequest": (NO_APPLET, 0, f"{IMAGE_ID}\nid:{IMAGE_ID}\n"),
    "env_set": (NO_APPLET, 0, "2\nx=y\n"),
    "env_empty_value": ("an empty value is a value", 0, ""),
    "env_file_empty_value": ("an empty value is a value", 0, f"{CLEARED}A=\nSHIFTER_RUNTIME=1\n"),
    "env_no_equals": ("the usage is shown with every mistake in it", 1, "<short usage>"),
    "env_shifter": ("its help has always promised SHIFTER=type:tag", 0, ""),
    "config_unknown_key": ("a site's old file must do", 0, ""),
    "config_missing_tool": ("no tool is run", 0, ""),
    "volume_to_missing": ("a mount point may be anywhere", 0, ".\n..\n"),
}

# A node where /home is shared, and alice has a name, for nobody else to see.
ENTER = """
import json, os, subprocess, sys
prefix, place, user, environment, *command = sys.argv[1:]
for source, target in (("shared", "/home"), ("etc/files/passwd", "/etc/passwd"),
                       ("etc/files/group", "/etc/group")):
    subprocess.run(["mount", "--bind", f"{prefix}/{source}", target], check=True)
os.chdir(place)
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
os.execve(command[0], command, json.loads(environment))
"""
SHOW = """\
#!/bin/sh
echo "argc=$#"
for word; do echo "arg=<$word>"; done
echo "cwd=<$(pwd)>"
echo "-- environ of the process, in order --"
tr '\\0' '\\n' </proc/$$/environ
"""
PRINTENV = """\
#!/bin/sh
for name; do tr '\\0' '\\n' </proc/$$/environ | sed -n "s/^$name=//p"; done
"""


class Recording:
    """One file of the original's: what was typed, and what came back."""

    def __init__(self, name: str) -> None:
        text = (GOLDEN / f"cli/shifter_{name}.txt").read_text()
        _, command, code, _ = text.split("\n", 3)
        self.words = shlex.split(command)[2:]
        self.returncode = -15 if "killed by signal 15" in code else int(code.rpartition(" ")[2])
        _, _, output = text.partition("--- stdout: ")
        self.stdout = output.partition("---\n")[2].rpartition("--- stderr: ")[0]


@pytest.fixture(scope="module")
def recorded_image(tmp_path_factory):
    """A file as the recorded image was, as far as the command lines look at it."""
    tree = tmp_path_factory.mktemp("recorded") / "tree"
    for name in ("app", "bin", "data", "dev", "etc", "home", "mnt", "opt/app", "proc", "srv"):
        (tree / name).mkdir(parents=True)
    shutil.copy2("/bin/busybox", tree / "bin/busybox")
    for applet in ("cat", "echo", "env", "ls", "pwd", "sed", "sh", "touch", "tr", "true"):
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "data/file").write_text("in image\n")
    (tree / "rootfile").write_text("")
    for name, text in (("app/show", SHOW), ("bin/printenv", PRINTENV)):
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    image = tree.with_suffix(".squashfs")
    subprocess.run(
        ["mksquashfs", tree, image, "-quiet", "-no-progress", "-all-root", "-comp", "zstd"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return image


@pytest.fixture(scope="module")
def recorded_node(installed_node, recorded_image):
    """The node with the recorded configuration, images and home directories."""
    node = installed_node
    ours = {
        "udiMount": node.prefix / "udi",
        "loopMount": node.prefix / "loop",
        "imagePath": node.images,
        "udiRootPath": node.prefix,
        "optUdiImage": "",
        "etcPath": node.prefix / "etc/files",
        "perNodeCachePath": "",
    }
    recorded = (GOLDEN / "udi/udiRoot.conf").read_text()
    node.configuration = recorded + "".join(f"{key}={value}\n" for key, value in ours.items())
    metadata = (GOLDEN / "udi/image.meta").read_text()
    plain = "FORMAT: squashfs\nENV: PATH=/bin\n"
    _add_image(node, recorded_image, IMAGE_ID, metadata)
    _add_image(node, recorded_image, IDS["noentry"], plain)
    _add_image(node, recorded_image, IDS["denied"], f"{plain}USERACL: {BOB}\n")
    _add_image(node, recorded_image, IDS["nometa"], None)
    _make_homes(node.shared)
    yield node
    wait_until(lambda: not host_state(node.prefix), what="the last loop device")
    for directory in (node.shared, node.images):
        shutil.rmtree(directory)
        directory.mkdir()


def _add_image(node, file, image_id, metadata):
    shutil.copyfile(file, node.images / f"{image_id}.squashfs")
    (node.images / f"{image_id}.squashfs").chmod(0o600)
    if metadata is not None:
        (node.images / f"{image_id}.meta").write_text(metadata)


def _make_homes(home):
    for name, user in (("alice", ALICE), ("bob", BOB)):
        (home / name).mkdir()
        os.chown(home / name, user, user)
    (home / "bob").chmod(0o700)
    (home / "alice/src").mkdir()
    (home / "alice/src/hello").write_text("")
    files = {
        "envfile": '# comment\n\nA=1\nB="quoted"\n  C=lead\nD = spaces\nE=trail  \nF=x=y\n',
        "envbad": "NOEQ\n",
        "envbad2": "A=\n",
    }
    for name, content in files.items():
        (home / "alice" / name).write_text(content)


def _caller():
    """The recorded caller's variables in his order."""
    lines = (GOLDEN / "udi/caller_environment.txt").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    order = (GOLDEN / "udi/cold_env_order.txt").read_text().splitlines()
    names = [line.partition("=")[0] for line in order]
    return {name: variables[name] for name in names if name in variables} | variables


def run(node, name, words):
    lines = node.configuration.splitlines(keepends=True)
    if name == "gateway_not_configured":
        lines = [line for line in lines if not line.startswith("imageGateway")]
    node.config.write_text("".join([*lines, CONFIGURATION.get(name, "")]))
    user = 0 if name == "as_root" else ALICE
    environment = json.dumps(_caller() | ENVIRONMENT.get(name, {}))
    for original, ours in IDS.items():
        words = [word.replace(f"id:{original}", f"id:{ours}") for word in words]
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "--", sys.executable, "-c", ENTER,
         node.prefix, PLACE.get(name, "/home/alice"), str(user), environment, node.launcher,
         *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name != "help"])
def test_recorded_command_lines_end_as_they_were_recorded(recorded_node, name):
    recording = Recording(name)
    why, returncode, stdout = BETTER.get(name, ("", recording.returncode, recording.stdout))

    done = run(recorded_node, name, recording.words)

    assert done.returncode == returncode, (why, done.stderr)
    if "<short usage" in stdout:
        assert returncode == 1
    elif name in SORTED:
        assert sorted(done.stdout.splitlines()) == sorted(stdout.splitlines())
    else:
        assert done.stdout == stdout, why


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_shown_on_standard_output_whatever_else_is_typed(recorded_node, option):
    done = run(recorded_node, "help", [option, "--nope"])

    assert (done.returncode, done.stderr) == (0, "")
    assert "Order of precedence" in done.stdout
