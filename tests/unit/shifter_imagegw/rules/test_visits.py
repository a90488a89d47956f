# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from datetime import timedelta

import pytest

from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.errors import ConfigError, NotPermittedError
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.visits import SESSION_FOR, TICKET_FOR, PageOffError, Visits

ALICE = Caller(uid=1001, gid=100, known_name="alice")
TWO_SYSTEMS = {
    "Platforms": {
        name: {"accesstype": "local", "admins": ["root"], "local": {"imageDir": f"/images/{name}"}}
        for name in ("mycluster", "other")
    }
}


def visits_of(gateway, **changes):
    parts = {"config": gateway.config, "catalog": gateway.catalog, "sealer": gateway.sealer}
    return Visits(**(parts | changes), clock=gateway.clock)


@pytest.fixture
def gateway(gateway_with):
    return gateway_with(**TWO_SYSTEMS)


@pytest.fixture
def visits(gateway):
    return visits_of(gateway)


def enter(gateway, visits):
    return visits.enter(gateway.system, visits.invite(gateway.system, ALICE).text)


def test_a_ticket_lets_in_whom_it_was_made_for(gateway, visits):
    visit = visits.of(gateway.system, enter(gateway, visits))

    assert (visit.caller.uid, visit.caller.gid, visit.caller.name) == (1001, 100, "alice")


def test_to_ask_whom_a_ticket_lets_in_does_not_use_it(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE).text

    assert [visits.invited(gateway.system, ticket).name for _ in range(2)] == ["alice", "alice"]
    visits.enter(gateway.system, ticket)
    with pytest.raises(NotPermittedError, match="works only once"):
        visits.invited(gateway.system, ticket)


def test_a_ticket_works_once(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)
    visits.enter(gateway.system, ticket.text)

    with pytest.raises(NotPermittedError, match="works only once: run 'shifterimg web' again"):
        visits.enter(gateway.system, ticket.text)


def test_a_ticket_works_once_whichever_process_it_is_shown_to(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)
    other = visits_of(gateway, catalog=SqliteCatalog(gateway.config.catalog_path))

    assert other.enter(gateway.system, ticket.text)
    with pytest.raises(NotPermittedError, match="only once"):
        visits.enter(gateway.system, ticket.text)


def test_a_used_ticket_stays_used_for_as_long_as_it_lasts(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)
    visits.enter(gateway.system, ticket.text)
    gateway.clock.advance(TICKET_FOR.total_seconds() - 1)

    with pytest.raises(NotPermittedError, match="only once"):
        visits.enter(gateway.system, ticket.text)


def test_a_ticket_does_not_last(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)
    gateway.clock.advance(TICKET_FOR.total_seconds() + 2)

    with pytest.raises(NotPermittedError, match="not valid, or no longer"):
        visits.enter(gateway.system, ticket.text)


def test_a_ticket_says_when_it_ends(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)

    assert ticket.expires == gateway.clock.now + 120


def test_a_ticket_of_one_system_is_none_of_another(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)

    with pytest.raises(NotPermittedError, match="not valid"):
        visits.enter(gateway.config.systems["other"], ticket.text)


def test_a_session_of_one_system_is_none_of_another(gateway, visits):
    session = enter(gateway, visits)

    assert visits.of(gateway.config.systems["other"], session).caller is None


def test_a_session_lets_nobody_in_anew(gateway, visits):
    with pytest.raises(NotPermittedError, match="not valid"):
        visits.enter(gateway.system, enter(gateway, visits))


def test_a_ticket_is_no_session(gateway, visits):
    ticket = visits.invite(gateway.system, ALICE)

    assert visits.of(gateway.system, ticket.text).caller is None


def test_a_session_ends(gateway, visits):
    session = enter(gateway, visits)

    gateway.clock.advance(SESSION_FOR.total_seconds() - 60)
    assert visits.of(gateway.system, session).caller is not None
    gateway.clock.advance(120)
    assert visits.of(gateway.system, session).caller is None


def test_a_session_can_be_ended_for_all_processes(gateway, visits):
    session, other_session = enter(gateway, visits), enter(gateway, visits)
    other = visits_of(gateway, catalog=SqliteCatalog(gateway.config.catalog_path))
    assert other.of(gateway.system, session).caller is not None

    visits.end(visits.of(gateway.system, session))

    assert other.of(gateway.system, session).caller is None
    assert other.of(gateway.system, other_session).caller is not None
    gateway.clock.advance(SESSION_FOR.total_seconds() - 60)
    assert visits.of(gateway.system, session).caller is None


@pytest.mark.parametrize("text", ["", "gAAAAABlWXl5", "../../etc/passwd", "x" * 10_000])
def test_what_nobody_has_made_lets_nobody_in(gateway, visits, text):
    assert visits.of(gateway.system, text).caller is None
    with pytest.raises(NotPermittedError, match="not valid"):
        visits.enter(gateway.system, text)


def test_what_another_gateway_has_made_lets_nobody_in(gateway, visits):
    other = visits_of(gateway, sealer=Sealer("A" * 43 + "="))

    with pytest.raises(NotPermittedError, match="not valid"):
        visits.enter(gateway.system, other.invite(gateway.system, ALICE).text)


def test_groups_are_those_that_the_system_says(gateway_with):
    content = TWO_SYSTEMS["Platforms"]["mycluster"] | {"groupsFrom": "credential"}
    gateway = gateway_with(Platforms={"mycluster": content})
    visits = visits_of(gateway)

    visit = visits.of(gateway.system, enter(gateway, visits))

    assert visit.caller.groups == {100}


def test_without_a_key_the_administrator_is_told_to_make_one(gateway):
    visits = visits_of(gateway, sealer=Sealer(None))

    with pytest.raises(ConfigError, match="must set KeyFile"):
        visits.invite(gateway.system, ALICE)


def test_a_site_without_the_page_makes_no_links(gateway_with):
    gateway = gateway_with(WebPage=False)

    with pytest.raises(PageOffError, match="WebPage is false"):
        visits_of(gateway).invite(gateway.system, ALICE)


@pytest.mark.parametrize("is_open", [True, False])
def test_what_is_everybodys_is_shown_where_the_site_says_so(gateway_with, is_open):
    gateway = gateway_with(AllowAnonymous=is_open)
    visits = visits_of(gateway)

    assert visits.may_look(visits.of(gateway.system, None)) is is_open


def test_ended_sessions_are_forgotten_once_they_would_have_ended(gateway, visits):
    visits.end(visits.of(gateway.system, enter(gateway, visits)))

    gateway.clock.advance(SESSION_FOR.total_seconds() + 7200)
    enter(gateway, visits)

    with gateway.catalog._file.reading() as connection:
        rows = connection.execute("SELECT role FROM roles WHERE role LIKE 'ended %'").fetchall()
    assert rows == []


def test_used_tickets_are_forgotten_some_time(gateway, visits):
    first = visits.invite(gateway.system, ALICE)
    visits.enter(gateway.system, first.text)

    gateway.clock.advance(timedelta(hours=2).total_seconds())
    enter(gateway, visits)

    with gateway.catalog._file.reading() as connection:
        rows = connection.execute("SELECT role FROM roles WHERE role LIKE 'ticket %'").fetchall()
    assert len(rows) == 1
