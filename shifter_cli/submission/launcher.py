# SPDX-License-Identifier: BSD-3-Clause
"""The set-uid `shifter` of this machine, asked what users cannot see: the index beside the images.

It holds the index, and its user, to the same rules as on a node, and says what it would run.
"""

from __future__ import annotations

import json
import subprocess

from shifter_cli.submission.errors import UnansweredError
from shifter_common.reference import ImageReference
from shifter_runtime.config import RuntimeConfig

# None of the caller's: it may name a job, of which shifter would tell.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def image_id(reference: ImageReference, config: RuntimeConfig) -> str:
    """The id of the image that a launch would take."""
    program = f"{config.udi_root_path}/bin/shifter"
    command = [program, f"--image={reference}", "--module=none", "--dry-run", "--json", "true"]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=_ENVIRONMENT, cwd="/",
            check=False,
        )  # fmt: skip
        found = json.loads(result.stdout)["image"]["id"]
    except OSError as error:
        raise UnansweredError(f"cannot run {program}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise UnansweredError(_problem(result.stderr, reference)) from None
    return str(found)


def _problem(said: bytes, reference: ImageReference) -> str:
    """What is wrong with the index; it has asked the gateway, too, which we have done before."""
    lines = said.decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(lines) if line), "shifter did not say why")
    sentence = last.removeprefix("shifter: ").removeprefix(f"cannot use image {str(reference)!r}: ")
    clauses = sentence.split(", and ")
    return next((clause for clause in clauses if "the index" in clause), sentence)
