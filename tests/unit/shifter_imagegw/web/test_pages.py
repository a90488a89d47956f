# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import itertools
import json
import re

import pytest

from shifter_cli.output import bytes_text
from shifter_imagegw.api import long_answers
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.web import live

PAGES = ["", "queue", "image/docker/app:1", "login", "nothing/here", "image/docker/none:1"]
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
FOR_BOB = json.dumps({"allowed_uids": "1002"})


def test_clients_get_from_the_root_what_they_always_got(gateway):
    answer = gateway.client.get("/", headers={"Accept": "*/*"})

    assert answer.text == "{lookup,pull,expire,list}"


def test_browsers_are_led_from_the_root_to_the_page(gateway):
    answer = gateway.client.get("/", headers={"Accept": "text/html,application/xhtml+xml"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/web/")


def test_the_only_system_needs_no_choosing(gateway):
    assert gateway.client.get("/web/").headers["Location"] == "/web/mycluster/"


def test_of_several_systems_one_is_chosen(gateway_with, elements):
    names = ("mycluster", "cori", "a&b/c")
    system = {"accesstype": "local", "local": {"imageDir": "/images"}}
    gateway = gateway_with(Platforms=dict.fromkeys(names, system))

    links = [link["href"] for link in elements(gateway.client.get("/web/")).all("a")]

    assert "/web/cori/" in links
    assert "/web/a%26b%2Fc/" in links


@pytest.mark.parametrize("search", ["", "?q=a%20b&sort=largest"])
def test_a_slash_that_was_left_out_is_put_there(gateway, browser, search):
    browser.log_in()

    answer = gateway.client.get(f"/web/mycluster{search}")

    # Relative, so that it is right whatever path a proxy shows the gateway below.
    assert (answer.status_code, answer.headers["Location"]) == (303, f"mycluster/{search}")


@pytest.mark.parametrize("page", PAGES)
def test_every_answer_says_what_browsers_may_do_with_it(gateway, browser, pulled, page):
    pulled(gateway)
    browser.log_in()

    headers = browser.get(page).headers

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == policy.pop("base-uri") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_holds_script_or_style_of_its_own(gateway, browser, pulled, elements, page):
    pulled(gateway, labels={"a": "b"})
    browser.log_in()

    found = elements(browser.get(page)).found

    assert all(attributes["src"] for tag, attributes in found if tag == "script")
    assert not [tag for tag, _ in found if tag == "style"]
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    assert not [tag for tag, attributes in found if "style" in attributes]


def test_nothing_is_loaded_from_anywhere_else(gateway, browser, pulled, elements):
    pulled(gateway)
    browser.log_in()

    for page in PAGES:
        for tag, attributes in elements(browser.get(page)).found:
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#", "?")), tag


@pytest.mark.parametrize("name", ["page.css", "page.js", "favicon.svg"])
def test_its_files_are_there_and_may_be_kept(gateway, name):
    answer = gateway.client.get(f"/web/-/{name}")

    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["pages.py", "..%2fpages.py", "../pages.py", "%2e%2e/pages.py"])
def test_nothing_else_is(gateway, name):
    assert gateway.client.get(f"/web/-/{name}").status_code == 404


def test_hostile_labels_and_variables_are_only_text(gateway, browser, pulled, elements):
    pulled(
        gateway,
        env=(f"A={HOSTILE}", HOSTILE),
        entry=("sh", HOSTILE),
        command=(HOSTILE,),
        workdir=HOSTILE,
        labels={HOSTILE: HOSTILE, "url": "javascript:alert(1)"},
    )
    browser.log_in()

    page = elements(browser.get("image/docker/app:1"))

    assert page.text.count("<script>alert(1)</script>") >= 6
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not [link for link in page.all("a") if "javascript" in link["href"]]


def test_a_hostile_reason_is_only_text(gateway, browser, elements):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    gateway.work_badly(HOSTILE)
    browser.log_in()

    page = elements(browser.get("queue"))

    assert HOSTILE in page.text  # the reason begins with no letter
    assert not page.all("img")


@pytest.mark.parametrize("page", ["?q={}", "?owner={}", "?type={}", "?sort={}", "?page={}", "{}"])
def test_a_hostile_address_is_only_text(gateway, browser, pulled, elements, page):
    pulled(gateway)
    browser.log_in()

    found = elements(browser.get(page.format(HOSTILE)))

    assert len(found.all("script")) == 1
    assert not found.all("img")


def test_hostile_names_of_an_old_gateway_are_only_text(gateway, browser, pulled, elements):
    record = pulled(gateway)
    with gateway.catalog._file.writing() as connection:
        connection.execute("UPDATE tags SET tag = ?", (HOSTILE,))
    browser.log_in()

    page = elements(browser.get())

    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert record.image_id


def test_the_page_of_an_image_shows_what_to_type(gateway, browser, pulled, elements):
    record = pulled(gateway, "lib/app:1")
    browser.log_in()

    copied = {
        button["data-copy"]
        for button in elements(browser.get("image/docker/lib/app:1")).all("button")
        if "data-copy" in button
    }

    assert copied == {
        "#SBATCH --image=docker:lib/app:1",
        "sbatch --image=docker:lib/app:1 job.sh",
        "shifter --image=docker:lib/app:1",
        "shifter --image=docker:lib/app:1 --entrypoint",
        f"shifter --image=id:{record.image_id}",
    }


def test_sizes_are_in_the_units_of_the_commands(gateway, browser, pulled):
    pulled(gateway, size=1_500_000_000)
    browser.log_in()

    for page in ("", "image/docker/app:1"):
        assert bytes_text(1_500_000_000) == "1.5 GB"
        assert "1.5 GB" in browser.get(page).text


def test_times_are_utc_and_say_so(gateway, browser, pulled, elements):
    pulled(gateway, expiration=1_798_826_400.0)
    browser.log_in()

    for page in ("", "image/docker/app:1"):
        answer = browser.get(page)
        assert "Times are UTC." in answer.text
        assert "1 Jan 2027, 18:00 UTC" in answer.text
        times = [time["datetime"] for time in elements(answer).all("time")]
        assert "2027-01-01T18:00:00Z" in times


def test_an_image_is_found_by_its_id_too(gateway, browser, pulled):
    record = pulled(gateway)
    browser.log_in()

    assert browser.get(f"image/id/{record.image_id}").status_code == 200


def test_looking_keeps_no_image_from_expiring(gateway, browser, pulled):
    before = pulled(gateway, expiration=gateway.clock.now + 60)
    browser.log_in()

    browser.get("image/docker/app:1")

    assert gateway.catalog.find_ready("mycluster", "docker", "app:1") == before


# Who sees what


def test_private_images_of_others_are_not_there(gateway, browser_of, pulled):
    pulled(gateway, "secret:1", body=FOR_BOB)
    carol = browser_of(gateway)
    carol.log_in("carol:1003:1003")

    assert "secret" not in carol.get().text
    assert carol.get("image/docker/secret:1").status_code == 404
    assert carol.get("image/docker/none:1").text.replace("none", "secret") == (
        carol.get("image/docker/secret:1").text
    )


@pytest.mark.parametrize("by", ["alice:1001:1001", "bob:1002:1002", "root:0:0"])
def test_private_images_are_there_for_whom_they_are_for(gateway, browser, pulled, by):
    pulled(gateway, "secret:1", body=FOR_BOB)
    browser.log_in(by)

    assert "secret" in browser.get().text
    assert browser.get("image/docker/secret:1").status_code == 200


@pytest.mark.parametrize(("by", "shown"), [("alice:1001:1001", True), ("bob:1002:1002", False)])
def test_access_lists_are_shown_to_who_may_change_them(gateway, browser, pulled, by, shown):
    pulled(gateway, "secret:1", body=json.dumps({"allowed_uids": "1002,4242"}))
    browser.log_in(by)

    assert ("user 4242" in browser.get("image/docker/secret:1").text) is shown


@pytest.mark.parametrize("page", ["", "queue", "image/docker/app:1"])
def test_nobody_we_know_is_asked_to_log_in(gateway, browser, pulled, page):
    pulled(gateway)

    answer = browser.get(page)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/web/mycluster/login")


@pytest.mark.parametrize("page", ["queue/rows", "queue/events"])
def test_scripts_are_told_that_nobody_is_logged_in(browser, page):
    assert browser.get(page).status_code == 401


def test_everybody_sees_public_images_where_the_site_says_so(gateway_with, browser_of, pulled):
    gateway = gateway_with(AllowAnonymous=True)
    pulled(gateway, "open:1", "a")
    pulled(gateway, "secret:1", "b", body=FOR_BOB)
    anybody = browser_of(gateway)

    assert "open" in anybody.get().text
    assert "secret" not in anybody.get().text
    assert anybody.get("image/docker/open:1").status_code == 200
    assert anybody.get("image/docker/secret:1").status_code == 404


def test_people_are_not_shown_to_everybody(gateway_with, browser_of, pulled):
    gateway = gateway_with(AllowAnonymous=True)
    pulled(gateway, "open:1", by="daemon:1:1")
    gateway.request("POST", "/api/pull/mycluster/docker/next:1/", by="daemon:1:1")
    anybody = browser_of(gateway)

    assert "next" in anybody.get("queue").text
    for page in ("", "queue", "image/docker/open:1", "?owner=daemon", "?owner=1"):
        text = anybody.get(page).text
        assert "daemon" not in text.replace("owner=daemon", "")


def test_jobs_for_others_are_shown_to_them_alone(gateway_with, browser_of):
    gateway = gateway_with(AllowAnonymous=True)
    gateway.request("POST", "/api/pull/mycluster/docker/secret:1/", data=FOR_BOB)
    anybody, bob = browser_of(gateway), browser_of(gateway)
    bob.log_in("bob:1002:1002")

    assert "secret" not in anybody.get("queue").text
    assert "secret" in bob.get("queue").text


def test_failures_are_shown_with_their_reasons(gateway, browser):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    gateway.work_badly("the registry has no image app:1")
    browser.log_in()

    assert "The registry has no image app:1." in browser.get("queue").text


def test_what_an_import_says_is_for_its_importer(gateway_with, browser_of):
    gateway = gateway_with(ImportUsers="all", AllowAnonymous=True)
    body = json.dumps({"filepath": "/home/alice/x.squashfs", "format": "squashfs"})
    gateway.request("POST", "/api/doimport/mycluster/custom/mine:1/", data=body)
    gateway.work_badly("cannot read /home/alice/x.squashfs")
    anybody, bob = browser_of(gateway), browser_of(gateway)
    bob.log_in("bob:1002:1002")

    for browser in (anybody, bob):
        assert "mine:" in browser.get("queue").text
        assert "/home/alice" not in browser.get("queue").text


@pytest.mark.parametrize(
    ("by", "users", "private"),
    [("root:0:0", True, True), ("alice:1001:1001", False, False), (None, False, False)],
)
def test_usage_names_users_and_private_images_to_administrators(
    gateway_with, browser_of, pulled, by, users, private
):
    gateway = gateway_with(AllowAnonymous=True, Metrics=True)
    pulled(gateway, "open:1", "a")
    pulled(gateway, "secret:1", "b", body=FOR_BOB)
    for tag in ("open:1", "secret:1"):
        gateway.request("GET", f"/api/lookup/mycluster/docker/{tag}/", by="bob:1002:1002")
    browser = browser_of(gateway)
    if by is not None:
        browser.log_in(by)

    text = browser.get("usage").text

    assert "open:" in text
    assert ("Users who use most" in text, "secret:" in text) == (users, private)


def test_what_has_just_ended_well_is_shown_beside_the_queue(gateway, browser, pulled):
    pulled(gateway, "app:1")
    browser.log_in()

    assert '/web/mycluster/image/docker/app:1"' in browser.get("queue").text


def test_what_has_just_ended_for_others_is_not(gateway, browser, pulled):
    pulled(gateway, "secret:1", body=FOR_BOB)
    browser.log_in("carol:1003:1003")

    assert "secret" not in browser.get("queue").text


# Coming and going


def test_a_link_asks_first_and_lets_in_once(gateway, browser_of):
    first, second = browser_of(gateway), browser_of(gateway)
    link = first.link("daemon:1:1")
    asked = second.client.get(link)
    assert "Log in to mycluster as daemon?" in asked.text

    entered = first.press(first.client.get(link))
    assert (entered.status_code, entered.headers["Location"]) == (303, "/web/mycluster/")
    assert first.get().status_code == 200

    for late in (second.press(asked), second.client.get(link)):
        assert late.status_code == 403
        assert "This link has been used before" in late.text
        assert "shifter_session" not in late.headers.get("Set-Cookie", "")


@pytest.mark.parametrize("headers", [{}, {"Sec-Purpose": "prefetch"}, {"User-Agent": "a bot"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_only_looks_at_a_link_does_not_use_it_up(gateway, browser_of, method, headers):
    preview, browser = browser_of(gateway), browser_of(gateway)
    link = browser.link()

    for _ in range(3):
        answer = preview.client.open(link, method=method, headers=headers)
        assert answer.status_code == 200
        assert "shifter_session" not in answer.headers["Set-Cookie"]

    assert preview.get().status_code == 303  # to what tells how to log in
    assert browser.press(browser.client.get(link)).status_code == 303


def test_the_page_of_a_link_runs_nothing_and_is_kept_by_nobody(browser, elements):
    answer = browser.client.get(browser.link())

    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    (script,) = elements(answer).all("script")
    assert script["src"].startswith("/web/-/page.js")
    (form,) = elements(answer).all("form")
    assert form == {"class": "actions", "method": "post", "action": "/web/mycluster/enter"}


def test_no_other_page_can_have_anybody_come_in(gateway, browser_of):
    mallory, alice = browser_of(gateway), browser_of(gateway)
    own = mallory.client.get(mallory.link("mallory:1009:1009"))

    assert alice.press(own).status_code == 403  # it knows mallory's word, but not alice's
    alice.client.get(alice.link())
    for word in ({}, {"word": ""}, {"word": "é"}):
        assert alice.press(own, **word).status_code == 403
    assert alice.get().status_code == 303
    assert mallory.press(own).status_code == 303  # nobody has used it up


def test_two_links_may_be_open_at_a_time(browser):
    pages = [browser.client.get(browser.link()) for _ in range(2)]

    assert [browser.press(page).status_code for page in pages] == [303, 303]


@pytest.mark.parametrize("ticket", ["", "?ticket=", "?ticket=x", "?ticket=" + "x" * 9000])
def test_a_link_that_nobody_has_made_asks_nothing(browser, ticket):
    answer = browser.get(f"enter{ticket}")

    assert answer.status_code == 403
    assert "This link is not valid, or no longer" in answer.text


def test_what_the_page_of_a_link_gives_is_for_it_alone(browser):
    cookie = browser.client.get(browser.link()).headers["Set-Cookie"]

    assert {"HttpOnly", "SameSite=Strict", "Path=/web/mycluster/enter", "Max-Age=120"} <= set(
        cookie.split("; ")
    )


def test_the_cookie_is_for_this_system_and_no_script(browser):
    cookie = browser.log_in().headers["Set-Cookie"]

    assert {"HttpOnly", "SameSite=Strict", "Path=/web/mycluster/", "Max-Age=28800"} <= set(
        cookie.split("; ")
    )
    assert "Secure" not in cookie


def test_with_tls_the_cookie_is_for_tls_alone(gateway_with, browser_of):
    gateway = gateway_with(WebUrl="https://images.example.org/shifter/")

    browser = browser_of(gateway)
    page = browser.client.get(browser.link())
    word = re.search("shifter_entering=([^;]+)", page.headers["Set-Cookie"])[1]
    # The test's browser keeps cookies as one does that comes by another path, the proxy's.
    entered = gateway.app.test_client(use_cookies=False).post(
        "/web/mycluster/enter",
        data={"ticket": page.request.args["ticket"], "word": word},
        headers={"Cookie": f"shifter_entering={word}"},
    )

    for answer, path in ((page, "enter"), (entered, "")):
        cookie = set(answer.headers["Set-Cookie"].split("; "))
        assert {"Secure", f"Path=/shifter/web/mycluster/{path}"} <= cookie


def test_links_are_as_the_site_says_that_browsers_come(gateway_with, elements):
    gateway = gateway_with(WebUrl="https://images.example.org/shifter/")

    url = gateway.request("POST", "/api/web/mycluster/").json["url"]
    page = elements(gateway.client.get("/web/mycluster/login"))

    assert url.startswith("https://images.example.org/shifter/web/mycluster/enter?ticket=")
    assert all(link["href"].startswith(("/shifter/web/", "#")) for link in page.all("a"))


def test_who_is_logged_in_is_shown(gateway, browser):
    browser.log_in("daemon:1:1")

    assert "daemon" in browser.get().text


def leaving_word(browser):
    return re.search(r'name="word" value="(\w+)"', browser.get().text)[1]


def test_leaving_ends_the_visit(browser):
    browser.log_in()

    browser.post("leave", word=leaving_word(browser))

    assert browser.get().status_code == 303


def test_leaving_ends_what_others_have_copied_too(gateway, browser, browser_of):
    cookie = browser.log_in().headers["Set-Cookie"].partition(";")[0]
    thief = gateway.app.test_client(use_cookies=False)
    headers = {"Cookie": cookie}
    assert thief.get("/web/mycluster/", headers=headers).status_code == 200
    elsewhere = browser_of(gateway)
    elsewhere.log_in()

    browser.post("leave", word=leaving_word(browser))

    assert thief.get("/web/mycluster/", headers=headers).status_code == 303
    assert thief.get("/web/mycluster/queue/rows", headers=headers).status_code == 401
    assert elsewhere.get().status_code == 200  # a login of the same user's, and another


def test_leaving_ends_a_live_queue_too(gateway, browser, monkeypatch):
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.01)
    browser.log_in()
    with long_answers.allowed():
        answer = browser.get("queue/events")
        events = iter(answer.response)
        assert b"rows" in b"".join(itertools.islice(events, 2))

        browser.post("leave", word=leaving_word(browser))
        gateway.request("POST", "/api/pull/mycluster/docker/next:1/")

        assert b"next" not in b"".join(events)


def test_who_cannot_be_let_out_is_told_so(gateway, browser, monkeypatch):
    def refuse(*arguments):
        raise CatalogError("MongoDB does not answer")

    browser.log_in()
    word = leaving_word(browser)
    monkeypatch.setattr(gateway.catalog, "elect", refuse)

    answer = browser.post("leave", word=word)

    assert answer.status_code == 503
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("form", [{}, {"word": "x"}, {"word": "é"}])
def test_no_other_page_can_have_anybody_leave(browser, form):
    browser.log_in()

    assert browser.post("leave", **form).status_code == 403
    assert browser.get().status_code == 200


@pytest.mark.parametrize("cookie", ["x", "gAAAAABlWXl5", "\\x00", "a" * 4000])
def test_a_forged_cookie_is_no_login(browser, cookie):
    headers = {"Cookie": f"shifter_session={cookie}"}

    assert browser.get(headers=headers).status_code == 303


def test_a_site_may_want_no_page(gateway_with):
    gateway = gateway_with(WebPage=False)

    assert gateway.client.get("/web/").status_code == 404
    assert gateway.client.get("/", headers={"Accept": "text/html"}).status_code == 200
    answer = gateway.request("POST", "/api/web/mycluster/")
    assert (answer.status_code, "WebPage is false" in answer.json["error"]) == (404, True)


def test_an_unknown_system_is_a_page_that_says_so(gateway):
    answer = gateway.client.get("/web/nosuch/")

    assert answer.status_code == 404
    assert "does not serve a system &#39;nosuch&#39;" in answer.text


def test_a_catalog_that_is_away_is_a_page_that_says_so(gateway, browser, monkeypatch):
    def refuse(system):
        raise CatalogError("MongoDB does not answer")

    browser.log_in()
    monkeypatch.setattr(gateway.catalog, "list_ready", refuse)

    answer = browser.get()

    assert answer.status_code == 503
    assert "MongoDB does not answer" in answer.text


def test_a_catalog_that_is_away_is_asked_once(gateway, browser, monkeypatch):
    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        raise CatalogError("MongoDB does not answer")

    browser.log_in()
    monkeypatch.setattr(gateway.catalog, "is_taken", refuse)

    answer = browser.get()

    assert (answer.status_code, len(asked)) == (503, 1)
    assert 'href="/web/"' in answer.text


def test_a_defect_is_a_page_that_shows_nothing_of_it(gateway, browser, monkeypatch):
    def break_down(system):
        raise RuntimeError("a secret")

    browser.log_in()
    monkeypatch.setattr(gateway.catalog, "list_ready", break_down)

    answer = browser.get()

    assert answer.status_code == 500
    assert "a secret" not in answer.text


def test_nothing_can_be_changed_but_who_is_logged_in(gateway):
    changing = {
        rule.rule
        for rule in gateway.app.url_map.iter_rules()
        if rule.rule.startswith("/web/") and rule.methods - {"GET", "HEAD"}
    }

    assert changing == {"/web/<system>/enter", "/web/<system>/leave"}
