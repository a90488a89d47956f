# SPDX-License-Identifier: BSD-3-Clause
"""What is written after setupRoot and unsetupRoot; each option has a long name, too.

Nothing is read from the environment: the user of a job may have set it.
"""

from __future__ import annotations

from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference
from shifter_runtime import volumes
from shifter_runtime.errors import UsageError
from shifter_runtime.job import hosts
from shifter_runtime.job.joining import NODE, is_job_id

SETUP_USAGE = """\
usage: setupRoot [options] TYPE ID

Prepare the container of image TYPE:ID (id, or local) on this node, for one
user's launches to join.

  -u, --user NAME       the user, by name
  -U, --uid NUMBER      ... or by id, or both, which must agree
  -G, --gid NUMBER      the group that the job runs with, if not the user's own
  -v, --volume SPEC     a directory to show: FROM:TO[:ro]; may be repeated
  -m, --module NAMES    modules to activate, with commas between; none for none
  -N, --nodes SPEC      the nodes of the job, with tasks on each:
                        "host1/2 n[2-9]/1"
      --nodelist LIST   ... or as Slurm lists them: host1,n[2-9]
      --tasks-per-node LIST
                        ... with 2,1(x8) tasks on these; else one on each
  -s, --ssh-key KEY     start an sshd inside that lets in this public key of the
                        user's
      --request NAME    what the image was called when it was looked up, as
                        docker:debian:12
      --job ID          for one job on a node that jobs share; else for the
                        whole node
      --show            show a job's container on udiMount, too, unless
                        something is there
  -V, --verbose         show the configuration, and what is odd in it
      --dry-run         only show what would be done
      --json            show it as JSON
      --version         the version of Shifter
  -h, --help            this text

Examples:
  setupRoot --user alice id 3b31...
  setupRoot --job 12 --user alice --volume /home/alice:/data id 3b31...
  setupRoot --user alice --dry-run id 3b31...

Exit codes: 0 prepared, 1 failed and undone, 2 wrong usage, 3 there is one
already, 70 a defect of Shifter, 130 interrupted and undone.
"""
UNSETUP_USAGE = """\
usage: unsetupRoot [--job ID | --all | --list [--json]] [-v]

Take down what setupRoot prepared, for the node or for a job. Processes inside
are left alone.

      --job ID          the container of this job
      --all             every container on this node, of all jobs
      --list            take nothing down: list what is prepared on this node
      --json            list it as JSON
  -v, --verbose         say what is done, and list processes still inside
      --version         the version of Shifter
  -h, --help            this text

Examples:
  unsetupRoot --list
  unsetupRoot --job 12 --verbose

Exit codes: 0 nothing is left (or was there), 1 something is left, 2 wrong
usage, 70 a defect of Shifter.
"""

# Name -> whether a value follows.
_SETUP = {
    "user": True, "uid": True, "gid": True, "volume": True, "module": True, "modules": True,
    "nodes": True, "nodelist": True, "tasks-per-node": True, "ssh-key": True, "job": True,
    "request": True, "show": False, "verbose": False, "dry-run": False, "json": False,
    "version": False, "help": False,
}  # fmt: skip
_SETUP_LETTERS = {
    "u": "user", "U": "uid", "G": "gid", "v": "volume", "m": "module", "N": "nodes",
    "s": "ssh-key", "V": "verbose", "h": "help",
}  # fmt: skip
_UNSETUP = {
    "job": True, "all": False, "list": False, "json": False, "verbose": False, "version": False,
    "help": False,
}  # fmt: skip
_UNSETUP_LETTERS = {"v": "verbose", "h": "help"}

_FLAGS = ("all", "help", "json", "list", "show", "verbose", "version")
_HIGHEST_ID = 2**32 - 2
_LONGEST_KEY = 16384


class Options:
    """What is to be prepared or taken down; `job` is the name under which it is kept."""

    def __init__(self) -> None:
        self.help = False
        self.version = False
        self.verbose = False
        self.dry_run = False
        self.json = False
        self.all = False
        self.list = False
        self.job = NODE
        self.show = False
        self.request = ""  # of type docker or custom, with its tag
        self.user: str | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.volumes: list[volumes.Volume] = []
        self.modules: list[str] | None = None
        self.nodes: list[tuple[str, int]] = []  # host name, tasks there
        self.nodelist = ""
        self.tasks_per_node = ""
        self.ssh_key = ""
        self.image_type = ""
        self.image_id = ""


