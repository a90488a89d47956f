# SPDX-License-Identifier: BSD-3-Clause
"""What would make the other tests here pass for nothing: a mock that does not see faults."""

from __future__ import annotations

import subprocess

import pytest

from tests.spank import mock
from tests.spank.mock import Script

pytestmark = pytest.mark.root

# A plugin that does, for each image, one thing that no plugin may.
BAD_PLUGIN = """
#include <signal.h>
#include <slurm/spank.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
SPANK_PLUGIN(shifter, 1)
static struct spank_option image = {"image", "IMAGE", "an image", 1, 0, NULL};
int slurm_spank_init(spank_t spank, int argc, char **argv)
{
	return spank_option_register(spank, &image);
}
int slurm_spank_job_prolog(spank_t spank, int argc, char **argv)
{
	char *value, *volatile lost;
	if (spank_option_getopt(spank, &image, &value))
		return 5;
	if (!strcmp(value, "leak"))
		lost = malloc(30), lost = NULL;
	if (!strcmp(value, "overflow"))
		value[strlen(value) + 1] = 1;
	if (!strcmp(value, "overflow-signed"))
		return 0x7fffffff + (int)strlen(value);
	if (!strcmp(value, "ask")) {
		unsigned count;
		return spank_get_item(spank, S_JOB_NNODES, &count);
	}
	if (!strcmp(value, "exit"))
		exit(0);
	return 0;
}
"""


@pytest.fixture(scope="module")
def bad_plugin(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bad")
    source = directory / "plugin.c"
    source.write_text(BAD_PLUGIN)
    plugin = directory / "plugin.so"
    subprocess.run(["gcc", "-shared", "-fPIC", *mock.SANITIZERS, "-o", plugin, source], check=True)
    return plugin


@pytest.fixture
def bad_site(make_site, bad_plugin):
    return make_site(bad_plugin)


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        ("leak", "detected memory leaks"),
        ("overflow", "heap-buffer-overflow"),
        ("overflow-signed", "signed integer overflow"),
        ("ask", "crash"),
        ("exit", "ended with 0"),
    ],
)
def test_what_no_plugin_may_do_is_seen(bad_site, image, complaint):
    script = Script("job_script").add("hook", "init").add("option", "image", image)

    seen = bad_site.run(script.add("hook", "job_prolog"))

    with pytest.raises(AssertionError, match=complaint):
        seen.require_sound()


def test_in_a_prolog_options_come_from_an_environment_with_a_prefix(bad_site):
    script = Script("job_script").add("hook", "init").add("hook", "job_prolog")

    without = bad_site.run(script, environment={"_SLURM_SPANK_OPTION_shifter_image": "x"})
    within = bad_site.run(script, environment={"SPANK__SLURM_SPANK_OPTION_shifter_image": "x"})

    assert without.require_sound().returned("job_prolog") == 5
    assert within.require_sound().returned("job_prolog") == 0


def test_what_one_child_does_is_not_seen_by_the_next(bad_site):
    script = Script("job_script").add("hook", "init")
    for image in ("x", "exit", "overflow", "x"):
        script.add("child").add("option", "image", image).add("hook", "job_prolog").add("parent")

    seen = bad_site.run(script)

    assert [status for _, status in seen.require_sound().of("child")] == ["0", "0", "97", "0"]
