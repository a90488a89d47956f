# SPDX-License-Identifier: BSD-3-Clause
"""What was asked of a job: the words that the Slurm plugin passes, values attached by `=`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shifter_cli.submission import pyxis
from shifter_cli.submission.errors import SubmissionError

_LONGEST_VALUE = 1 << 16  # characters, as the runtime reads

_FLAGS = ("ccm", "pull", "ssh-key")
_VALUES = ("image", "volume", "module", "container-image", "container-mounts")
_EXAMPLES = {"image": "docker:NAME:TAG", "container-image": "NAME:TAG"}


@dataclasses.dataclass
class Wish:
    """Texts as they were typed; None is what was not asked for."""

    image: str | None = None
    volumes: list[str] = dataclasses.field(default_factory=list)
    modules: str | None = None
    ccm: bool = False
    pull: bool = False
    ssh_key: bool = False

    @classmethod
    def parse(cls, words: Sequence[str]) -> Wish:
        """Volumes add up; of an option that is given twice else, the last counts."""
        wish = cls()
        container_image = None
        for word in words:
            name, separator, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or name not in (_VALUES if separator else _FLAGS):
                raise SubmissionError(f"the Slurm plugin asks what nobody here knows: {word!r}")
            if separator:
                _require_plain(name, value)
            if name == "container-image":
                container_image = value
            else:
                wish._keep(name, value)
        if container_image is not None:
            wish._use(container_image)
        return wish

    def _keep(self, name: str, value: str) -> None:
        if name == "image":
            self.image = value
        elif name == "volume":
            self.volumes.append(value)
        elif name == "container-mounts":
            self.volumes.append(pyxis.volumes(value))
        elif name == "module":
            self.modules = value
        else:
            setattr(self, name.replace("-", "_"), True)

    def _use(self, container_image: str) -> None:
        text = pyxis.image(container_image)
        if self.image not in (None, text):
            raise SubmissionError(
                f"--image={self.image} and --container-image={container_image} are two images: "
                "leave one of them out"
            )
        self.image = text


def _require_plain(name: str, value: str) -> None:
    """Refuse what could not be passed on, or would be taken for something else on its way."""
    if not value and name in _EXAMPLES:
        raise SubmissionError(f"--{name} is empty: write --{name}={_EXAMPLES[name]}")
    if len(value) > _LONGEST_VALUE:
        raise SubmissionError(
            f"the value of --{name} is too long: at most {_LONGEST_VALUE} characters are read"
        )
    for character in value:
        if (character < " " and character != "\t") or character == "\x7f":
            raise SubmissionError(
                f"the value of --{name} holds the control character {character!r}: {value[:64]!r}"
            )
