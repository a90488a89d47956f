# SPDX-License-Identifier: BSD-3-Clause
"""Users who ask for what is not theirs, or for nonsense; and a gateway that is away.

That no node is drained and nothing is left is looked at after each test; see `nothing_is_left`.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import require_program

pytestmark = pytest.mark.root

PREPARED = "could not be prepared on node n1"


@pytest.fixture(scope="module")
def bobs(cluster):
    """An image that only bob may read."""
    image = cluster.push_image("private/bobs:1", files={"etc/secret": b"bob's"})
    cluster.pull(image.reference, "--user=bob", user="bob")
    return image


@pytest.fixture(scope="module")
def forger(cluster, tmp_path_factory):
    """What alice sets so that sbatch loads a plugin of hers in the place of the site's."""
    library = tmp_path_factory.mktemp("forger") / "forger.so"
    source = Path(__file__).with_name("forger.c")
    compiler = [
        require_program("cc"),
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-o",
        library,
        source,
    ]
    subprocess.run(compiler, check=True)
    site = cluster.read("/etc/slurm/slurm.conf")
    cluster.put(library, "/tmp/forger.so", node="ctl")
    cluster.write("/tmp/plugstack.conf", "required /tmp/forger.so\n")
    cluster.write("/tmp/slurm.conf", site.replace("/etc/slurm/plugstack", "/tmp/plugstack"))
    return {"SLURM_CONF": "/tmp/slurm.conf"}


@pytest.fixture
def without_gateway(cluster):
    """A while in which nobody answers, and no index beside the images is asked instead."""

    @contextlib.contextmanager
    def away():
        cluster.gateway.stop_api()
        try:
            yield
        finally:
            cluster.gateway.start_api()
            cluster.gateway.wait_until_ready()

    with cluster.settings(imageLookup="gateway"):
        yield away()


def submit(cluster, *options, **more):
    return cluster.run("ctl", "sbatch", *options, "--wrap", "true", **more)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--image=docker:lib/none:1"], "cannot find docker:lib/none:1"),
        (["--image=docker:private/bobs:1"], "is not on cluster, or is not for you"),
        (["--image="], "--image needs a value"),
        (["--image=id:../../etc/passwd"], "'id:../../etc/passwd' is no image name"),
        (["--image=lib/tool:1;$(touch /tmp/x)"], "is no image name: it holds ';'"),
        (["--image=lib/to'ol\":1"], "is no image name"),
        (["--image=lib/tool:1\nshifter: all is well"], r"holds the control character '\n'"),
        (["--image=" + "a" * 65536], "--image is too long"),
        (["--image=local:/"], "does not allow directories of the nodes as images"),
        (["--image=lib/tool:1", "--volume=/global/scratch:/etc"], "cannot mount over /etc"),
        (["--image=lib/tool:1", "--volume=$NOWHERE/x:/data"], "NOWHERE"),
        (["--image=lib/tool:1", "--module=none,gpu"], "'none' means no modules at all"),
        (["--image=lib/tool:1", "--module=gpus"], "gpus"),
        (["--volume=/global/scratch:/data"], "an image must be given"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_where_it_is_made(cluster, tool, bobs, options, sentence):
    done = submit(cluster, *options)

    assert done.returncode != 0
    assert done.stdout == ""
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_may_be_repeated_hundreds_of_times(cluster, tool, directory):
    data = directory("data")
    volumes = [f"--volume={data}:/data{number}" for number in range(300)]

    done = cluster.srun(*volumes, "--image=lib/tool:1", "shifter", "ls", "/data299")

    assert done.returncode == 0, done.stderr


def test_the_image_of_another_user_is_not_had_by_its_id(cluster, bobs):
    job = cluster.sbatch("#!/bin/bash\nshifter cat /etc/secret\n", f"--image=id:{bobs.image_id}")

    assert job.wait() == "FAILED"
    assert PREPARED in job.output()
    assert f"permission denied to image {bobs.image_id}" in job.output()
    assert "bob's" not in job.output()


@pytest.mark.parametrize(
    "name",
    ["SHIFTER_IMAGE", "SLURM_SPANK_SHIFTER_IMAGE", "_SLURM_SPANK_OPTION_shifter_image",
     "SLURM_SPANK__SLURM_SPANK_OPTION_shifter_image", "SPANK_SHIFTER_IMAGE"],
)  # fmt: skip
def test_variables_in_a_job_give_no_image_of_others(cluster, tool, bobs, name):
    option = "OPTION" in name
    kind = "" if option else f"export {name}TYPE=id\n"
    script = f"#!/bin/bash\nexport {name}={'id:' * option}{bobs.image_id}\n{kind}"
    script += "shifter cat /etc/secret\nsrun shifter cat /etc/secret\ntrue\n"

    output = cluster.sbatch(script, "--image=lib/tool:1").result()

    assert "bob's" not in output


FORGERIES = {
    "another user's image": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "{bobs}"},
    "a path": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "../../etc/passwd"},
    "the node's root": {"SHIFTER_IMAGETYPE": "local", "SHIFTER_IMAGE": "/"},
    "an unknown type": {"SHIFTER_IMAGETYPE": "--show", "SHIFTER_IMAGE": "--job=1"},
    "an option for root": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "--uid=0"},
    "lines": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "{tool}\nfailed\n"},
    "64 kB": {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": "a" * 65536},
    "a volume over /etc": {"SHIFTER_VOLUME": "/global/scratch:/etc"},
    "a volume of root's": {"SHIFTER_VOLUME": "/root:/data"},
    "a module that is not there": {"SHIFTER_MODULE": "../../x"},
    "a key with a second line": {"SHIFTER_SSH_PUBKEY": "ssh-ed25519 AAAA\nssh-ed25519 BBBB"},
}


