# SPDX-License-Identifier: BSD-3-Clause
"""`shifter doctor`: as the user, with nothing of root's left, it says how a launch would end."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT
from tests.shared_objects import make_library

pytestmark = pytest.mark.root

NAME = f"id:{IMAGE_ID}"
NO_CAPABILITY = "0" * 16
NO_HOME = (
    f"shifter doctor: your registry logins are not used: user {ALICE} has no entry in the passwd "
    "database\n"
)


@pytest.fixture
def doctor(node):
    """`doctor(IMAGE, …)` as a user, in an environment of the test's."""

    def run(*words, **options):
        return node.run("doctor", *words, image=None, **options)

    return run


@pytest.fixture
def report(doctor):
    def run(*words, **options):
        done = doctor("--json", *words, **options)
        # Users of these tests exist in etcPath only, so that nobody knows of a home of theirs.
        assert done.stderr in ("", NO_HOME)
        return json.loads(done.stdout), done.returncode

    return run


@pytest.fixture
def telling(node):
    """In the place of what looks, a program that tells who it is."""
    program = node.prefix / "libexec/shifter/doctor"
    kept = program.with_name("kept")
    program.rename(kept)
    program.write_text(
        '#!/bin/sh\ncat /proc/self/status\necho "words: $*"\nls -l /proc/self/fd\nenv\n'
    )
    program.chmod(0o755)
    yield
    kept.rename(program)


def by_subject(found, subject):
    return [one for one in found["findings"] if one["subject"] == subject]


def test_what_looks_is_the_user_with_no_privilege_left(doctor, telling):
    told = doctor("x", "--y=z", groups=(PROJECT,), env={"PATH": "/usr/bin", "LANG": "x y"}).stdout

    lines = dict(line.split(":", 1) for line in told.splitlines() if line.count(":") == 1)
    assert lines["Uid"].split() == [str(ALICE)] * 4
    assert lines["Gid"].split() == [str(ALICE)] * 4
    assert lines["Groups"].split() == [str(ALICE), str(PROJECT)]
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert lines[capabilities].strip() == NO_CAPABILITY
    assert lines["words"] == " x --y=z"
    assert "LANG=x y" in told.splitlines()
    assert "memfd" not in told


def test_what_looks_cannot_become_root_again(node, doctor, telling):
    program = node.prefix / "libexec/shifter/doctor"
    program.write_text(
        "#!/usr/bin/python3 -I\nimport os\nfor become in (os.setuid, os.seteuid, os.setgid):\n"
        "    try:\n        become(0)\n    except PermissionError:\n        print('refused')\n"
    )

    assert doctor().stdout.split() == ["refused"] * 3


def test_root_is_refused(doctor, telling):
    done = doctor(user=0)

    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be run as root" in done.stderr


def test_a_program_called_doctor_is_run_all_the_same(node):
    def add(tree: Path):
        (tree / "bin/doctor").write_text("#!/bin/sh\necho the image\\'s own $1\n")
        (tree / "bin/doctor").chmod(0o755)

    node.add_image(add)
    environment = {"PATH": "/usr/bin", "SHIFTER": NAME}

    for words in (("--image=" + NAME, "doctor", "x"), ("--", "doctor", "x")):
        done = node.run(*words, image=None, env=environment)

        assert (done.stdout, done.stderr) == ("the image's own x\n", "")


def test_a_launch_that_would_work_is_said_to(doctor):
    done = doctor(NAME, env={"PATH": "/usr/bin", "COLUMNS": "80"})

    assert (done.returncode, done.stderr) == (0, "")
    assert f"id:{IMAGE_ID[:12]}… would start here: problems: 0" in done.stdout
    assert "bind " in done.stdout
    assert "the site     SHIFTER_RUNTIME=1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_programs_are_told_the_same(report):
    found, status = report(NAME)

    assert (status, found["good"], found["id"]) == (0, True, IMAGE_ID)
    assert {"name": "PATH", "value": "/bin", "source": "the image"} in found["environment"]["set"]
    assert any(one["operation"] == "MountImage" for one in found["operations"])
    assert {one["subject"] for one in found["findings"]} >= {"gateway", "kernel", "file", "loop"}


def test_the_image_of_a_job_needs_no_name(report):
    found, status = report(env={"PATH": "/usr/bin", "SHIFTER": NAME})

    assert (status, found["image"]) == (0, NAME)


def test_nothing_is_looked_at_without_an_image(doctor):
    done = doctor()

    assert done.returncode == 1
    assert done.stderr == (
        "shifter doctor: no image is named: write shifter doctor IMAGE, as in docker:ubuntu:24.04\n"
    )


def test_an_image_that_is_not_here_is_a_problem(report):
    found, status = report(f"id:{'b' * 64}")

    assert status == 1
    assert any("does not exist; pull the image again" in one["text"]
               for one in by_subject(found, "launch"))  # fmt: skip


def test_an_image_of_others_is_a_problem(node, report):
    node.add_image(meta=f"USERACL: {BOB}\n")

    found, status = report(NAME)

    assert status == 1
    assert any("in its access list" in one["text"] for one in by_subject(found, "launch"))
    assert report(NAME, user=BOB)[1] == 0


