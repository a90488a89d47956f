# SPDX-License-Identifier: BSD-3-Clause
"""The submission program, run in this process as the Slurm plugin runs it."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from shifter_cli import submission
from tests.unit.shifter_cli.conftest import CONFIG

IMAGE_ID = "a" * 64
OTHER_ID = "b" * 64


@dataclasses.dataclass
class Answer:
    code: int
    records: dict[str, str]
    said: str


@pytest.fixture
def submit(gateway, config_path, payloads, monkeypatch, tmp_path, capfd):
    """`submit("--image=x", conf="key=value…", urls=…)`: what the plugin is told."""
    monkeypatch.setattr("shifter_cli.progress.pulls._FIRST_PAUSE", 0.0)

    def submit(*words, conf="", urls=None, default_type="docker"):
        text = CONFIG.format(
            urls=gateway.url if urls is None else urls, default_type=default_type, timeout=10
        )
        config_path.write_text(f"{text}imagePath={tmp_path / 'images'}\n{conf}\n")
        with pytest.raises(SystemExit) as end:
            submission.main(str(config_path), list(words))
        written = capfd.readouterr()
        assert not written.out or written.out.endswith("\0")
        pairs = [record.partition("=") for record in written.out.split("\0")[:-1]]
        return Answer(end.value.code, {name: value for name, _, value in pairs}, written.err)

    return submit


@pytest.fixture
def refused(submit):
    """What a submission that fails is told; it must write nothing for the plugin."""

    def refused(*words, **options):
        answer = submit(*words, **options)
        assert (answer.code, answer.records) == (1, {})
        return answer.said

    return refused


@pytest.fixture
def images(tmp_path):
    """`images(id, meta)`: an image in imagePath; without a call, that directory is not there."""
    directory = tmp_path / "images"

    def add(image_id=IMAGE_ID, meta="FORMAT: squashfs\n"):
        directory.mkdir(exist_ok=True)
        (directory / f"{image_id}.meta").write_text(meta)
        (directory / f"{image_id}.squashfs").write_bytes(b"")
        return directory

    return add


@pytest.fixture
def silent_url():
    """An address where nothing listens: the socket is bound, so nobody else takes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
