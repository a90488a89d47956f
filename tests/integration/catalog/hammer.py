# SPDX-License-Identifier: BSD-3-Clause
"""A program of the tests: many processes on one catalog. `-m … ACTION ADDRESS PROCESSES`

It is a program because fork() is only safe in a process of one thread, which pytest may not be.
Prints what each process found, as a JSON list.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import signal
import sys
import time
from datetime import timedelta

from shifter_imagegw.errors import CatalogError, LeaseLostError
from shifter_imagegw.records import NewPull, PullState
from tests.catalogs import open_at
from tests.integration.catalog.conftest import IMAGE

LEASE = timedelta(seconds=600)
fork = multiprocessing.get_context("fork")


def ask(catalog, tag):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, time.time()).key


def claim(number, catalog):
    """Claim until nothing is left; the tags."""
    tags = []
    while job := catalog.claim(["mycluster"], f"w{number}", LEASE, time.time()):
        tags.append(job.record.pull_tag)
    return tags


def same(number, catalog):
    """Ask for the same images as everybody else; the keys of the records."""
    return [ask(catalog, f"app:{tag}") for tag in range(20)]


def own(number, catalog):
    return ask(catalog, f"child:{number}")


def write(number, catalog):
    """Ask for image after image, and say so once it is written, until killed."""
    for tag in range(100_000):
        print(ask(catalog, f"app:{tag}"), flush=True)


def open_anew(number, address):
    return ask(open_at(address), "app:1")


TAGS, CONTENTS, ROUNDS = 5, 3, 8


def work(number, catalog):
    """Pull a few tags again and again, to contents that change; what was published when."""
    published = []
    for turn in itertools.count():
        if len(published) == ROUNDS:
            break
        ask(catalog, f"app:{(number + turn) % TAGS}")
        job = catalog.claim(["mycluster"], f"w{number}", LEASE, time.time())
        if job is None or was_removal(job, catalog):
            time.sleep(0.001)
            continue
        catalog.renew(job, LEASE, time.time())
        catalog.report(job, PullState.PULLING, "layers", bytes_done=1, bytes_total=2)
        content = str((number * 7 + turn * 5) % CONTENTS) * 64
        now = time.time()
        catalog.publish(job, dataclasses.replace(IMAGE, image_id=content), now)
        published.append((job.record.pull_tag, content, now))
    return published


def was_removal(job, catalog):
    """Whether the job was the removal of an image, which is done then."""
    if job.record.state is not PullState.EXPIRING:
        return False
    with contextlib.suppress(LeaseLostError):  # the image was pulled again
        catalog.finish_expire(job)
    return True


def take_away(number, catalog):
    """As `work`, while every other process expires what it finds."""
    if number % 2:
        return work(number, catalog)
    for _ in range(ROUNDS * 2):
        for image in catalog.list_ready("mycluster"):
            catalog.add_expire(image)
        job = catalog.claim(["mycluster"], f"w{number}", LEASE, time.time())
        if job is not None and not was_removal(job, catalog):
            catalog.publish(job, dataclasses.replace(IMAGE, image_id="0" * 64), time.time())
    return []


inside = fork.Value("i", 0)


def hold(number, catalog):
    """Hold one image in turn; how many were at it at once, at most."""
    ask(catalog, f"mine:{number}")
    job = catalog.claim(["mycluster"], f"w{number}", LEASE, time.time())
    most = 0
    for _ in range(5):
        while not catalog.hold(job, "a" * 64, time.time()):
            time.sleep(0.002)
        with inside.get_lock():
            inside.value += 1
        time.sleep(0.001)
        with inside.get_lock():
            most = max(most, inside.value)
            inside.value -= 1
        catalog.give_back(f"w{number}")
        job = None
        while job is None:
            job = catalog.claim(["mycluster"], f"w{number}", LEASE, time.time())
    return most


def elect(number, catalog):
    """Stand for office; whether elected."""
    return catalog.elect("sweep", f"p{number}", LEASE, time.time())


def main(action, address, count):
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("a process gave no answer"))
    shared = address if action is open_anew else open_at(address)
    results, barrier = fork.SimpleQueue(), fork.Barrier(count)

    def start(number):
        barrier.wait(30)
        try:
            results.put(action(number, shared))
        except CatalogError as error:
            results.put(str(error))
            raise

    processes = [fork.Process(target=start, args=(number,), daemon=True) for number in range(count)]
    for process in processes:
        process.start()
    signal.alarm(60)  # should one of them die without a word
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    print(json.dumps(found))
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(0, open_at(sys.argv[2]))
    main(globals()[sys.argv[1]], sys.argv[2], int(sys.argv[3]))