@pytest.mark.parametrize("variables", FORGERIES.values(), ids=FORGERIES.keys())
def test_what_a_forged_submission_hands_to_root_is_checked_again(
    cluster, tool, bobs, forger, variables
):
    honest = {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": tool.image_id}
    forged = {
        f"FORGED_{name}": value.format(bobs=bobs.image_id, tool=tool.image_id)
        for name, value in (honest | variables).items()
    }
    script = "#!/bin/bash\nshifter cat /etc/secret /data/.bashrc /etc/shadow 2>&1\ntrue\n"

    with cluster.plugstack(enable_sshd=1):
        job = cluster.sbatch(script, "-wn1", env=forger | forged)
        state = job.wait()

    assert state == "FAILED", job.output()
    assert PREPARED in job.output()
    assert len(job.output()) < 16384


def test_a_forged_submission_that_is_honest_succeeds(cluster, tool, forger):
    """Or the test above would show nothing."""
    forged = {"FORGED_SHIFTER_IMAGETYPE": "id", "FORGED_SHIFTER_IMAGE": tool.image_id}

    job = cluster.sbatch("#!/bin/bash\nshifter -v true\n", env=forger | forged)

    joined = f"shifter: joining the container prepared for job {job.id}\n"
    assert job.result() == f"{joined}shifter: running true\n"


def test_a_pinned_request_leads_to_no_image_of_others(cluster, tool, bobs, forger):
    """Who names his own image as bob's gets his own."""
    forged = {
        "FORGED_SHIFTER_IMAGETYPE": "id",
        "FORGED_SHIFTER_IMAGE": tool.image_id,
        "FORGED_SHIFTER_PINNED_REQUEST": bobs.reference,
    }
    script = (
        f"#!/bin/bash\nshifter --image={bobs.reference} sh -c 'echo $TOOL; cat /etc/secret'\ntrue\n"
    )

    output = cluster.sbatch(script, env=forger | forged).result()

    assert "bob's" not in output


def test_without_the_gateway_a_submission_says_so_and_offers_ids(cluster, tool, without_gateway):
    with without_gateway:
        named = submit(cluster, "--image=lib/tool:1")
        by_id = cluster.srun(f"--image=id:{tool.image_id}", "shifter", "sh", "-c", "echo $TOOL")

    assert named.returncode != 0
    assert "http://ctl:5000" in named.stderr
    assert "--image=id:" in named.stderr
    assert by_id.stdout == "hammer\n", by_id.stderr


def test_a_job_starts_and_runs_without_the_gateway(cluster, tool, without_gateway):
    script = "#!/bin/bash\nsrun shifter --image=lib/tool:1 sh -c 'echo $TOOL'\n"
    job = cluster.sbatch(script, "-N3", "--hold", "--image=lib/tool:1")

    with without_gateway:
        cluster.scontrol("release", str(job.id))
        output = job.result()

    assert output == "hammer\n" * 3
