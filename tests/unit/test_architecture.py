# SPDX-License-Identifier: BSD-3-Clause
"""Who may import whom, what root imports, and how long a module may be."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shifter_common", "shifter_runtime", "shifter_imagegw", "shifter_cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = [ROOT / "install", ROOT / "quickstart", ROOT / "check", ROOT / ".ci/run"]

# Each costs milliseconds that every rank of every job pays, and is code that root trusts.
PRIVILEGED_STDLIB = {
    *("__future__", "_ctypes", "ctypes", "errno", "grp", "os", "pwd", "stat", "sys", "time"),
} | {
    # The interpreter's own, which are there before any code of ours.
    *("_frozen_importlib", "_frozen_importlib_external", "gc", "marshal", "posix"),
}

# Of these, what a launch never loads: `_ctypes` does for it, and costs a quarter.
NOT_AT_START = {"ctypes"}

# Which of our modules a package may import: itself, and what starts with one of these.
MAY_IMPORT = {
    "shifter_common": (),
    "shifter_runtime": ("shifter_common",),
    "shifter_imagegw": ("shifter_common",),
    "shifter_cli": (
        "shifter_common",
        "shifter_runtime.config",
        "shifter_runtime.config_keys",
        # What `shifter doctor` says of a launch: what was asked for, read as the launch reads it.
        *("shifter_runtime.environment", "shifter_runtime.request"),
        # What a node will do with a job, known when the job is submitted.
        *(f"shifter_runtime.{module}" for module in ("errors", "identity", "image", "modules")),
        *(f"shifter_runtime.{module}" for module in ("spelling", "tag_index", "volumes")),
        # What a node must have, and whom root may rely on there.
        *(f"shifter_runtime.{module}" for module in ("syscalls", "trust")),
        "shifter_runtime.job.ssh_plan",
        "shifter_runtime.operations.cache",
    ),
}


def _rooms(*names: str) -> tuple[str, ...]:
    return tuple(f"shifter_imagegw.{name}" for name in names)


_SHOWING = ("shifter_cli.gateway.records", "shifter_cli.output")

# Rooms inside a package that keep to themselves: what else of ours they may import.
CLOSED_ROOMS = {
    # These two know nothing of Shifter at all.
    "shifter_imagegw/registry": ("shifter_common.errors",),
    "shifter_imagegw/flatten": ("shifter_common.errors",),
    "shifter_imagegw/config": ("shifter_common.metadata", "shifter_imagegw.errors"),
    "shifter_imagegw/catalog": _rooms("acl", "config", "details", "errors", "records"),
    "shifter_imagegw/formats": _rooms("errors", "flatten", "run"),
    "shifter_imagegw/delivery": (
        "shifter_common",
        *_rooms("catalog", "config", "errors", "formats", "run"),
    ),
    "shifter_imagegw/importers": (
        "shifter_common.errors",
        *_rooms("config", "errors", "flatten", "pulling.lease", "pulling.origin"),
        *_rooms("records", "registry", "run"),
    ),
    # Neither who asks a gateway nor who shows what it said knows which command that is for.
    "shifter_cli/gateway": ("shifter_common.reference", "shifter_cli.errors"),
    "shifter_cli/listing": ("shifter_common.errors", *_SHOWING),
    "shifter_cli/progress": ("shifter_common", "shifter_cli.errors", *_SHOWING),
    "shifter_cli/modules": ("shifter_common.errors",),
}

# Who must not know of what; a name stands for everything below it too.
MUST_NOT_IMPORT = {
    **{
        f"shifter_imagegw/api/{views}.py": (*_rooms("catalog", "delivery", "registry"), "sqlite3")
        for views in ("asking", "exports", "images", "queue", "registries", "views")
    },
    "shifter_imagegw/api": ("shifter_imagegw.commands", "shifter_imagegw.pulling"),
    "shifter_imagegw/rules": ("flask", *_rooms("api", "commands", "importers", "workers")),
    "shifter_imagegw/pulling": ("flask", "celery", *_rooms("api", "commands", "rules", "workers")),
    "shifter_imagegw/workers": ("flask", *_rooms("api", "commands", "rules")),
    "shifter_imagegw/operation": ("flask", *_rooms("api", "commands", "pulling", "workers")),
    "shifter_imagegw/web": _rooms("catalog", "commands", "pulling", "workers"),
    "shifter_imagegw/catalog/sqlite.py": ("flask",),
    "shifter_imagegw/flatten": ("flask", "subprocess", "requests"),
    "shifter_runtime/plan.py": ("shifter_runtime.syscalls", "ctypes"),
    "shifter_runtime/syscalls.py": ("shifter_common", "shifter_runtime"),
}

# The one door to each outside world.
ONLY_IMPORTER = {
    "_ctypes": {"shifter_runtime/syscalls.py"},
    "ctypes": {
        "shifter_common/munge.py",
        "shifter_imagegw/workers/supervisor.py",
    },
    "sqlite3": {
        f"shifter_imagegw/catalog/sqlite_{module}.py"
        for module in ("copy", "file", "jobs", "publishing", "rows")
    },
    "pymongo": {
        f"shifter_imagegw/catalog/mongo{module}.py"
        for module in (
            *("", "_ailments", "_connection", "_copy", "_holds", "_jobs", "_publishing", "_start"),
            *("_turns", "_usage"),
        )
    },
    "bson": {
        "shifter_imagegw/catalog/mongo_connection.py",
        "shifter_imagegw/catalog/mongo_documents.py",
    },
    "celery": {
        f"shifter_imagegw/{module}.py"
        for module in ("celery_app", "workers/celery_consumer", "workers/tasks")
    },
    "kombu": {"shifter_imagegw/workers/tasks.py"},
    "redis": {"shifter_imagegw/operation/readiness.py"},
    "flask": {
        *(f"shifter_imagegw/api/{module}.py" for module in ("application", "asking", "exports")),
        *(
            f"shifter_imagegw/api/{module}.py"
            for module in ("images", "operation", "queue", "registries")
        ),
        *(f"shifter_imagegw/api/{module}.py" for module in ("server", "views")),
        "shifter_imagegw/api/openapi/__init__.py",
        "shifter_imagegw/commands/processes.py",
        *(f"shifter_imagegw/web/{module}.py" for module in ("entrance", "headers", "live")),
        *(f"shifter_imagegw/web/{module}.py" for module in ("pages", "refusals", "rendering")),
        "shifter_imagegw/wsgi.py",
    },
    "jinja2": {"shifter_imagegw/web/rendering.py"},
    "markupsafe": {"shifter_imagegw/web/rendering.py"},
    "gunicorn": {
        *(f"shifter_imagegw/api/{module}.py" for module in ("broken_request", "gunicorn_worker")),
        "shifter_imagegw/api/server.py",
        "shifter_imagegw/operation/logs.py",
    },
    "requests": {"shifter_imagegw/registry/transport.py"},
    "urllib3": {
        f"shifter_imagegw/registry/{module}.py"
        for module in ("addresses", "endpoint", "patience", "transport")
    },
    "pyroute2": {"shifter_cli/administration/addresses.py"},
    "cryptography": {"shifter_imagegw/credentials.py", "shifter_imagegw/tokens.py"},
    "elftools": {"shifter_cli/modules/elf.py"},
    "subprocess": {
        "shifter_cli/administration/gateway_program.py",
        "shifter_cli/doctor/launch.py",
        *(f"shifter_cli/checks/{module}.py" for module in ("installation", "slurm")),
        "shifter_cli/logins/helper.py",
        "shifter_cli/modules/image_files.py",
        "shifter_cli/files/sqfs2tar.py",
        *(f"shifter_cli/submission/{module}.py" for module in ("launcher", "ssh_key")),
        "shifter_imagegw/run.py",
    },
}

# Who may become another process or another user.
ONLY_CALLER = {
    "fork": {
        "shifter_imagegw/importers/child.py",
        "shifter_imagegw/workers/supervisor.py",
        "shifter_runtime/hooks.py",
        "shifter_runtime/id_mapping.py",
        *(f"shifter_runtime/job/{module}.py" for module in ("batch/child", "hosts", "sshd")),
        "shifter_runtime/lookup.py",
        "shifter_runtime/operations/own_view.py",
        "shifter_runtime/read_ahead.py",
        "shifter_runtime/xfs.py",
    },
    "exec": {
        *(f"shifter_runtime/{module}.py" for module in ("hooks", "lookup", "process", "xfs")),
        *(f"shifter_runtime/job/{module}.py" for module in ("batch/child", "hosts", "sshd")),
    },
    "set_ids": {
        "shifter_imagegw/importers/identity.py",
        "shifter_imagegw/commands/own_account.py",
        "shifter_runtime/identity.py",
    },
}
SYSTEM_CALLS = {
    "fork": {"fork", "forkpty", "posix_spawn", "posix_spawnp"},
    "exec": {"execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe"},
    "set_ids": {
        *("setuid", "setgid", "seteuid", "setegid", "setreuid", "setregid", "setresuid"),
        *("setresgid", "setgroups", "initgroups"),
    },
}

LONGEST_MODULE = 400  # lines


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules_in(place: str) -> list[Path]:
    return [path for path in MODULES if f"{name_of(path)}/".startswith(f"{place}/")]


@functools.cache  # many rules ask for the same
def imports_of(path: Path, *, types: bool = True) -> frozenset[str]:
    """Dotted names of what a module imports, with or without what only its types need."""
    found: set[str] = set()
    for node in nodes_of(ast.parse(path.read_text()), types=types):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            assert node.module is not None
            # `from package import name` may mean a module of that name.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name for name in names if is_module(name))
            if not names or any(not is_module(name) for name in names):
                found.add(node.module)
    return frozenset(found)


def nodes_of(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types:
            continue
        yield node
        yield from nodes_of(node, types=types)


@functools.cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def ours(names: frozenset[str]) -> set[str]:
    return {name for name in names if is_below(name, PACKAGES)}


def strangers_in(place: str, allowed: tuple[str, ...]) -> set[str]:
    """Imports, by modules in `place`, of ours that are not below `allowed`."""
    return {
        f"{name_of(path)} imports {name}"
        for path in modules_in(place)
        for name in ours(imports_of(path))
        if not is_below(name, allowed)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_depend_on_each_other_one_way(package):
    allowed = (package, *MAY_IMPORT[package])
    # Of the package itself, and so of none of its modules: the version.
    version = {"shifter_cli/program.py imports shifter_runtime"}

    assert not strangers_in(package, allowed) - version


@pytest.mark.parametrize("room", CLOSED_ROOMS)
def test_closed_rooms_know_nothing_else_of_ours(room):
    allowed = (room.replace("/", "."), *CLOSED_ROOMS[room])

    assert not strangers_in(room, allowed)


@pytest.mark.parametrize("place", MUST_NOT_IMPORT)
def test_a_room_does_not_know_what_is_none_of_its_business(place):
    found = {
        f"{name_of(path)} imports {name}"
        for path in modules_in(place)
        for name in imports_of(path)
        if is_below(name, MUST_NOT_IMPORT[place])
    }

    assert not found


@pytest.mark.parametrize("place", [*CLOSED_ROOMS, *MUST_NOT_IMPORT])
def test_rules_are_about_modules_that_exist(place):
    assert modules_in(place)


@pytest.mark.parametrize("world", ONLY_IMPORTER)
def test_each_outside_world_has_one_door(world):
    doors = {name_of(path) for path in MODULES if is_below_any(imports_of(path), world)}

    assert doors <= ONLY_IMPORTER[world]


@pytest.mark.parametrize("what", ONLY_CALLER)
def test_few_modules_become_another_process_or_user(what):
    callers = {
        name_of(path)
        for path in MODULES
        for node in nodes_of(ast.parse(path.read_text()), types=True)
        if isinstance(node, ast.Attribute)
        and node.attr in SYSTEM_CALLS[what]
        and ast.unparse(node.value) == "os"
    }

    assert callers == ONLY_CALLER[what]


def is_below_any(names: frozenset[str], place: str) -> bool:
    return any(is_below(name, (place,)) for name in names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_runs_a_shell(path):
    words = ("os.system", "os.popen", "shell=True")

    calls = [
        ast.unparse(node)
        for node in nodes_of(ast.parse(path.read_text()), types=True)
        if isinstance(node, ast.Call)
    ]

    assert not [call for call in calls if any(word in call for word in words)]


@pytest.mark.parametrize("package", ["shifter_common", "shifter_runtime"])
def test_root_imports_nothing_slow(package):
    found = {
        f"{name_of(path)} imports {name}"
        for path in modules_in(package)
        for name in imports_of(path, types=False)
        if name.partition(".")[0] not in PRIVILEGED_STDLIB | set(PACKAGES)
    }

    assert not found


def test_starting_the_runtime_loads_nothing_else():
    ours_loaded = modules_after("import shifter_runtime.main")
    allowed = modules_after(f"import {', '.join(sorted(PRIVILEGED_STDLIB - NOT_AT_START))}")

    others = {name for name in ours_loaded - allowed if not is_below(name, PACKAGES)}

    assert not others


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter, started as the launcher does, holds after a statement."""
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {statement}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-B", "-c", code, str(ROOT)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short_or_say_why_not(path):
    text = path.read_text()
    reason = "lines" in (ast.get_docstring(ast.parse(text)) or "")

    assert len(text.splitlines()) <= LONGEST_MODULE or reason


def test_every_source_names_its_licence_on_top():
    sources = [*ROOT.glob("tools/*"), *ROOT.glob("benchmarks/*.py"), *MODULES, *SCRIPTS]
    sources += (ROOT / "tests").rglob("*.py")
    sources += (ROOT / "shifter_runtime/launcher").glob("*")

    without = [
        name_of(path)
        for path in sources
        if path.is_file()
        and "SPDX-License-Identifier: BSD-3-Clause"
        not in "".join(path.read_text().splitlines(keepends=True)[:2])
    ]

    assert not without
