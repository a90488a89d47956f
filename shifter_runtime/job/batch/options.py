# SPDX-License-Identifier: BSD-3-Clause
"""What is written after shifter-prologue and shifter-epilogue.

An administrator writes the options, once. What is the job's own, and so may be anything that a
user thought of, comes as the value of one of them, or after all of them.
"""

from __future__ import annotations

from shifter_runtime.errors import UsageError

PROLOGUE_USAGE = """\
usage: shifter-prologue --job=ID --user=NAME|--uid=N [options]
       shifter-prologue --scheduler=NAME [options] [-- ARGUMENT...]

Prepare the container that a job asks for on this node, if it asks for one.

  --scheduler=NAME      gridengine, lsf or torque: take what that batch system
                        tells, with the arguments of its own that it gives
  --job=ID              the job
  --task=INDEX          ... of an array of jobs; 0 or undefined for none
  --user=NAME, --uid=N  whose job it is; both must agree
  --gid=N               the group that the job runs with, if not the user's own
  --image=TYPE:TAG      the image; id:... needs no gateway, others are looked up
                        as the user
  --volume=SPEC         a directory to show: FROM:TO[:ro]; may be repeated
  --module=NAMES        modules to activate, with commas between; none for none
  --variable=NAME=VALUE a variable of the job, which may name image, volumes and
                        modules: SHIFTER, SHIFTER_IMAGE, ... as shifter reads
                        them; may be repeated
  --environment         such variables are in the environment of this program
  --nodes=SPEC          the nodes of the job, with tasks on each:
                        "host1/2 host2/1"
  --node-file=FILE      ... or a file with a line for each node, or each task
  --exec-host=TEXT      ... or what PBS's attribute exec_host says:
                        "host1/0*2+host2/0"
  --ssh-key=KEY         start an sshd inside that lets in this public key of the
                        user's
  --sshd                ... or the one in the job's variable SHIFTER_SSH_PUBKEY
  --timeout=SECONDS     how long it may take (60)
  --fail-status=N       the exit status where the container could not be
                        prepared (0: the job starts, and its launches build
                        their own, or say why not)
  --qstat=FILE          with torque: the program to ask (/usr/bin/qstat)
  --version             the version of Shifter
  -h, --help            this text

Examples:
  shifter-prologue --job=$JOB_ID --user=$USER --environment
  shifter-prologue --scheduler=torque --fail-status=1 -- "$@"

Exit status: 0, or what --fail-status says.
"""
EPILOGUE_USAGE = """\
usage: shifter-epilogue --job=ID [options]
       shifter-epilogue --scheduler=NAME [options] [-- ARGUMENT...]

Take down the container of a job on this node, if there is one.

  --scheduler=NAME      gridengine, lsf or torque
  --job=ID              the job
  --task=INDEX          ... of an array of jobs; 0 or undefined for none
  --timeout=SECONDS     how long it may take (60)
  --fail-status=N       the exit status where something is left (0)
  --version             the version of Shifter
  -h, --help            this text

Examples:
  shifter-epilogue --job=$JOB_ID
  shifter-epilogue --scheduler=torque -- "$@"

Exit status: 0, or what --fail-status says.
"""

VARIABLES = (
    *("SHIFTER", "SHIFTER_IMAGE", "SHIFTER_IMAGETYPE", "SHIFTER_IMAGEREQUEST", "SHIFTER_VOLUME"),
    *("SHIFTER_MODULE", "SHIFTER_SSH_PUBKEY"),
)
SCHEDULERS = ("gridengine", "lsf", "torque")

EPILOGUE_NAMES = ("scheduler", "job", "task", "timeout", "fail-status", "version", "help")
PROLOGUE_NAMES = (
    *(*EPILOGUE_NAMES, "user", "uid", "gid", "image", "volume", "module", "variable"),
    *("environment", "nodes", "node-file", "exec-host", "ssh-key", "sshd", "qstat"),
)

_FLAGS = ("help", "version", "environment", "sshd")
_LONGEST_TIMEOUT = 24 * 3600
_LONGEST_SENTENCE = 2000


class Options:
    """How a job starts or ends; what is not given is empty."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}  # by name of option, where nothing is made of it here
        self.volumes: list[str] = []
        self.variables: dict[str, str] = {}
        self.arguments: list[str] = []
        self.flags: set[str] = set()
        self.timeout = 60
        self.fail_status = 0

    def text(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def help(self) -> bool:
        return "help" in self.flags

    @property
    def version(self) -> bool:
        return "version" in self.flags


def parse(words: list[str], options: Options, *, epilogue: bool = False) -> None:
    """Fill `options`; where a word is wrong, those before it are there all the same."""
    known = EPILOGUE_NAMES if epilogue else PROLOGUE_NAMES
    left = words[::-1]
    while left:
        word = left.pop()
        if word == "-h":
            word = "--help"
        if word == "--":
            options.arguments = left[::-1]
            return
        name, separator, value = word[2:].partition("=")
        if not word.startswith("--") or name not in known:
            raise UsageError(f"{word[:64]!r} is no option")
        if name in _FLAGS:
            if separator:
                raise UsageError(f"option '--{name}' takes no value")
            options.flags.add(name)
            continue
        if not separator:
            if not left:
                raise UsageError(f"option '--{name}' requires a value")
            value = left.pop()
        _set(options, name, value)


def _set(options: Options, name: str, value: str) -> None:
    if name == "volume":
        options.volumes.append(value)
    elif name == "variable":
        variable, separator, text = value.partition("=")
        if not separator or variable not in VARIABLES:
            raise UsageError(
                f"--variable={value[:64]!r} is not of the form NAME=VALUE, with NAME one of "
                f"{', '.join(VARIABLES)}"
            )
        options.variables[variable] = text
    elif name == "timeout":
        options.timeout = number(name, value, 1, _LONGEST_TIMEOUT)
    elif name == "fail-status":
        options.fail_status = number(name, value, 0, 255)
    elif name == "scheduler" and value not in SCHEDULERS:
        raise UsageError(f"--scheduler={value[:64]!r}: known are {', '.join(SCHEDULERS)}")
    else:
        options.texts[name] = value


def number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not least <= int(text) <= most:
        raise UsageError(f"--{name} must be a number from {least} to {most}, not {text[:64]!r}")
    return int(text)


def shortened(text: str) -> str:
    """A sentence that may hold what a user thought of, for a log that others read, too."""
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:_LONGEST_SENTENCE]}…"
