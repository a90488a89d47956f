# SPDX-License-Identifier: BSD-3-Clause
"""Completion in real shells: words as a shell has them go in, what it would insert comes out."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

IMAGES = ["custom:tool:1", "docker:ubuntu:22.04", "docker:ubuntu:24.04"]

_BASH = """\
source {script}
COMP_LINE={line} COMP_POINT={length}
{function} {program} 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

# What only the line editor of zsh has is stood in for.
_ZSH = """\
compdef() {{ }}
compadd() {{ print -l -- ${{(P)argv[-1]}} }}
_files() {{ print FILES }}
source {script}
words=({line}) CURRENT=$#words
[[ {line} != *' ' ]] || {{ words+=('') CURRENT=$#words }}
{function}
"""

_FISH = """\
source {script}
complete -C {line}
"""


@pytest.fixture
def environment(tmp_path):
    """Where shells find shifterimg, and names of images that the gateway gave a moment ago."""
    config = tmp_path / "udiRoot.conf"
    config.write_text(
        "udiMount=/udi\nloopMount=/loop\nimagePath=/images\nudiRootPath=/opt/shifter\n"
        "populateEtcDynamically=1\ndefaultImageType=docker\nsystem=cluster\n"
        "imageGateway=http://127.0.0.1:9\nmodule_mpich_siteEnv=A=1\n"
    )
    (tmp_path / "bin").mkdir()
    for name, module in (("shifterimg", "shifterimg"), ("shifter-admin", "admin")):
        program = tmp_path / "bin" / name
        program.write_text(
            f"#!{sys.executable}\nfrom shifter_cli.{module} import main\nmain({str(config)!r})\n"
        )
        program.chmod(0o755)
    (tmp_path / "shifter-images-cluster.json").write_text(json.dumps(IMAGES))
    return {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "XDG_RUNTIME_DIR": str(tmp_path),
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request, environment, tmp_path):
    """`complete("shifterimg pu")`: whole words that the shell would have there."""
    shell = request.param
    assert shutil.which(shell), f"{shell} is missing: apt-get install {shell}"

    def run(*command, text=""):
        done = subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.stderr == "", done.stderr
        return done.stdout

    def complete(line):
        program = line.split()[0]
        script = tmp_path / f"{program}.{shell}"
        script.write_text(run("shifterimg", "completion", shell, program))
        template = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
        function = f"_{program.replace('-', '_')}"
        text = template.format(
            script=script, line=shlex.quote(line),
            length=len(line), function=function, program=program,
        )  # fmt: skip
        if shell == "zsh":
            text = text.replace(f"words=({shlex.quote(line)})", f"words=({line})")
        options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        found = run(shell, *options, text=text).splitlines()
        return sorted(word.partition("\t")[0] for word in found if word)

    complete.shell = shell
    return complete


def whole(complete, typed, words):
    """What bash replaces is what stands after the last of the characters that break its words."""
    cut = max(typed.rfind(":"), typed.rfind("=")) + 1 if complete.shell == "bash" else 0
    return sorted(word[cut:] for word in words)


def test_modes_are_completed(complete):
    assert complete("shifterimg pu") == ["pull", "pullnb"]


@pytest.mark.parametrize("typed", ["ub", "docker:ub", "ubuntu:2"])
def test_names_of_images_are_completed(complete, typed):
    tags = ["ubuntu:22.04", "ubuntu:24.04"]
    words = [f"docker:{tag}" for tag in tags] if typed.startswith("docker") else tags

    assert complete(f"shifterimg lookup {typed}") == whole(complete, typed, words)


def test_images_are_completed_after_an_option_of_shifter(complete):
    typed = "--image=ubuntu:24"

    found = complete(f"shifter --verbose {typed}")

    assert found == whole(complete, typed, ["--image=ubuntu:24.04"])


def test_options_of_shifter_are_completed(complete):
    assert complete("shifter --im") == ["--image="]
    assert complete("shifter --wr") == ["--writable"]


def test_modules_are_completed(complete):
    assert complete("shifter -m mp") == ["mpich"]


def test_commands_of_shifter_admin_are_completed(complete):
    assert "check" in complete("shifter-admin config ")


def test_all_programs_are_completed_by_what_one_command_prints(environment, tmp_path):
    done = subprocess.run(
        ["bash", "--norc", "-c", "source <(shifterimg completion bash); complete -p"],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    completed = {line.split()[-1] for line in done.stdout.splitlines()}
    assert completed == {"shifterimg", "shifter", "shifter-admin"}
