# SPDX-License-Identifier: BSD-3-Clause
"""What srun, sbatch and salloc do with options: one program is asked, its answer is handed on."""

from __future__ import annotations

import os
import re
import select
import signal

import pytest

from tests.spank.jobs import IMAGE_ID, submit
from tests.spank.mock import Script, end_session, started_program

pytestmark = pytest.mark.root

IMAGE = ("image", "docker:ubuntu:24.04")
ANSWER = {
    "SHIFTER_IMAGETYPE": "id",
    "SHIFTER_IMAGE": IMAGE_ID,
    "SHIFTER_IMAGEREQUEST": "ubuntu:24.04",
    "SHIFTER_PINNED_REQUEST": "docker:ubuntu:24.04",
}
CLIENTS = ("allocator", "local")


def answering(site, *records):
    """A submission program that notes how it was called and prints these records."""
    answer = site.directory / "answer"
    answer.write_bytes(b"".join(os.fsencode(record) + b"\0" for record in records))
    site.submission(f"{site.log_call()}\ncat {answer}")
    return site


@pytest.fixture
def answered(site):
    return answering(site, *(f"{name}={value}" for name, value in ANSWER.items()))


@pytest.mark.parametrize("context", CLIENTS)
def test_an_image_is_looked_up_once_and_exported_by_its_id(answered, context):
    seen = answered.run(submit(IMAGE, context=context)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert [call[1:] for call in answered.calls()] == [["--image=docker:ubuntu:24.04"]]
    control = seen.variables("control")
    assert {name: control.get(name) for name in ANSWER} == ANSWER
    environment = seen.variables("environ")
    exported = {name: environment.get(name) for name in ANSWER}
    assert exported == {**ANSWER, "SHIFTER_PINNED_REQUEST": None}
    assert environment["_SLURM_SPANK_OPTION_shifter_image"] == f"id:{IMAGE_ID}"


def test_a_secret_of_the_job_s_is_not_in_the_environment_of_what_it_runs(site):
    answering(site, *(f"{n}={v}" for n, v in ANSWER.items()), "SHIFTER_SSH_PUBKEY=ssh-ed25519 A b")

    seen = site.run(submit(IMAGE, plugstack=("enable_sshd=1",))).require_sound()

    assert "--ssh-key" in site.calls()[0][1:]
    assert seen.variables("control")["SHIFTER_SSH_PUBKEY"] == "ssh-ed25519 A b"
    assert "SHIFTER_SSH_PUBKEY" not in seen.variables("environ")


@pytest.mark.parametrize("context", CLIENTS)
def test_without_options_nothing_is_started_nor_exported(answered, context):
    seen = answered.run(submit(context=context)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert answered.calls() == []
    assert not seen.of("control")
    assert not [name for name, _ in seen.of("environ") if "SHIFTER" in name]


def test_repeated_volumes_are_all_handed_on_in_order(answered):
    volumes = [("volume", f"/a{number}:/b{number}") for number in range(1000)]

    seen = answered.run(submit(IMAGE, *volumes)).require_sound()

    assert seen.returned("init_post_opt") == 0
    given = [word.partition("=")[2] for word in answered.calls()[0] if "--volume=" in word]
    assert ";".join(given).split(";") == [value for _, value in volumes]


def test_of_a_repeated_image_the_last_one_counts(answered):
    answered.run(submit(("image", "docker:a:1"), ("image", "docker:b:2"))).require_sound()

    assert answered.calls()[0][1:] == ["--image=docker:b:2"]


@pytest.mark.parametrize(
    ("plugstack", "options", "words"),
    [
        (("pull_at_submit=1",), [IMAGE], {"--pull", "--image=docker:ubuntu:24.04"}),
        (("enable_ccm=1",), [("ccm", "")], {"--ccm"}),
        (("enable_pyxis_names=1",), [("container-image", "ubuntu")], {"--container-image=ubuntu"}),
        (
            ("enable_pyxis_names=1",),
            [("container-image", "ubuntu"), ("container-mounts", "/a:/b,/c")],
            {"--container-image=ubuntu", "--container-mounts=/a:/b,/c"},
        ),
        (
            ("long_options",),
            [("shifter.image", "a"), ("shifter.module", "m")],
            {"--image=a", "--module=m"},
        ),
        ((), [IMAGE, ("module", "a,b")], {"--image=docker:ubuntu:24.04", "--module=a,b"}),
    ],
)  # fmt: skip
def test_what_plugstack_allows_becomes_words_of_the_program(answered, plugstack, options, words):
    seen = answered.run(submit(*options, plugstack=plugstack)).require_sound()

    assert not seen.of("unknown-option")
    assert set(answered.calls()[0][1:]) == words


@pytest.mark.parametrize(
    ("plugstack", "names"),
    [
        ((), {"image", "volume", "module"}),
        (("enable_ccm=1",), {"image", "volume", "module", "ccm"}),
        (("enable_ccm=0", "enable_pyxis_names=0"), {"image", "volume", "module"}),
        (("long_options",), {"shifter.image", "shifter.volume", "shifter.module"}),
        (
            ("enable_pyxis_names=1",),
            {"image", "volume", "module", "container-image", "container-mounts"},
        ),
    ],
)
@pytest.mark.parametrize("context", ["allocator", "local", "remote", "job_script"])
def test_options_are_those_that_plugstack_says(site, context, plugstack, names):
    seen = site.run(Script(context).each("plugstack", *plugstack).add("hook", "init"))

    registered = {name for name, _ in seen.require_sound().of("register")}
    assert registered == names or (context == "job_script" and registered <= names)


HOSTILE = {
    "quotes": "a'b\"c`d$(touch x);e|f&g<h>i*j?k[l]{m}~n!o#p\\q",
    "newlines": "a\nb\r\nc",
    "control": "".join(map(chr, range(1, 32))) + "\x7f",
    "not UTF-8": "\udcff\udcfe\udc80",
    "looks like an option": "--pull",
    "format": "%s%n%n%99999999d",
    "blank": "  ",
}


@pytest.mark.parametrize("context", CLIENTS)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_text_of_any_kind_is_one_word_or_refused(answered, context, value):
    seen = answered.run(submit(("image", value), ("volume", value), context=context))

    seen.require_sound()
    if answered.calls():
        assert sorted(answered.calls()[0][1:]) == [f"--image={value}", f"--volume={value}"]
    else:
        assert seen.returned("init_post_opt") in (-1, None)
        assert seen.said()
    assert not any(ord(letter) < 32 for letter in seen.said().replace("\n", ""))


def require_refused(site, *options):
    """Whether Slurm's command is ended by a callback that fails or by the hook, nobody is asked."""
    seen = site.run(submit(*options)).require_sound()

    assert seen.returned("init_post_opt") in (-1, None)
    assert site.calls() == []
    assert 0 < len(seen.said()) < 1000


@pytest.mark.parametrize("size", [65_536, 1 << 20])
def test_more_than_fits_is_refused_with_words(answered, size):
    require_refused(answered, ("image", "a"), ("volume", "/" + "v" * size))


def test_many_options_that_are_too_much_together_are_refused(answered):
    options = [("volume", f"/{'v' * 5000}:/{number}") for number in range(20)]

    require_refused(answered, IMAGE, *options)


@pytest.mark.parametrize("name", ["image", "volume", "module"])
def test_an_empty_value_is_refused(answered, name):
    require_refused(answered, (name, ""))


FAILING = {
    "says why": "echo 'shifter: no such image' >&2; exit 1",
    "is killed": "kill -9 $$",
    "is not understood": "exec /nonexistent",
    "fails after its answer": "printf 'SHIFTER_IMAGE=x\\0'; echo no >&2; exit 3",
    "answers one half": "printf 'SHIFTER_IMAGETYPE=id\\0'",
    "answers but for the end": f"printf 'SHIFTER_IMAGETYPE=id\\0SHIFTER_IMAGE={IMAGE_ID[:-1]}'",
    "answers with an unknown name": "printf 'SHIFTER_IMAGE=a\\0LD_PRELOAD=/tmp/x\\0'",
    "answers with a name that goes on": "printf 'SHIFTER_IMAGES=a\\0'",
    "answers without value": "printf 'SHIFTER_IMAGE\\0'",
    "answers with an empty record": "printf '\\0'",
    "answers with an empty name": "printf '=x\\0'",
    "answers 10 MB": "head -c 10000000 /dev/zero | tr '\\0' x",
    "answers 10 MB of NUL": "head -c 10000000 /dev/zero",
    "answers a huge record": "printf SHIFTER_IMAGE=; head -c 10000000 /dev/zero | tr '\\0' x; "
    "printf '\\0'",
}


@pytest.mark.parametrize("context", CLIENTS)
@pytest.mark.parametrize("program", FAILING.values(), ids=FAILING)
def test_no_job_is_submitted_when_the_program(site, program, context):
    site.submission(program)

    seen = site.run(submit(IMAGE, context=context)).require_sound()

    assert seen.returned("init_post_opt") == -1
    # Where the plugin is only `optional`, this has the job's own output say so.
    assert seen.of("control") == [("SHIFTER_REFUSED", "1")]
    exported = {name: value for name, value in seen.of("environ") if "SHIFTER" in name}
    assert set(exported.values()) == {"1"}
    assert exported.keys() <= {"SHIFTER_REFUSED", "SLURM_SPANK_SHIFTER_REFUSED"}
    assert seen.said() or seen.stderr


def test_what_the_program_says_reaches_the_user_however_much_it_is(answered):
    answer = answered.directory / "answer"
    answered.submission(f"head -c 10000000 /dev/zero | tr '\\0' x >&2; cat {answer}")

    seen = answered.run(submit(IMAGE)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert len(seen.stderr) == 10_000_000


def test_a_program_that_closes_its_output_and_goes_on_is_waited_for(answered):
    answered.submission(f"cat {answered.directory / 'answer'}; exec >&-; sleep 0.3; echo late >&2")

    seen = answered.run(submit(IMAGE)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert seen.stderr == "late\n"


def test_what_the_program_leaves_running_holds_nobody_up(answered):
    answered.submission(f"cat {answered.directory / 'answer'}; exec >&-; sleep 300 >&2 &")

    assert answered.run(submit(IMAGE), seconds=20).require_sound().returned("init_post_opt") == 0


def test_the_program_has_the_user_s_environment_and_none_of_the_host_s_descriptors(site):
    site.submission('echo "HOME is $HOME" >&2; exec ls -l /proc/self/fd >&2')

    seen = site.run(submit(IMAGE), environment={"HOME": "/home/alice"}).require_sound()

    assert "HOME is /home/alice" in seen.stderr
    opened = dict(re.findall(r"(\d+) -> (.*)", seen.stderr))
    assert opened.pop("3").startswith("/proc/")  # that of ls, for the list
    assert opened.keys() == {"0", "1", "2"}
    assert opened["0"] == "/dev/null"


def test_a_program_that_is_not_there_is_named(site):
    seen = site.run(submit(IMAGE)).require_sound()

    assert seen.returned("init_post_opt") == -1
    assert str(site.directory / "libexec/shifter/submission") in seen.said()


def inherited_from_a_job(image_id):
    """What a task or a batch script has in its environment, by what the submission handed on."""
    return {
        "SLURM_JOB_ID": "77",
        "SHIFTER_IMAGETYPE": "id",
        "SHIFTER_IMAGE": image_id,
        "SLURM_SPANK_SHIFTER_IMAGETYPE": "id",
        "SLURM_SPANK_SHIFTER_IMAGE": image_id,
        "_SLURM_SPANK_OPTION_shifter_image": f"id:{image_id}",
        "SLURM_SPANK__SLURM_SPANK_OPTION_shifter_image": f"id:{image_id}",
    }


def test_a_nested_srun_that_asks_for_nothing_new_inherits_and_asks_nobody(answered):
    script = submit(context="local")

    seen = answered.run(script, environment=inherited_from_a_job(IMAGE_ID)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert answered.calls() == []
    assert seen.variables("environ")["SHIFTER_IMAGE"] == IMAGE_ID


def test_an_image_of_a_nested_srun_s_own_is_looked_up(answered):
    job_s = {**inherited_from_a_job("b" * 64), "SHIFTER_IMAGEREQUEST": "old:1"}

    seen = answered.run(submit(IMAGE, context="local"), environment=job_s).require_sound()

    assert answered.calls()[0][1:] == ["--image=docker:ubuntu:24.04"]
    environment = seen.variables("environ")
    assert environment["SHIFTER_IMAGE"] == IMAGE_ID
    assert environment["SHIFTER_IMAGEREQUEST"] == "ubuntu:24.04"
    assert environment["_SLURM_SPANK_OPTION_shifter_image"] == f"id:{IMAGE_ID}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_interrupted_takes_the_program_along(site, number):
    site.submission(f"echo $$ >{site.directory / 'pid'}; exec sleep 300")
    process = site.start(submit(IMAGE))
    try:
        program = os.pidfd_open(started_program(process, site.directory / "pid"))
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        process.wait(20)

        assert select.select([program], [], [], 20)[0] == [program]
        os.close(program)
    finally:
        end_session(process)


def test_each_part_of_a_heterogeneous_job_has_an_image_of_its_own(answered):
    script = Script("allocator").add("hook", "init")
    for image in ("docker:a:1", "docker:b:1"):
        script.add("option", "image", image).add("hook", "init_post_opt")

    answered.run(script.add("hook", "exit")).require_sound()

    assert [call[1:] for call in answered.calls()] == [
        ["--image=docker:a:1"],
        ["--image=docker:b:1"],
    ]


@pytest.mark.parametrize("other", ["volume", "image"])
def test_ccm_and_an_image_exclude_each_other_and_a_volume_needs_an_image(answered, other):
    options = [("ccm", ""), IMAGE] if other == "image" else [("volume", "/a:/b")]

    seen = answered.run(submit(*options, plugstack=("enable_ccm=1",))).require_sound()

    assert seen.returned("init_post_opt") == -1
    assert answered.calls() == []
    assert "image" in seen.said()
