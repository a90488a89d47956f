# SPDX-License-Identifier: BSD-3-Clause
"""setupRoot and unsetupRoot killed, or failing, at every single call that changes something.

A driver forks the installed program again and again, and counts these calls; at the one whose turn
it is, the program is killed, or the call fails. So no step that is added can be forgotten here.
"""

from __future__ import annotations

import json

import pytest

from tests.integration.runtime.batch import STATE, BatchNode, finish
from tests.integration.runtime.node import IMAGE_ID

pytestmark = pytest.mark.root

SETUP = ("-u", "alice", "-v", "/shared:/data", "-N", "node1/1", "id", IMAGE_ID)
COUNTED = (
    *("unshare_mounts", "enter_mounts", "change_propagation", "remount_read_only", "clone_tree"),
    *("attach", "set_attributes", "make_filesystem", "pivot_root", "detach", "detach_mount"),
    *("control", "try_to_lock_byte"),
)

DRIVER = """
import errno, os, sys
order = eval(sys.argv[1])
sys.path.insert(0, order["library"])
from shifter_runtime.job import setup_root, unsetup_root
programs = {"setup": setup_root, "unsetup": unsetup_root}
write, mark = os.write, os.memfd_create("mark")

def counted(function):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls != turn:
            return function(*arguments, **named)
        write(mark, b"reached")
        if order["how"] == "kill":
            os.kill(os.getpid(), 9)
        raise OSError(errno.EIO, "made to fail", "here")
    return call

def run(program, words, broken):
    os.ftruncate(mark, 0)
    os.lseek(mark, 0, 0)
    child = os.fork()
    if child == 0:
        if broken:
            ours = [module for name, module in sys.modules.items() if name.endswith("calls")]
            for name in order["counted"]:
                (module,) = [module for module in ours if hasattr(module, name)]
                setattr(module, name, counted(getattr(module, name)))
            for name in ("mkdir", "rename", "unlink", "rmdir", "write"):
                setattr(os, name, counted(getattr(os, name)))
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        programs[program].main(order["config"], words)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def left():
    table = open("/proc/self/mountinfo").read().split("\\n")
    places = [line.split()[4] for line in table if line]
    found = [place for place in places if place.startswith((order["prefix"], order["state"]))]
    return found + (os.listdir(order["state"]) if os.path.isdir(order["state"]) else [])

rows = []
for turn in range(1, 2000):
    for program, words in order["before"]:
        assert run(program, words, False) == 0, (turn, program)
    calls = 0
    status = run(*order["broken"], True)
    reached = os.fstat(mark).st_size > 0
    row = {"status": status, "left": left()}
    if turn % 2 or not reached:
        row["after"] = run(*order["after"], False)
    else:
        row["again"] = run(*order["broken"], False)
        row["after"] = run(*order["after"], False)
    row["finally"] = left()
    rows.append(row)
    if not reached:
        break
import json
print(json.dumps(rows))
"""


def drive(batch: BatchNode, how: str, before: list, broken: tuple, after: tuple) -> list[dict]:
    order = {
        "library": str(batch.node.prefix / "lib/shifter"), "config": str(batch.node.config),
        "prefix": f"{batch.node.prefix}/", "state": STATE, "counted": COUNTED,
        "how": how, "before": before, "broken": broken, "after": after,
    }  # fmt: skip
    # While somebody uses the image, mounting it costs a hundredth.
    holder = batch.start_shifter("sleep", "1000")
    done = batch.run("/usr/bin/python3", "-IBc", DRIVER, repr(order))
    holder.kill()
    finish(holder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("job", [[], ["--job", "12"], ["--job", "12", "--show"]])
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_setup_cut_short_at_any_call_is_undone_by_itself_or_the_next(batch, how, job):
    rows = drive(batch, how, [], ("setup", [*job, *SETUP]), ("unsetup", job[:2]))

    *cut, whole = rows
    assert whole["status"] == 0
    assert len(cut) > 60
    for turn, row in enumerate(cut, start=1):
        # Some calls may fail without harm; then the container is there.
        assert row["status"] == -9 if how == "kill" else row["status"] in (0, 1), (turn, row)
        if how == "fail" and row["status"] == 1:
            assert row["left"] == [], (turn, row)
        assert row.get("again", 0) in (0, 3), (turn, row)
        assert row["after"] == 0, (turn, row)
        assert row["finally"] == [], (turn, row)


@pytest.mark.parametrize("job", [[], ["--job", "12"], ["--job", "12", "--show"]])
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_unsetup_cut_short_at_any_call_is_completed_by_the_next(batch, how, job):
    before = [("setup", [*job, *SETUP])]
    rows = drive(batch, how, before, ("unsetup", job[:2]), ("unsetup", job[:2]))

    *cut, whole = rows
    assert whole["status"] == 0
    assert len(cut) > 5
    for turn, row in enumerate(cut, start=1):
        assert row["status"] == -9 if how == "kill" else row["status"] in (0, 1), (turn, row)
        if row["status"] == 0:
            assert row["left"] == [], (turn, row)  # it says nothing is left, and nothing is
        assert row["after"] == 0, (turn, row)
        assert row["finally"] == [], (turn, row)
