# SPDX-License-Identifier: BSD-3-Clause
"""Images by name: the gateway is asked, or the index beside the images, as imageLookup says."""

from __future__ import annotations

import http.server
import json
import os
import threading

import pytest

from shifter_common import tag_index
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = [pytest.mark.root, pytest.mark.munge]

OTHER_ID = "b" * 64


class FakeGateway:
    """Gives one answer to whatever is looked up; `asked` are the paths."""

    def __init__(self):
        self.asked = []
        self.status, self.record = 200, {"id": IMAGE_ID, "status": "READY"}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):  # noqa: N802, N805
                self.asked.append(handler.path)
                body = json.dumps(self.record).encode()
                handler.send_response(self.status)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_):  # noqa: N805
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def refuse(self, status, error):
        self.status, self.record = status, {"error": error}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def gateway():
    fake = FakeGateway()
    yield fake
    fake.close()


@pytest.fixture
def configure(node, munged):
    """`configure(gateway=None, **keys)`: udiRoot.conf with this gateway, or one that is silent."""

    def configure(gateway=None, **keys):
        url = gateway.url if gateway else "http://127.0.0.1:9"
        node.configure(**({"imageGateway": url, "mungeSocketPath": munged} | keys))

    configure()
    return configure


def write_entry(node, tag, content):
    path = node.images / tag_index.path_of("docker", tag)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(content)
    path.chmod(0o600)
    return path


@pytest.fixture
def indexed(node, configure):
    """The index knows the image as x:1."""
    return write_entry(node, "x:1", f"{IMAGE_ID}\n")


def run(node, *options, image="docker:x:1"):
    return node.run(*options, "true", image=image)


def assert_runs(done, said=""):
    assert (done.returncode, done.stderr) == (0, said)


def assert_refused(done, *reasons):
    assert done.returncode == 1
    for reason in reasons:
        assert reason in done.stderr


def test_an_image_is_found_by_name_when_no_gateway_answers(node, indexed):
    assert_runs(run(node))


def test_that_no_gateway_answered_is_said_to_who_wants_to_know(node, indexed):
    done = run(node, "--verbose")

    assert done.returncode == 0
    assert done.stderr.startswith("shifter: no image gateway answered: asked the index\n")


def test_an_image_is_found_by_name_where_there_is_no_gateway(node, configure, indexed):
    configure(imageGateway=None)

    assert_runs(run(node))


def test_a_gateway_that_cannot_be_asked_for_want_of_munge_is_none(
    node, configure, gateway, indexed, tmp_path
):
    configure(gateway, mungeSocketPath=tmp_path / "none.socket")

    assert_runs(run(node))
    assert not gateway.asked


@pytest.mark.parametrize("status", [500, 503])
def test_a_gateway_that_is_broken_is_none(node, configure, gateway, indexed, status):
    configure(gateway)
    gateway.refuse(status, "no catalog")

    assert_runs(run(node))
    assert gateway.asked


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, "image not found"), (401, "no munge credential"), (403, "not for you")],
)
def test_the_index_is_no_way_around_a_refusal(node, configure, gateway, indexed, status, error):
    configure(gateway)
    gateway.refuse(status, error)

    done = run(node)

    assert_refused(
        done,
        f"shifterimg: cannot find docker:x:1: {error}",
        "shifter: cannot use image 'docker:x:1': it could not be looked up\n",
    )


def test_what_the_gateway_says_counts_where_both_are_asked(node, configure, gateway):
    configure(gateway)
    write_entry(node, "x:1", f"{OTHER_ID}\n")

    assert_runs(run(node))


def test_no_gateway_is_asked_where_only_the_index_is(node, configure, gateway, indexed):
    configure(gateway, imageLookup="index")

    assert_runs(run(node))
    assert_refused(
        run(node, image="docker:y:1"),
        f"cannot use image 'docker:y:1': it is not in the index {node.images}/.tags\n",
    )
    assert gateway.asked == []


def test_the_index_is_not_read_where_only_the_gateway_is_asked(node, configure, indexed):
    configure(imageLookup="gateway")

    assert_refused(
        run(node),
        "ERROR: failed to contact the image gateway",
        "shifter: cannot use image 'docker:x:1': no image gateway answered\n",
    )


