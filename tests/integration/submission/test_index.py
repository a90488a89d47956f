# SPDX-License-Identifier: BSD-3-Clause
"""The index beside the images, which only root can read: asked as the runtime asks it."""

from __future__ import annotations

import pytest

from shifter_common import tag_index
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = [pytest.mark.root, pytest.mark.munge]

SILENT = "http://127.0.0.1:9"


@pytest.fixture
def submit(login_node, node, munged):
    """`submit("--image=x", imageLookup="index")`: on a node where nobody but root sees images."""
    entry = node.images / tag_index.path_of("docker", "tool:1")
    entry.parent.mkdir(parents=True)
    entry.write_text(f"{IMAGE_ID}\n")
    (node.images / tag_index.DIRECTORY).chmod(0o700)
    login_node.config = node.config

    def submit(*words, user=ALICE, meta="", **keys):
        node.add_image(meta=meta)
        for path in node.images.glob(f"{IMAGE_ID}.*"):
            path.chmod(0o600)
        node.configure(**({"mungeSocketPath": munged, "imageGateway": SILENT} | keys))
        return login_node.submit(*words, user=user)

    return submit


def test_index_answers_while_the_gateway_is_down(submit):
    answer = submit("--image=tool:1")

    assert (answer.code, answer.said) == (
        0,
        "shifter: no image gateway answered: asked the index\n",
    )
    assert answer.records["SHIFTER_IMAGE"] == IMAGE_ID
    assert answer.records["SHIFTER_PINNED_REQUEST"] == "docker:tool:1"


@pytest.mark.parametrize("order", ["index", "index gateway"])
def test_index_is_asked_first_where_the_site_says_so(submit, order):
    answer = submit("--image=tool:1", imageLookup=order)

    assert (answer.code, answer.said) == (0, "")
    assert answer.records["SHIFTER_IMAGE"] == IMAGE_ID


def test_image_that_nobody_knows_is_told_with_both_places(submit, node):
    answer = submit("--image=tool:2")

    assert (answer.code, answer.records) == (1, {})
    first, second = answer.said.splitlines()
    assert first.startswith(f"shifter: failed to contact the image gateway. {SILENT}: ")
    assert second.startswith(
        "shifter: cannot use image 'docker:tool:2': no image gateway answered, and it is not in "
        f"the index {node.images}/.tags (--image=id:ID needs no gateway: "
    )


def test_private_image_is_nobodys_else_to_find(submit):
    meta = f"USERACL: {ALICE}\n"

    to_alice = submit("--image=tool:1", meta=meta, imageLookup="index")
    to_bob = submit("--image=tool:1", meta=meta, imageLookup="index", user=BOB)

    assert to_alice.records["SHIFTER_IMAGE"] == IMAGE_ID
    assert (to_bob.code, to_bob.records) == (1, {})
    assert "it is not in the index" in to_bob.said
    assert IMAGE_ID not in to_bob.said


def test_machine_without_the_runtime_says_so(submit):
    answer = submit("--image=tool:1", udiRootPath="/nonexistent", imageLookup="index")

    assert (answer.code, answer.records) == (1, {})
    assert "cannot run /nonexistent/bin/shifter: No such file or directory" in answer.said