def parse_setup(words: list[str]) -> Options:
    """Read the words after setupRoot."""
    options, rest, texts = _parse(words, _SETUP, _SETUP_LETTERS)
    if options.help or options.version:
        return options
    if len(rest) != 2:
        raise UsageError(f"TYPE and ID of an image are needed, not {len(rest)} words")
    options.image_type, options.image_id = rest
    if options.image_type not in ("id", "local"):
        raise UsageError(
            f"images of type {options.image_type!r} are not looked up here: give id and the "
            "image's id, as shifterimg lookup prints it"
        )
    if options.user is None and options.uid is None:
        raise UsageError("a user is needed: give --user, --uid or both")
    if options.request and options.image_type != "id":
        raise UsageError("--request needs an image of type id: what it was looked up as")
    options.volumes = volumes.parse_user(";".join(texts))
    if options.nodelist:
        if options.nodes:
            raise UsageError("--nodes and --nodelist mean the same: give one of them")
        options.nodes = hosts.pair(options.nodelist, options.tasks_per_node)
    elif options.tasks_per_node:
        raise UsageError("--tasks-per-node needs --nodelist")
    return options


def parse_unsetup(words: list[str]) -> Options:
    """Read the words after unsetupRoot."""
    options, rest, _ = _parse(words, _UNSETUP, _UNSETUP_LETTERS)
    if rest and not (options.help or options.version):
        raise UsageError(f"{rest[0]!r} means nothing here: a job is named by --job")
    if (options.job != NODE) + options.all + options.list > 1:
        raise UsageError("--job, --all and --list exclude each other")
    return options


def _parse(
    words: list[str], long_names: dict[str, bool], letters: dict[str, str]
) -> tuple[Options, list[str], list[str]]:
    """The options, words that are none, and texts of volumes. Options may stand anywhere."""
    options = Options()
    rest: list[str] = []
    texts: list[str] = []
    left = words[::-1]
    while left:
        word = left.pop()
        if word == "--":
            rest += left[::-1]
            break
        if word.startswith("--"):
            typed, separator, value = word[2:].partition("=")
            name = _whole_name(typed, long_names)
            if separator and not long_names[name]:
                raise UsageError(f"option '--{typed}' takes no value")
        elif word.startswith("-") and word != "-":
            name = letters.get(word[1], "")
            if not name:
                raise UsageError(f"invalid option '-{word[1]}'")
            typed, separator, value = name, word[2:], word[2:]
            if separator and not long_names[name]:
                left.append("-" + separator)  # a bundle of letters
                separator = ""
        else:
            rest.append(word)
            continue
        if long_names[name] and not separator:
            if not left:
                raise UsageError(f"option '--{typed}' requires a value")
            value = left.pop()
        if name == "volume":
            texts.append(value)
        else:
            _set(options, name, value)
    return options, rest, texts


def _whole_name(typed: str, known: dict[str, bool]) -> str:
    if typed in known:
        return typed
    names = [name for name in known if typed and name.startswith(typed)]
    if {"module", "modules"} == set(names):
        return "module"
    if len(names) == 1:
        return names[0]
    if names:
        candidates = ", ".join(f"--{name}" for name in names)
        raise UsageError(f"option '--{typed}' is ambiguous: it may be {candidates}")
    from shifter_runtime.spelling import nearest_to

    nearest = nearest_to(typed[:64], known)
    hint = f", did you mean --{nearest}?" if nearest else ""
    raise UsageError(f"unrecognized option '--{typed}'{hint}")


def _set(options: Options, name: str, value: str) -> None:
    if name in _FLAGS:
        setattr(options, name, True)
    elif name == "dry-run":
        options.dry_run = True
    elif name in ("uid", "gid"):
        setattr(options, name, _number(f"--{name}", value))
    elif name in ("user", "nodelist"):
        setattr(options, name, value)
    elif name == "tasks-per-node":
        options.tasks_per_node = value
    elif name == "job":
        options.job = _job(value)
    elif name == "nodes":
        options.nodes = hosts.parse(value)
    elif name == "request":
        options.request = _request(value)
    elif name == "ssh-key":
        options.ssh_key = _key(value)
    else:
        options.modules = [module for module in value.split(",") if module]


def _number(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _HIGHEST_ID:
        raise UsageError(f"{what} must be a number from 0 to {_HIGHEST_ID}, not {text[:64]!r}")
    return int(text)


def _job(text: str) -> str:
    if not is_job_id(text):
        raise UsageError(
            f"--job {text[:64]!r}: a job's id is at most 128 letters, digits and '._-[]', begins "
            f"with a letter or digit, and is not {NODE!r}"
        )
    return text


def _request(text: str) -> str:
    try:
        reference = ImageReference.parse(text, default_type="")
    except InvalidReferenceError as error:
        raise UsageError(f"--request: {error}") from error
    if reference.image_type not in ("docker", "custom"):
        raise UsageError(f"--request: {text[:300]!r} is never looked up: leave it out")
    return str(reference.with_default_tag())


def _key(text: str) -> str:
    """One line as in authorized_keys; what kind of key it may be, sshd says."""
    if not 0 < len(text) <= _LONGEST_KEY or not text.isascii() or not text.isprintable():
        raise UsageError("--ssh-key must be one line, such as a user's id_ed25519.pub holds")
    return text
