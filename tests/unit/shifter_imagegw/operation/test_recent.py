# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import itertools
import threading

import pytest

from shifter_imagegw.operation.recent import Recent


def test_whoever_asks_again_at_once_is_given_the_same_answer():
    answer = Recent(itertools.count(1).__next__, seconds=60)

    assert [answer() for _ in range(20)] == [1] * 20


def test_an_answer_that_is_old_is_made_anew():
    answer = Recent(itertools.count(1).__next__, seconds=0)

    assert [answer(), answer()] == [1, 2]


def test_what_could_not_be_answered_is_tried_again():
    answers = iter([NoAnswerError(), 2])

    def make():
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    answer = Recent(make, seconds=60)
    with pytest.raises(NoAnswerError):
        answer()

    assert answer() == 2


def test_an_answer_that_takes_long_holds_up_one_thread():
    asked, goes_on = threading.Event(), threading.Event()
    answers = iter(["before", "after"])

    def make():
        found = next(answers)
        if found == "after":
            asked.set()
            assert goes_on.wait(10)
        return found

    answer = Recent(make, seconds=0)
    answer()
    first = threading.Thread(target=answer)
    first.start()
    assert asked.wait(10)

    meanwhile = answer()
    goes_on.set()
    first.join()

    assert meanwhile == "before"


class NoAnswerError(Exception):
    pass
