# SPDX-License-Identifier: BSD-3-Clause
"""A hook of OpenPBS and PBS Professional: has each node prepare the container of a job.

Type once, as the manager of PBS; then again the last line when this file has changed:

    qmgr -c "create hook shifter"
    qmgr -c "set hook shifter event='execjob_begin,execjob_end', alarm=120"
    qmgr -c "import hook shifter application/x-python default shifter_hook.py"

The job says by its variables what it wants: qsub -v SHIFTER=docker:ubuntu:24.04 job.sh
"""

from __future__ import annotations

import subprocess

import pbs

PROLOGUE = "/opt/shifter/sbin/shifter-prologue"
EPILOGUE = "/opt/shifter/sbin/shifter-epilogue"
TIMEOUT = 60  # seconds; the hook's alarm has to be longer, by ten at least
REJECT = False  # True: a job whose container cannot be prepared goes back to its queue

VARIABLES = (
    "SHIFTER",
    "SHIFTER_IMAGE",
    "SHIFTER_IMAGETYPE",
    "SHIFTER_IMAGEREQUEST",
    "SHIFTER_VOLUME",
    "SHIFTER_MODULE",
)


def begin(event: pbs.event) -> None:
    """Prepare what the job asks for; what it does not ask for costs no time."""
    job = event.job
    variables = [
        f"--variable={name}={job.Variable_List[name]}"
        for name in VARIABLES
        if name in job.Variable_List
    ]
    if not variables:
        return
    complaint = run(
        PROLOGUE,
        f"--job={job.id}",
        f"--user={job.euser}",
        f"--exec-host={job.exec_host}",
        f"--timeout={TIMEOUT}",
        *variables,
    )
    if complaint and REJECT:
        event.reject(complaint)


def end(event: pbs.event) -> None:
    """Take it down; where none is, nothing happens."""
    run(EPILOGUE, f"--job={event.job.id}", f"--timeout={TIMEOUT}")


def run(*command: str) -> str:
    """What a program complained of if it failed; in any case it is in PBS's log of that job."""
    try:
        done = subprocess.run(
            [*command, "--fail-status=1"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
    except OSError as error:  # not installed on this node; or a variable is too long for a word
        text, failed = f"cannot run {command[0]}: {error.strerror}", True
    else:
        text, failed = done.stderr.decode("utf-8", "replace").strip(), done.returncode != 0
    if text:
        pbs.logjobmsg(pbs.event().job.id, text)
    return text if failed else ""


EVENTS = {pbs.EXECJOB_BEGIN: begin, pbs.EXECJOB_END: end}
EVENTS[pbs.event().type](pbs.event())
