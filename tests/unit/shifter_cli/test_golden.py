# SPDX-License-Identifier: BSD-3-Clause
"""shifterimg against what the original sent, received and printed."""

from __future__ import annotations

import re
import shlex
import types
from pathlib import Path

import pytest

from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference

FOLDER = Path(__file__).parents[2] / "golden" / "cli"

# Where ours is better on purpose, the recorded output does not hold.
DIFFERENT = {
    "wire_answer_500": "the reason is on standard error",
    "wire_answer_charset": "the id is printed, where the original printed nothing",
    "wire_answer_integer_time": "an integer is a time",
    "wire_answer_no_length": "the id is printed",
    "wire_answer_no_type": "the id is printed",
    "wire_answer_not_json": "this is an error",
    "wire_answer_no_tag": "an image without a tag is listed",
    "wire_images_one_untagged": "an image without a tag is listed",
    "wire_answer_unknown_status": "a state that is not READY is no success",
}
SAME = sorted(path.stem for path in FOLDER.glob("wire_*.txt") if path.stem not in DIFFERENT)

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


class Exchange:
    """A recorded run: arguments, requests, the answer, and what was printed."""

    def __init__(self, text):
        self.arguments = shlex.split(re.search(r"^\$ shifterimg (.*)$", text, re.M)[1])
        self.exit_code = int(re.search(r"^exit code: (\d+)$", text, re.M)[1])
        stdout = re.search(r"^--- stdout: .* ---\n(.*)^--- stderr", text, re.M | re.S)[1]
        stdout = stdout.replace("<no newline at end>\n", "")
        self.stdout = stdout.replace("^M", "\r").replace("^[", "\x1b")
        requests = re.search(r"^== request .*? ==\n(.*)^== answer", text, re.M | re.S)
        self.requests = requests[1].split("-- next request --\n") if requests else []
        answer = re.search(r"^== answer ==\n(.*)\n== result ==$", text, re.M | re.S)
        if answer:
            head, _, body = answer[1].partition("\n\n")
            self.answer = (head.replace("\n", "\r\n") + "\r\n\r\n" + body).encode()

    @property
    def messages(self):
        return re.findall(r"^Message: (.*)$", self.stdout, re.M)


def without_clock(text):
    return re.sub(rf"{TIME} Pulling", "TIME Pulling", text)


@pytest.fixture
def accounts(monkeypatch):
    monkeypatch.setattr(
        "pwd.getpwnam", lambda name: types.SimpleNamespace(pw_uid={"alice": 1001}[name])
    )
    monkeypatch.setattr(
        "grp.getgrnam", lambda name: types.SimpleNamespace(gr_gid={"projecta": 1002}[name])
    )


@pytest.mark.parametrize("name", SAME)
def test_output_and_exit_code_are_those_of_the_original(name, golden, gateway, run, accounts):
    recorded = Exchange(golden(name))
    gateway.answer_raw(recorded.answer)

    result = run(*recorded.arguments)

    assert without_clock(result.stdout) == without_clock(recorded.stdout)
    assert result.code == recorded.exit_code
    assert result.stderr == ""


@pytest.mark.parametrize("name", SAME)
def test_request_is_the_one_of_the_original(name, golden, gateway, run, accounts):
    recorded = Exchange(golden(name))
    gateway.answer_raw(recorded.answer)

    run(*recorded.arguments)

    head, _, body = recorded.requests[0].partition("\n\n")
    request_line, *headers = head.splitlines()
    sent = gateway.requests[0]
    assert sent.line == request_line
    assert sent.body.decode() == body.strip()
    names = {line.partition(":")[0].lower() for line in headers}
    assert set(sent.headers) == names


@pytest.mark.parametrize(
    "name",
    [
        "shifterimg_images_verbose",
        "shifterimg_lookup_found_verbose",
        "shifterimg_pull_already_ready_verbose",
    ],
)
def test_verbose_output_is_that_of_the_original(name, golden, gateway, run):
    recorded = Exchange(golden(name))
    gateway.answer(*recorded.messages)

    result = run(*recorded.arguments)

    # The original asks twice about an image that is ready; once is enough.
    expected = dict.fromkeys(without_clock(recorded.stdout).splitlines())
    assert list(dict.fromkeys(without_clock(result.stdout).splitlines())) == list(expected)
    assert result.code == recorded.exit_code


@pytest.mark.parametrize(
    "name", ["shifterimg_pull_ready_verbose", "shifterimg_pull_failure_verbose"]
)
def test_verbose_pull_ends_as_the_original_does(name, golden, gateway, run):
    recorded = Exchange(golden(name))
    gateway.answer(*recorded.messages)

    result = run(*recorded.arguments)

    ours, theirs = result.stdout.splitlines(), recorded.stdout.splitlines()
    assert without_clock("\n".join(ours[-3:])) == without_clock("\n".join(theirs[-3:]))
    assert [line for line in ours if line.startswith("Message")] == [
        line for line in theirs if line.startswith("Message")
    ]


def test_workflow_engine_finds_the_state_in_the_last_line_but_one(golden, gateway, run):
    gateway.answer(*Exchange(golden("shifterimg_pull_ready_verbose")).messages)

    result = run("-v", "pull", "lib/slow2:1")

    # tail -n2 | head -n1 | awk '{print $6}'
    assert result.stdout.split("\n")[:-1][-2:][0].split()[5] == "READY"


def test_workflow_engine_finds_a_failure_in_the_last_line_but_one(golden, gateway, run):
    gateway.answer(*Exchange(golden("shifterimg_pull_failure_verbose")).messages)

    result = run("-v", "pull", "lib/missing2:1")

    assert result.stdout.split("\n")[:-1][-2:][0].split()[5] == "FAILURE"
    assert result.code == 1


def test_missing_image_is_told_verbosely_as_the_original_does(golden, gateway, run):
    recorded = Exchange(golden("shifterimg_lookup_missing_verbose"))
    gateway.answer(*recorded.messages, status="404 Not Found")

    result = run(*recorded.arguments)

    assert result.stdout == recorded.stdout
    assert result.code == recorded.exit_code


def test_pull_without_wait_prints_one_line_without_an_end(golden, gateway, run):
    recorded = Exchange(golden("shifterimg_pullnb"))
    gateway.answer({"status": "INIT"})

    result = run(*recorded.arguments)

    assert without_clock(result.stdout) == without_clock(recorded.stdout)
    assert (result.code, len(gateway.requests)) == (0, 1)


def recorded_references():
    """Rows of references.tsv that ours accepts as they are: `(typed, path)`.

    The original silently dropped characters that it did not like; ours refuses such a name.
    """
    table = (FOLDER.parent / "references.tsv").read_text()
    rows = [line.split("\t") for line in table.splitlines() if not line.startswith("#")]
    for typed, image_type, tag, path, *_ in rows[1:]:
        try:
            reference = ImageReference.parse(typed)
        except InvalidReferenceError:
            continue
        if (reference.image_type, reference.tag) == (image_type, tag):
            yield typed, path


@pytest.mark.parametrize(("typed", "path"), list(recorded_references()))
def test_reference_is_asked_for_under_the_path_of_the_original(typed, path, gateway, run):
    gateway.answer({"id": "abc123"})

    run("lookup", typed)

    assert gateway.requests[0].line == f"GET {path} HTTP/1.1"


def test_enough_recorded_references_are_compared():
    assert len(list(recorded_references())) > 20
