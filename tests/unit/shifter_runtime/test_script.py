# SPDX-License-Identifier: BSD-3-Clause
"""Command lines that the kernel made of the first line of a script."""

from __future__ import annotations

import os

import pytest

from shifter_runtime import identity, script

OPTIONS = "--image=docker:x:1 -v /bin/bash"


@pytest.fixture(autouse=True)
def caller(monkeypatch):
    # There is no other user to be here; who may read what, the integration tests ask.
    monkeypatch.setattr(identity, "open_as_caller", os.open)


def find(tmp_path, content: str, *words: str) -> script.Script | None:
    path = tmp_path / "job.sh"
    path.write_text(content)
    return script.find([word.replace("JOB", str(path)) for word in words])


@pytest.mark.parametrize(
    "line",
    [
        f"#!/usr/bin/shifter {OPTIONS}",
        f"#! /usr/bin/shifter\t{OPTIONS}",
        f"#!/usr/bin/shifter  {OPTIONS}  ",
    ],
)
def test_options_of_the_first_line_are_words(tmp_path, line):
    found = find(tmp_path, f"{line}\necho\n", OPTIONS, "JOB", "a b")

    assert found is not None
    job = str(tmp_path / "job.sh")
    assert found.words == ["--image=docker:x:1", "-v", "/bin/bash", job, "a b"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "echo\n",
        "#!/bin/sh\n",
        "#!/usr/bin/shifter --image=docker:x:1 /bin/bash\n",
        f"# #!/usr/bin/shifter {OPTIONS}\n",
        f"\n#!/usr/bin/shifter {OPTIONS}\n",
        "\x7fELF",
    ],
)
def test_a_file_that_says_something_else_changes_nothing(tmp_path, content):
    assert find(tmp_path, content, OPTIONS, "JOB") is None


@pytest.mark.parametrize("name", ["missing", ".", "fifo"])
def test_what_is_no_file_changes_nothing(tmp_path, name):
    os.mkfifo(tmp_path / "fifo")

    assert script.find([OPTIONS, str(tmp_path / name)]) is None


def test_a_script_that_the_container_has_is_named_as_it_was(tmp_path):
    found = find(tmp_path, "#!/usr/bin/shifter /bin/bash\n", "/bin/bash", "JOB", "a")

    assert found is not None
    assert found.hand_on(found.words) == found.words


def test_a_script_that_the_container_lacks_is_handed_on_open(tmp_path):
    found = find(tmp_path, "#!/usr/bin/shifter /bin/bash\nbody\n", "/bin/bash", "JOB", "a")
    (tmp_path / "job.sh").unlink()

    assert found is not None
    program, path, argument = found.hand_on(found.words)

    assert (program, argument) == ("/bin/bash", "a")
    assert path.startswith("/dev/fd/")
    fd = int(path.rpartition("/")[2])
    assert os.get_inheritable(fd)
    assert os.pread(fd, 100, 0).endswith(b"body\n")
    os.close(fd)


def test_a_script_that_became_the_value_of_an_option_is_left_alone(tmp_path):
    found = find(tmp_path, "#!/usr/bin/shifter --image a\n", "--image a", "JOB")

    assert found is not None
    assert found.hand_on([]) == []