def test_options_of_the_launch_are_those_of_the_question(report):
    vast, refused = report(NAME, "--writable=900T")
    lost, failed = report(NAME, "--volume=/none:/data")

    assert (refused, failed) == (1, 1)
    assert by_subject(vast, "memory")[0]["level"] == "problem"
    assert any("/none" in one["text"] for one in by_subject(lost, "launch"))


def test_a_trial_runs_neither_the_program_nor_the_entry_point(node, report):
    def add(tree: Path):
        (tree / "bin/mark").write_text("#!/bin/sh\ntouch /shared/mark\n")
        (tree / "bin/mark").chmod(0o755)

    node.add_image(add, meta='ENTRY: ["/bin/mark"]\n')
    node.shared.chmod(0o777)

    for words in (("--entrypoint",), ("mark",), ("--", "mark", "--entrypoint")):
        found, status = report(NAME, *words)

        assert (status, by_subject(found, "launch")[0]["level"]) == (0, "ok")
    assert not (node.shared / "mark").exists()


def test_an_image_without_any_program_can_be_looked_at(node, doctor):
    def empty(tree: Path):
        shutil.rmtree(tree / "bin")

    node.add_image(empty)

    done = doctor(NAME)

    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot look into" in " ".join(done.stdout.split())


def test_a_module_that_needs_a_newer_glibc_is_told(node, report, tmp_path):
    """Users.md 26 and 43: libraries of the node that the image's glibc is too old for."""
    module = node.prefix / "mpich"
    old = make_library(tmp_path / "image/libc.so.6", versions=["GLIBC_2.2.5", "GLIBC_2.17"])
    new = make_library(tmp_path / "node/libc.so.6", versions=["GLIBC_2.2.5", "GLIBC_2.38"])
    make_library(module / "lib/libmpich.so.12", uses={"GLIBC_2.38": new})

    def add(tree: Path):
        (tree / "lib64").mkdir()
        shutil.copy(old, tree / "lib64/libc.so.6")

    node.add_image(add)
    node.configure(module_mpich_copyPath=module)
    try:
        offered, allowed = report(NAME)
        used, refused = report(NAME, "--module=mpich")
    finally:
        shutil.rmtree(module)

    assert (allowed, refused) == (0, 1)
    for found, level in ((offered, "note"), (used, "problem")):
        finding = next(one for one in by_subject(found, "module") if "not fit" in one["text"])
        assert finding["level"] == level
        assert "needs GLIBC_2.38, the image has GLIBC_2.17" in finding["text"]


def test_python_packages_of_the_user_are_told(node, report):
    def add(tree: Path):
        (tree / "usr/lib/python3.11").mkdir(parents=True)

    node.add_image(add)
    home = node.shared / str(ALICE)
    subprocess.run(
        ["mkdir", "-p", home / ".local/lib/python3.11"], user=ALICE, group=ALICE, check=True
    )

    found, status = report(NAME, env={"PATH": "/usr/bin", "HOME": f"/shared/{ALICE}"})

    assert status == 0
    assert "come before the image's own" in by_subject(found, "python")[0]["text"]


@pytest.mark.munge
@pytest.mark.registry
def test_an_image_that_the_gateway_does_not_know_is_one_problem(node, report, make_gateway, munged):
    gateway = make_gateway()
    node.configure(imageGateway=gateway.url, mungeSocketPath=munged)

    found, status = report("doctor/none:1")

    problems = [one for one in found["findings"] if one["level"] == "problem"]
    assert (status, len(problems)) == (1, 1)
    assert problems[0]["advice"] == "shifterimg pull docker:doctor/none:1 fetches an image"


@pytest.mark.registry
@pytest.mark.munge
def test_what_the_gateway_knows_of_a_pulled_image_is_told(
    node, report, make_gateway, push_image, make_layer, munged
):
    busybox = Path("/bin/busybox").read_bytes()
    programs = [(f"bin/{name}", "-> busybox") for name in ("cat", "ls", "true")]
    layer = make_layer(("bin", None), ("bin/busybox", busybox), *programs)
    pushed = push_image("doctor/app:1", [layer], {"Env": ["PATH=/bin", "GREETING=hello"]})
    gateway = make_gateway()
    gateway.wait(pushed.reference)
    node.configure(imagePath=gateway.image_dir, imageGateway=gateway.url, mungeSocketPath=munged)

    found, status = report(pushed.reference)

    assert status == 0, found
    assert {one["level"] for one in found["findings"]} <= {"ok", "note"}
    assert by_subject(found, "access")[0]["text"] == "everybody may use it"
    assert by_subject(found, "registry")[0]["text"] == "has the same image under this name"
    variables = {one["name"]: one["source"] for one in found["environment"]["set"]}
    assert variables["GREETING"] == "the image"

    push_image("doctor/app:1", [layer], {"Env": ["PATH=/bin", "GREETING=goodbye"]})

    (registry,) = by_subject(report(pushed.reference)[0], "registry")
    assert registry["level"] == "note"
    assert registry["advice"] == "if you want that one: shifterimg pull docker:doctor/app:1"


def test_a_directory_that_the_container_does_not_have_is_told(node, report):
    found, _ = report(NAME, cwd="/usr/share")

    assert "the container has no /usr/share" in by_subject(found, "directory")[0]["text"]
