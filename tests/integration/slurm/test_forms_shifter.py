# SPDX-License-Identifier: BSD-3-Clause
"""Forms of the command `shifter` itself, typed where users log in and where no job is."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.root


def bash(cluster, script, **options):
    return cluster.output("ctl", "bash", "-c", script, **options)


@pytest.mark.parametrize(
    "words", ["--image=docker:lib/tool:1", "--image lib/tool:1", "-i lib/tool:1", "--image=id:{id}"]
)
def test_an_image_is_named_in_every_way(cluster, tool, words):
    command = f"shifter {words.format(id=tool.image_id)} bash -c 'echo $TOOL in $BASH_VERSION'"

    assert bash(cluster, command).startswith("hammer in ")


def test_what_follows_two_dashes_is_the_program_with_its_options(cluster, tool):
    script = "shifter -E --image=lib/tool:1 -- /bin/bash --rcfile /etc/bash.bashrc -c 'echo $HOME.'"

    assert bash(cluster, script) == ".\n"


def test_variables_come_from_options_and_files(cluster, tool):
    cluster.write(cluster.home("alice") / "variables", "FROM_FILE=1\n# a comment\n")
    script = (
        "FOO=bar; shifter --image=lib/tool:1 -e FOO=$FOO --env=X='a b' --env-file=$HOME/variables"
        " bash -c 'echo $FOO $X $FROM_FILE $SHIFTER_RUNTIME $TOOL'"
    )

    assert bash(cluster, script) == "bar a b 1 1 hammer\n"


def test_volumes_are_given_one_by_one_and_in_lists(cluster, tool, directory):
    one, other = directory("one"), directory("other")
    bash(cluster, f"echo 1 >{one}/file; echo 2 >{other}/file")
    script = (
        f'cd {one} && shifter --image=lib/tool:1 --volume="{one}:/a;{other}:/c:ro" -V $(pwd):/data'
        " bash -c 'cat /a/file /c/file /data/file; pwd; touch /c/new 2>/dev/null || echo refused'"
    )

    assert bash(cluster, script) == f"1\n2\n1\n{one}\nrefused\n"


def test_a_node_has_a_cache_of_its_own(cluster, tool, directory):
    place = directory("tmpfiles")
    volume = f"--volume={place}:/tmp:perNodeCache=size=300M"

    shown = bash(cluster, f"shifter --image=lib/tool:1 {volume} stat -f -c %T /tmp")

    assert shown == "xfs\n"


def test_an_entry_point_is_run_when_asked_for(cluster, tool):
    script = "shifter --image=lib/tool:1 --entrypoint; shifter --image=lib/tool:1 --entrypoint=pwd"

    assert bash(cluster, script, cwd="/tmp") == "entered\n/tmp\n"


def test_a_directory_to_work_in_is_given_in_both_ways(cluster, tool):
    script = "for option in --workdir=/data -w/home; do shifter -i lib/tool:1 $option pwd; done"

    assert bash(cluster, script) == "/data\n/home\n"


def test_a_script_starts_itself_anew_in_the_image_that_it_needs(cluster, tool):
    """As job scripts do that may be started outside and inside."""
    script = cluster.write(
        cluster.home("alice") / "reload.sh",
        "#!/bin/bash\n"
        'if [[ "$SHIFTER_IMAGEREQUEST" != "$WANTED" ]]; then\n'
        '    shifter --image=$WANTED --module=none -- "$0" "$@"\n'
        "    exit\n"
        "fi\n"
        'echo "$TOOL: $*"\n',
    )

    assert bash(cluster, f"WANTED=lib/tool:1 {script} a b") == "hammer: a b\n"


def test_the_container_says_what_it_is(cluster, tool):
    script = "shifter --image=lib/tool:1 bash -c 'echo $SHIFTER_IMAGEREQUEST $SHIFTER_IMAGE;"
    script += " cat /var/shifterConfig.json'"

    request, config = bash(cluster, script).splitlines()

    assert request == f"lib/tool:1 {tool.image_id}"
    assert json.loads(config)["identifier"] == tool.image_id
    assert json.loads(config)["user"] == "alice"
