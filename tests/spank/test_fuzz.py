# SPDX-License-Identifier: BSD-3-Clause
"""Random text wherever the plugin reads some, for as many rounds as SHIFTER_FUZZ_ROUNDS says.

A round that fails is repeated by SHIFTER_FUZZ_SEED, which each failure names.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.spank.jobs import ENVIRONMENT, IMAGE_ID, JOB, WITH_IMAGE, step
from tests.spank.mock import Script

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("SHIFTER_FUZZ_ROUNDS", "250"))
SEED = int(os.environ.get("SHIFTER_FUZZ_SEED", "1"))
BATCH = 50  # rounds of one process, which forks for each

PIECES = [
    *(b"udiRootPath", b"=", b" ", b"\n", b"\r\n", b"\\", b"\\\n", b"#", b"\0", b"\t", b"", b"1"),
    *(b"/opt/shifter", b"..", b"/", b"id:", b"docker:", b"a" * 64, b"local:/", b"%n", b"%s%s%s"),
    *(b"\xff", b"\xc3\x28", b"\xe2\x80\xae", b"\x1b[2J", b"'", b'"', b"`id`", b"$(id)", b";"),
    *(b"SHIFTER_IMAGE=", b"SHIFTER_IMAGETYPE=", b"SHIFTER_VOLUME=", b"LD_PRELOAD=", b":", b"0"),
    *(b"SHIFTER_IMAGE", b"SHIFTER_SSH_PUBKEY=", b"SHIFTER_PINNED_REQUEST=", b"SHIFTER_CCM="),
    *(b"failed\n", b"warning\n", b"shifter-udi 2\n", b"4294967295", b"4294967296", b"-1", b"0x10"),
    *(b"99999999999999999999", b"65534", b"enable_ccm=", b"setup_timeout=", b"shifter_config="),
    *(b"x" * 255, b"x" * 4096, b"x" * 65536, b"--", b"-", b"--image=", b"\x01\x7f\x80"),
]  # fmt: skip


class Fuzz:
    """Texts that are nearly right; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self, *models: bytes) -> bytes:
        """One of the models, a few times changed."""
        text = self.random.choice(models)
        for _ in range(self.random.randrange(6)):
            text = self._change(text)
        return text

    def word(self, *models: bytes) -> bytes:
        return self.text(*models).replace(b"\0", b"")

    def _change(self, text: bytes) -> bytes:
        start, end = sorted(self.random.randrange(len(text) + 1) for _ in range(2))
        middle = self.random.choice(
            (b"", self.random.choice(PIECES), text[start:end] * 2, self.random.randbytes(3))
        )
        return text[:start] + middle + text[end if self.random.random() < 0.5 else start :]


def file(script, path, content):
    return script.add("file", str(path), content.hex())


def submission_round(fuzz, script, site):
    """Arguments in plugstack.conf, options, udiRoot.conf and the program's answer."""
    answer = site.directory / "answer"
    good = f"SHIFTER_IMAGETYPE=id\0SHIFTER_IMAGE={IMAGE_ID}\0SHIFTER_VOLUME=/a:/b\0".encode()
    config = f"# x\nsiteEnv = A \\\n  B\nudiRootPath = {site.directory}\n".encode()
    file(script, answer, fuzz.text(good))
    file(script, site.config, fuzz.text(config, config, b""))
    script.add("context", fuzz.random.choice(("local", "allocator")))
    for _ in range(fuzz.random.randrange(3)):
        script.add("plugstack", fuzz.word(b"enable_ccm=1", b"setup_timeout=9", b"pull_at_submit=1"))
    script.add("plugstack", fuzz.random.choice(("enable_ccm=1", "long_options", "x")))
    script.add("hook", "init")
    for _ in range(fuzz.random.randrange(1, 6)):
        name = fuzz.random.choice(("image", "volume", "module", "ccm"))
        script.add("option", name, fuzz.word(b"docker:ubuntu:24.04", b"/a:/b;/c:/d", b"mpich,gpu"))
    script.each("hook", "init_post_opt", "local_user_init", "exit")


