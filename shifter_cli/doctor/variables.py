# SPDX-License-Identifier: BSD-3-Clause
"""The environment of the program: where each variable comes from, and which may harm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from shifter_cli.doctor.findings import Observation, note, ok
from shifter_cli.doctor.launch import Preview
from shifter_cli.modules.image_files import Files
from shifter_runtime import modules
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.request import Request

YOURS = "yours"

# What points programs to files of the node's, or changes which ones they load.
_LEADING_OUT = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONSTARTUP", "CONDA_PREFIX"),
    *("VIRTUAL_ENV", "PERL5LIB", "PERLLIB", "R_HOME", "R_LIBS", "R_LIBS_USER", "JULIA_DEPOT_PATH"),
    *("RUBYLIB", "GEM_PATH", "GEM_HOME", "NODE_PATH", "LUA_PATH", "JAVA_HOME", "CLASSPATH"),
    *("CPATH", "LIBRARY_PATH", "PKG_CONFIG_PATH", "BASH_ENV", "ENV", "LESSOPEN", "LESSCLOSE"),
)
_SHELL_FUNCTION = "BASH_FUNC_"
_PYTHON = re.compile(r"python(3\.\d+)")
_LIBRARIES = ("/usr/lib", "/usr/local/lib", "/opt/conda/lib", "/opt/venv/lib", "/usr/lib64")


def sources(
    preview: Preview, request: Request, config: RuntimeConfig, image: Mapping[str, str] | None
) -> dict[str, tuple[str, str]]:
    """Value and source of each variable that is not simply the caller's, by name.

    `image` are the variables of the image, if they are known.
    """
    found: dict[str, tuple[str, str]] = {}
    module_names = _by_module(request, config)
    site = _names([*config.site_env, *config.site_env_append, *config.site_env_prepend])
    typed = {name for name, _ in request.env_overrides}
    for name, value in preview.set_variables.items():
        if name in site:
            source = "the site"
        elif name in module_names:
            source = f"module {module_names[name]}"
        elif name in typed:
            source = "--env"
        elif name in ("SHIFTER_IMAGE", "SHIFTER_IMAGEREQUEST"):
            source = "shifter"
        elif image is None or name in image:
            source = "the image"
        else:
            source = "shifter"
        found[name] = (value, source)
    return found


def leaks(
    preview: Preview, request: Request, image: Mapping[str, str] | None
) -> Iterator[Observation]:
    """What of the caller's environment may change how programs of the image behave."""
    caller = request.environment
    kept = {
        name: value
        for name, value in caller.items()
        if name not in preview.set_variables and name not in preview.unset_variables
    }
    found = [name for name in _LEADING_OUT if kept.get(name)]
    if found:
        yield note(
            "variables",
            f"{', '.join(found)} of yours {'is' if len(found) == 1 else 'are'} passed on, and may "
            "lead programs of the image to files of the node",
            f"leave {'it' if len(found) == 1 else 'them'} out: --unsetenv={','.join(found)}",
        )
    if any(name.startswith(_SHELL_FUNCTION) for name in kept):
        yield note(
            "variables",
            "shell functions of yours (module, say) are passed on, which bash defines in the image",
            "leave your environment out, if they are in the way: --clearenv",
        )
    if kept.get("PATH") and not (image or {}).get("PATH"):
        yield note(
            "variables",
            "the image sets no PATH, so that programs are looked for where yours says",
            "set one: --env=PATH=/usr/local/bin:/usr/bin:/bin",
        )
    if not found:
        # The dynamic linker takes those that it trusts away from every set-uid program.
        text = "none of yours leads programs astray (LD_LIBRARY_PATH and TMPDIR stay outside)"
        yield ok("variables", text)


def own_python(home: str, final: Mapping[str, str], files: Files) -> Iterator[Observation]:
    """Whether packages in the user's home come before those of the image."""
    if not home.startswith("/"):
        return
    own = _versions(files.names(f"{home}/.local/lib"))
    if not own:
        return
    there = {version for path in _LIBRARIES for version in _versions(files.names(path))}
    same = sorted(own & there, key=lambda version: int(version.partition(".")[2]))
    if not same:
        return
    names = ", ".join(f"python{version}" for version in same)
    if final.get("PYTHONNOUSERSITE"):
        yield ok("python", f"{home}/.local/lib/{names} is left alone (PYTHONNOUSERSITE)")
        return
    yield note(
        "python",
        f"packages in {home}/.local/lib/{names} come before the image's own",
        "keep them out: --env=PYTHONNOUSERSITE=1",
    )


def final(preview: Preview, request: Request) -> dict[str, str]:
    """The program's variables."""
    kept = {
        name: value
        for name, value in request.environment.items()
        if name not in preview.unset_variables
    }
    return kept | dict(preview.set_variables)


def _by_module(request: Request, config: RuntimeConfig) -> dict[str, str]:
    found = {}
    for module in modules.select(request.modules, config):
        changes = module.variables
        for name in _names([*changes.assign, *changes.append, *changes.prepend]):
            found[name] = module.name
    return found


def _names(assignments: list[str]) -> set[str]:
    return {text.partition("=")[0] for text in assignments}


def _versions(names: list[str]) -> set[str]:
    return {found[1] for name in names if (found := _PYTHON.fullmatch(name))}
