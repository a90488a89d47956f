# SPDX-License-Identifier: BSD-3-Clause
"""Forms in which users and their tools ask for images, and how tools read the answers."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def number():
    """A number for each image of this module."""
    return iter(range(1, 100))


@pytest.fixture
def new_image(cluster, number):
    """An image that nobody has pulled yet."""
    return cluster.push_image(f"lib/new{next(number)}:v1.2")


def shell(cluster, script, **options):
    return cluster.run("ctl", "bash", "-c", script, **options)


@pytest.mark.parametrize("form", ["docker:{name}", "{name}", "docker://{name}", "docker:{digest}"])
def test_an_image_is_pulled_by_every_name(cluster, new_image, form):
    repository = new_image.name.partition(":")[0]
    reference = form.format(name=new_image.name, digest=f"{repository}@{new_image.digest}")

    pulled = cluster.run("ctl", "shifterimg", "-v", "pull", reference)

    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.rstrip().endswith("status: READY")
    assert cluster.lookup(reference) == new_image.image_id


def test_without_a_terminal_a_pull_rewrites_one_line(cluster, new_image):
    pulled = cluster.run("ctl", "shifterimg", "pull", new_image.reference)

    line = re.escape(f" Pulling Image: {new_image.reference}, status: READY")
    assert re.search(rf"\r\x1b\[2K\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d{line}\n$", pulled.stdout)


def status_as_nextflow_reads_it(cluster, command, image):
    """Its helper: what stands last but one, in the sixth column."""
    script = f"shifterimg -v {command} {image} 2>/dev/null | tail -n2 | head -n1"
    return shell(cluster, script + " | awk '{print $6}'").stdout.strip()


def test_nextflow_sees_a_pull_succeed(cluster, new_image):
    assert status_as_nextflow_reads_it(cluster, "pull", new_image.name) == "READY"


def test_nextflow_sees_a_pull_fail(cluster):
    assert status_as_nextflow_reads_it(cluster, "pull", "lib/none:1") == "FAILURE"


def test_older_tools_find_the_status_in_the_messages_of_the_gateway(cluster, new_image):
    script = f"shifterimg -v pull {new_image.name} | grep '\"status\":' | tail -n1"

    assert '"status":"READY"' in shell(cluster, script).stdout.replace(": ", ":")


def test_a_wrapper_pulls_what_a_lookup_does_not_find(cluster, new_image):
    script = f"shifterimg lookup {new_image.name} || shifterimg pull {new_image.name} >/dev/null"

    first, second = shell(cluster, script), shell(cluster, script)

    assert (first.returncode, first.stdout) == (0, "")
    assert (second.returncode, second.stdout) == (0, f"{new_image.image_id}\n")


def test_a_workflow_pulls_a_tag_and_runs_its_id(cluster, new_image):
    script = (
        f"shifterimg pull {new_image.name} >/dev/null && id=$(shifterimg lookup {new_image.name})"
        ' && shifter --image=id:"$id" hostname'
    )

    assert shell(cluster, script).stdout == "ctl\n"


def test_images_are_listed_in_columns(cluster, tool):
    line = shell(cluster, f"shifterimg images | grep {tool.name}").stdout.rstrip("\n")

    columns = r"cluster    docker     READY    (\w{10})   (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d) (.{30})"
    found = re.fullmatch(columns, line)
    assert found, line
    assert found[1] == tool.image_id[:10]
    assert found[3].rstrip() == tool.name


def test_an_image_is_shared_with_those_who_are_named(cluster, number):
    image = cluster.push_image(f"private/shared{next(number)}:1")
    cluster.pull(image.reference, "--user=alice,bob")

    assert cluster.lookup(image.reference, user="bob") == image.image_id


def test_an_image_is_hidden_from_those_who_are_not_named(cluster, number):
    image = cluster.push_image(f"private/own{next(number)}:1")
    cluster.pull(image.reference, "--user=alice")

    hidden = cluster.run("ctl", "shifterimg", "lookup", image.reference, user="bob")
    launched = cluster.run("ctl", "shifter", f"--image=id:{image.image_id}", "id", user="bob")

    assert (hidden.returncode, hidden.stdout) == (1, "")
    assert launched.returncode == 1
    assert "permission denied to image" in launched.stderr


def test_a_group_shares_an_image(cluster, number):
    image = cluster.push_image(f"private/group{next(number)}:1")
    cluster.pull(image.reference, "--group=project")

    launched = cluster.run("ctl", "shifter", f"--image={image.name}", "hostname", user="bob")

    assert launched.stdout == "ctl\n", launched.stderr