def prolog_round(fuzz, script, site):
    """What a user's job has in the environment of a prolog, and what is in its way."""
    for name, value in ENVIRONMENT.items():
        script.add("environ", name, value)
    for name in (*WITH_IMAGE, "SPANK_SHIFTER_VOLUME", "SPANK_SHIFTER_MODULE", "SPANK_SHIFTER_CCM"):
        if fuzz.random.random() < 0.5:
            script.add(
                "environ",
                name,
                fuzz.word(IMAGE_ID.encode(), b"id", b"/a:/b", b"docker:x:1")[:100_000],
            )
    if fuzz.random.random() < 0.3:
        name = fuzz.random.choice(("SLURM_NODELIST", "SLURM_JOB_CPUS_PER_NODE", "SLURM_JOB_GID"))
        script.add("environ", name, fuzz.word(b"n[1-2]", b"1(x2)", b"65534")[:100_000])
    script.add("context", "job_script").add("item", "JOB_ID", JOB).add("item", "JOB_UID", 65534)
    script.add("plugstack", fuzz.word(b"enable_sshd=1", b"enable_ccm=1"))
    script.each("hook", "init", "job_prolog", "job_epilog", "exit")


def step_round(fuzz, script, site):
    """Options, the job's environment, and the files that its prolog left."""
    site.jobs.mkdir(mode=0o700, exist_ok=True)
    udi = site.directory / "run/udi" / JOB
    udi.mkdir(parents=True, exist_ok=True)
    models = (b"failed\nshifter: why\n", b"warning\nshifter: why\n", b"")
    file(script, site.jobs / JOB, fuzz.text(*models))
    for name in ("record", "sshd", "namespace", "container"):
        file(
            script,
            udi / name,
            fuzz.text(b"shifter-udi 2\n65534 1 2 3\nnobody\n\n", b"4000000 1 2\n"),
        )
    environment = {
        name: os.fsdecode(fuzz.word(IMAGE_ID.encode(), b"1", b"id"))
        for name in (
            "SHIFTER_CCM",
            "SHIFTER_IMAGE",
            "SLURM_SPANK_SHIFTER_CCM",
            "PWD",
            "SHIFTER_JOB_ID",
        )
    }
    options = [(n, os.fsdecode(fuzz.word(b"a:b", b"/a:/b"))) for n in ("image", "volume", "ccm")]
    chosen = options[: fuzz.random.randrange(4)]
    plugstack = ("enable_ccm=1", os.fsdecode(fuzz.word(b"extern_cgroup=0", b"enable_sshd=1")))
    script.extend(flat(step(*chosen, plugstack=plugstack, environment=environment)))


def flat(script):
    """Without processes of its tasks' own: a round is one already."""
    words = script.text.split(b"\0")[:-1]
    kept = Script("error")
    for command, name, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        if command not in (b"child", b"parent", b"look"):
            kept.add(command.decode(), name, value)
    return kept


@pytest.fixture
def fuzzed(site):
    site.submission(f"cat {site.directory / 'answer'}")
    site.setup_root("exit 0")
    site.unsetup_root("exit 0")
    return site


@pytest.mark.parametrize("make_round", [submission_round, prolog_round, step_round])
def test_no_text_ends_the_process_that_reads_it(fuzzed, make_round):
    for first in range(SEED, SEED + ROUNDS, BATCH):
        script = Script("error")
        for seed in range(first, min(first + BATCH, SEED + ROUNDS)):
            script.add("child")
            make_round(Fuzz(seed), script, fuzzed)
            script.add("parent")

        seen = fuzzed.run(script, seconds=300)

        ends = seen.of("child")
        failed = [first + index for index, end in enumerate(ends) if end != ("exit", "0")]
        assert failed == [], f"SHIFTER_FUZZ_SEED={failed[0]} SHIFTER_FUZZ_ROUNDS=1\n{seen.stderr}"
        prologs = {value for hook, value in seen.of("return") if hook.startswith("job_")}
        assert prologs <= {"0"}
        assert not seen.of("crash")
        seen.require_sound()
