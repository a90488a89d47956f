# SPDX-License-Identifier: BSD-3-Clause
"""A small root directory with Python, a scientific stack and a few hundred generated extensions."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from benchmarks import programs
from benchmarks.programs import BenchmarkError

PYTHON = Path("/usr/bin/python3.11")
STACK = ("numpy", "scipy", "pandas", "matplotlib", "scikit-learn", "sympy", "networkx")
SITE = Path("usr/local/lib/python3.11/dist-packages")
# What is timed. The second is after Pynamic, which has no purpose but to load shared objects.
SCIENTIFIC = "import numpy, scipy.stats, pandas, matplotlib, sklearn.ensemble, sympy, networkx"
GENERATED = "import generated"
DIRECTORIES = ("proc", "sys", "dev", "tmp", "var/tmp", "etc", "opt", "data", "bin", "root")

EXTENSION = """\
#include <Python.h>
{functions}
static PyObject *sum_{n}(PyObject *self, PyObject *none)
{{
	long sum = 0;
	{calls}
	return PyLong_FromLong(sum);
}}
static PyMethodDef methods[] = {{{{"sum", sum_{n}, METH_NOARGS, NULL}}, {{NULL, NULL, 0, NULL}}}};
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "module{n}", NULL, -1, methods}};
PyMODINIT_FUNC PyInit_module{n}(void) {{ return PyModule_Create(&module); }}
"""
FUNCTIONS = 200  # in each extension


def make(tree: Path, work: Path, *, extensions: int) -> None:
    """Make the tree, unless an earlier run left it: it takes minutes."""
    mark = tree.with_suffix(".made")
    wanted = f"{' '.join(STACK)} {extensions}\n"
    if mark.exists() and mark.read_text() == wanted:
        return
    if absent := programs.missing("gcc", PYTHON.name):
        raise BenchmarkError(absent)
    shutil.rmtree(tree, ignore_errors=True)
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    _copy_python(tree)
    _install_stack(tree / SITE, work)
    _generate(tree / SITE / "generated", work, extensions)
    _copy_libraries(tree)
    mark.write_text(wanted)


def _copy_python(tree: Path) -> None:
    (tree / "usr/bin").mkdir(parents=True)
    shutil.copy2(PYTHON, tree / "usr/bin/python3")
    standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": "/usr"}))
    shutil.copytree(
        standard,
        tree / standard.relative_to("/"),
        ignore=shutil.ignore_patterns(
            "test", "idlelib", "config-*", "dist-packages", "site-packages"
        ),
    )
    busybox = shutil.which("busybox")
    if busybox:
        shutil.copy2(busybox, tree / "bin/busybox")
        for applet in ("sh", "true", "cat", "dd"):
            (tree / "bin" / applet).symlink_to("busybox")


def _install_stack(site: Path, work: Path) -> None:
    environment = work / "pip"
    programs.run([PYTHON, "-I", "-m", "venv", environment])
    pip: list[str | Path] = [environment / "bin/python", "-I", "-m", "pip", "install", "--quiet"]
    programs.run([*pip, "--root-user-action=ignore", "--target", site, *STACK])
    shutil.rmtree(environment)


def _generate(package: Path, work: Path, count: int) -> None:
    package.mkdir()
    lines = []
    for n in range(count):
        source = work / f"module{n}.c"
        functions = "\n".join(
            f"long f{n}_{i}(long x) {{ return x * {i} + {n}; }}" for i in range(FUNCTIONS)
        )
        calls = "\n\t".join(f"sum += f{n}_{i}(sum);" for i in range(FUNCTIONS))
        source.write_text(EXTENSION.format(n=n, functions=functions, calls=calls))
        include = sysconfig.get_path("include", vars={"installed_base": "/usr", "base": "/usr"})
        programs.run(
            [
                "gcc",
                "-O0",
                "-shared",
                "-fPIC",
                f"-I{include}",
                "-o",
                package / f"module{n}.so",
                source,
            ]
        )
        source.unlink()
        lines.append(f"from . import module{n}; module{n}.sum()\n")
    (package / "__init__.py").write_text("".join(lines))
    programs.run([PYTHON, "-I", "-m", "compileall", "-q", package])


def _copy_libraries(tree: Path) -> None:
    """The libraries of the node that Python and the packages need: C's, and its own."""
    needed: set[str] = set()
    objects = [
        tree / "usr/bin/python3",
        *(tree / "usr/lib").rglob("*.so"),
        *(tree / SITE).rglob("*.so"),
    ]
    for start in range(0, len(objects), 100):
        done = programs.run(["ldd", *objects[start : start + 100]], check=False)
        for line in done.splitlines():
            words = line.split()
            found = words[2] if "=>" in words and len(words) > 2 else words[0] if words else ""
            if (
                found.startswith("/")
                and not found.startswith(str(tree))
                and not found.endswith(":")
            ):
                needed.add(found)
    for library in sorted(needed):
        target = tree / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(library), target)