def test_the_gateway_is_asked_for_what_the_index_lacks(node, configure, gateway, indexed):
    configure(gateway, imageLookup="index gateway")

    assert_runs(run(node))
    assert gateway.asked == []
    assert_runs(run(node, image="docker:y:1"))
    assert gateway.asked == ["/api/lookup/cluster/docker/y%3A1/"]


@pytest.mark.parametrize("order", ["gateway index", "index gateway"])
def test_where_nobody_knows_the_image_both_are_named(node, configure, order):
    configure(imageLookup=order)

    assert_refused(
        run(node, image="docker:y:1"),
        "ERROR: failed to contact the image gateway",
        "no image gateway answered",
        f"it is not in the index {node.images}/.tags",
    )


def test_a_refusal_after_a_look_into_the_index_names_both(node, configure, gateway):
    configure(gateway, imageLookup="index gateway")
    gateway.refuse(404, "image not found")

    assert_refused(run(node), "it is not in the index", "and it could not be looked up")


@pytest.mark.parametrize("name", ["x", "docker:lib/x", "docker:" + "a/" * 240 + "x"])
def test_a_name_without_a_tag_is_the_latest(node, configure, name):
    configure(imageLookup="index")
    write_entry(node, f"{name.removeprefix('docker:')}:latest", f"{IMAGE_ID}\n")

    assert_runs(run(node, image=name))


def test_the_index_tells_of_no_image_to_who_may_not_read_it(node, configure, indexed):
    """As a gateway does not: no launch shows whether there is a private image of that name."""
    configure(imageLookup="index")
    node.add_image(meta=f"USERACL: {BOB}\n")

    private, missing = run(node), run(node, image="docker:y:1")

    assert_refused(private, f"cannot use image 'docker:x:1': it is not in the index {node.images}")
    assert missing.stderr == private.stderr.replace("x:1", "y:1")


def test_an_entry_whose_image_is_gone_is_none(node, configure, gateway):
    write_entry(node, "x:1", f"{OTHER_ID}\n")
    configure(gateway, imageLookup="index")
    alone = run(node)
    configure(gateway, imageLookup="index gateway")

    assert_refused(alone, "it is not in the index")
    assert_runs(run(node))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        IMAGE_ID,
        f"{IMAGE_ID}\n\n",
        f" {IMAGE_ID}\n",
        f"{IMAGE_ID}\n{IMAGE_ID}\n",
        "../" * 20 + "etc\n",
        "$(touch /tmp/x)\n",
        f"{IMAGE_ID[:-1]}\0\n",
        f"{IMAGE_ID.upper()}\n",
        "ａ" * 64 + "\n",
        IMAGE_ID * 100_000,
    ],
)
def test_what_is_no_id_in_an_entry_is_refused(node, configure, content):
    configure(imageLookup="index")
    path = write_entry(node, "x:1", content)

    done = run(node)

    assert_refused(
        done,
        f"shifter: cannot use image 'docker:x:1': {path} holds no image id: "
        "ask the administrator to run shifter-gateway index rebuild\n",
    )


def make_link(path):
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_directory(path):
    path.unlink()
    path.mkdir()


ATTACKS = {
    "a link": (make_link, "Too many levels of symbolic links"),
    "a pipe": (make_pipe, "is not a regular file"),
    "a directory": (make_directory, "is not a regular file"),
    "a user's": (lambda path: os.chown(path, ALICE, ALICE), f"belongs to user {ALICE}"),
    "writable": (lambda path: path.chmod(0o622), "is writable by others (mode 0622)"),
    "in a user's directory": (lambda path: os.chown(path.parent, ALICE, 0), "belongs to user"),
    "in a writable directory": (lambda path: path.parent.chmod(0o770), "is writable by others"),
    "in a user's index": (lambda path: os.chown(path.parents[1], ALICE, 0), "belongs to user"),
    "behind a link": (lambda path: make_link(path.parent), "Too many levels"),
    "in a file": (lambda path: make_file_of(path.parent), "is not a directory"),
}


def make_file_of(directory):
    directory.rename(directory.with_name("real"))
    directory.touch()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_entry_that_others_could_have_made_is_refused(node, configure, indexed, attack):
    configure(imageLookup="index")
    make, reason = ATTACKS[attack]
    make(indexed)

    done = run(node)

    assert_refused(done, reason, str(node.images / ".tags"))
    assert done.stderr.count("shifter: ") == 1
