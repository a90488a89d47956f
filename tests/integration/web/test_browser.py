# SPDX-License-Identifier: BSD-3-Clause
"""The page in a real browser: what people see, type and hear, and that nothing else happens."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone

import pytest

from tests.integration.conftest import SYSTEM, layer, wait_until
from tests.integration.web.conftest import AXE, enter

pytestmark = [pytest.mark.registry, pytest.mark.munge, pytest.mark.browser]

PAGES = ["", "image/docker/web/tool0:1", "queue", "usage", "login", "..", "image/docker/no:1"]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
OF_COLOURS = ("color-contrast", "link-in-text-block")  # axe's rules that a theme can break
NOT_FOUND = "error: Failed to load resource: the server responded with a status of 404 (NOT FOUND)"


def violations(page, *rules):
    """What axe finds wrong with the page; it comes by the debugger, which no policy binds."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text())
    options = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = page.evaluate("options => axe.run(options)", options)
    return [
        f"{each['id']}: {node['html']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("logged_in", [True, False])
@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_everybody_can_read_every_page(visitor, window, logged_in):
    somebody = visitor(logged_in=logged_in, viewport=window, color_scheme="light")

    for path in PAGES:
        page = somebody.look(path)
        assert violations(page) == [], path
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= window["width"], f"{path} is wider than the window"
        if logged_in:  # all that there may be to see; in the dark, only colours are others
            page.emulate_media(color_scheme="dark")
            assert violations(page, *OF_COLOURS) == [], f"{path} in the dark"
            page.emulate_media(color_scheme="light")

    assert set(somebody.complaints) == {NOT_FOUND}  # of the last page
    somebody.complaints.clear()


def test_what_changes_in_the_dark_is_seen_by_the_check_of_colours(visitor):
    page = visitor(viewport=DESK).look("login")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert violations(page, *OF_COLOURS) == []

    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.querySelector('h1').style.color = 'rgb(40, 40, 40)'")

    assert page.evaluate(ground) != light
    (found,) = violations(page, *OF_COLOURS)
    assert found.startswith("color-contrast: <h1")


def test_a_link_lets_in_one_browser_once(visitor, site, link):
    first, second, preview = visitor(), visitor(), visitor(java_script_enabled=False)
    preview.page.goto(link)  # as a chat program does, of what is written there
    second.page.goto(link)
    assert f"Log in to {SYSTEM} as root?" in second.page.inner_text("h1")
    assert violations(second.page) == []

    enter(first.page, link)
    assert "root" in first.page.inner_text(".who")

    second.page.click("main button")
    assert "This link has been used before" in second.page.inner_text("main")
    assert "root" not in second.look().inner_text(".who")
    second.complaints.clear()  # the browser says that it was refused


def test_who_comes_by_the_page_of_another_site_is_let_in_too(visitor, site, link):
    somebody = visitor()
    somebody.context.route("http://elsewhere.example/", lambda route: route.fulfill(
        content_type="text/html", body=f'<a href="{link}">the link in a terminal on the web</a>'
    ))  # fmt: skip

    somebody.page.goto("http://elsewhere.example/")
    somebody.page.click("a")
    somebody.page.click("main button")
    somebody.page.wait_for_url(f"{site.url}/web/{SYSTEM}/")

    assert "root" in somebody.page.inner_text(".who")


def test_leaving_ends_it(visitor):
    somebody = visitor(logged_in=True)
    cookies = somebody.context.cookies()

    somebody.page.click("text=Log out")

    assert "Log in" in somebody.page.inner_text(".who")
    assert "secret" not in somebody.look().inner_text("main")
    somebody.context.add_cookies(cookies)  # as who has copied them
    assert "secret" not in somebody.look().inner_text("main")


def test_the_list_follows_the_typing(visitor):
    page = visitor(logged_in=True).look()
    assert page.locator("tbody tr").count() == 4

    page.fill("#q", "tool1")
    page.locator("tbody tr").nth(1).wait_for(state="detached")

    assert page.url.endswith("?q=tool1")
    assert "1 image" in page.inner_text(".count")
    page.select_option("#access", "private")
    page.wait_for_selector("text=No image is like that")
    assert page.evaluate("document.activeElement.id") == "q"


def test_private_images_are_listed_for_who_may_use_them(visitor):
    assert "secret" in visitor(logged_in=True).look().inner_text("main")
    assert "secret" not in visitor().look().inner_text("main")


def test_what_is_to_be_typed_can_be_copied(visitor, site):
    somebody = visitor()
    somebody.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    page = somebody.look("image/docker/web/tool0:1")

    page.click(".copy >> nth=0")
    page.wait_for_selector("text=Copied")

    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "#SBATCH --image=docker:web/tool0:1"


def test_what_is_to_be_typed_can_be_copied_without_tls_too(visitor):
    somebody = visitor()
    somebody.page.add_init_script("delete Navigator.prototype.clipboard")
    page = somebody.look("image/docker/web/tool0:1")

    page.click(".copy >> nth=1")
    page.wait_for_selector("text=Copied")

    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.focus("body > textarea")
    page.keyboard.press("Control+V")
    assert page.input_value("body > textarea") == "sbatch --image=docker:web/tool0:1 job.sh"


def test_everything_can_be_reached_by_keyboard(visitor):
    page = visitor().look()

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "q"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_times_are_those_of_the_viewers_clock(visitor, site):
    page = visitor(timezone_id="Asia/Kolkata").look("image/docker/web/tool0:1")
    expires = page.locator("aside time").last

    instant = datetime.fromisoformat(expires.get_attribute("datetime"))
    there = instant.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert expires.inner_text() == f"{there:%-d %b %Y, %H:%M} GMT+5:30"
    assert expires.get_attribute("title") == f"{instant:%-d %b %Y, %H:%M} UTC"
    assert "Times are those of Asia/" in page.inner_text("footer")

    page.click("nav >> text=Queue")
    page.wait_for_selector(".live.on")
    page.wait_for_selector("#failed ~ ol time[title*='GMT+5:30, '][title$=UTC]")


def test_the_queue_is_live_while_a_pull_runs(visitor, site, registry, held_registry):
    registry.push("web/large:1", [layer(("data", os.urandom(4 << 20)))])
    page = visitor(viewport=PHONE).look("queue")
    page.wait_for_selector(".live.on")
    assert page.inner_text(".live") == "live"
    assert page.locator("#running ~ ol .job").count() == 0
    loads = []
    page.on("load", lambda: loads.append(page.url))

    site.pull("docker:held/web/large:1")
    job = page.locator("#running ~ ol .job", has_text="web/large:1")
    job.locator("[aria-current=step]", has_text="Pulling").wait_for()
    progress = job.locator("progress").first
    progress.wait_for()
    wait_until(lambda: progress.evaluate("bar => bar.value") > 1_000_000, what="the progress")
    assert progress.evaluate("bar => bar.value < bar.max")
    job.locator("summary", has_text="0 of 1 layers").click()
    assert job.locator("details progress").is_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

    held_registry.go_on.set()
    assert site.wait("docker:held/web/large:1")["status"] == "READY"
    job.wait_for(state="detached")
    page.locator("#done ~ ul a", has_text="web/large:1").wait_for()
    assert loads == []


def test_a_failure_shows_up_with_its_reason(visitor, site):
    page = visitor().look("queue")
    page.wait_for_selector(".live.on")

    record = site.wait("docker:web/nothing:2")
    reason = page.locator(".failure", has_text="web/nothing:2").locator(".reason")

    assert reason.inner_text().lower().startswith(record["status_message"].lower())


def test_the_queue_is_looked_at_again_where_nothing_is_live(visitor, site):
    somebody = visitor()
    somebody.context.route("**/queue/events", lambda route: route.fulfill(status=204))
    page = somebody.look("queue")

    page.wait_for_selector("text=live, every few seconds")
    site.wait("docker:web/nothing:3")

    page.locator(".failure", has_text="web/nothing:3").wait_for()


def test_a_page_that_nobody_looks_at_holds_no_connection(visitor, site):
    page = visitor().look("queue")
    page.wait_for_selector(".live.on")
    failure = page.locator(".failure", has_text="web/nothing:4")

    with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        turn(page, hidden=True)
    site.wait("docker:web/nothing:4")
    assert failure.count() == 0

    turn(page, hidden=False)
    failure.wait_for()


def turn(page, *, hidden):
    """Have the page think that its tab is, or is not, in the background."""
    value = "true" if hidden else "false"
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {value}, writable: true}})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_everything_can_be_read_without_scripts(visitor):
    somebody = visitor(logged_in=True, java_script_enabled=False)
    page = somebody.look()

    page.fill("#q", "tool2")
    page.press("#q", "Enter")
    page.click("text=web/tool2:1")
    assert "shifter --image=docker:web/tool2:1" in page.inner_text("main")
    assert "<script>alert(1)</script>" in page.inner_text("main")
    assert not page.is_visible(".copy >> nth=0")
    page.click("text=Usage")
    page.click("summary")
    assert re.search(r"\d{4}-\d\d-\d\d", page.inner_text("details"))
    page.click("nav >> text=Queue")
    assert "Failed lately" in page.inner_text("main")
    assert "every ten seconds" in page.inner_text(".live")
    assert "Times are UTC." in page.inner_text("footer")


def test_what_others_wrote_runs_nothing(visitor):
    somebody = visitor()
    dialogs = []
    somebody.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))

    page = somebody.look("image/docker/web/tool0:1")
    page.wait_for_load_state("networkidle")

    assert dialogs == []
    assert page.locator("a[href^=javascript]").count() == 0
    # The policy stops what escaping would have let through.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(2)>')")
    page.wait_for_timeout(200)
    assert dialogs == []
    assert any("Content Security Policy" in each for each in somebody.complaints)
    somebody.complaints.clear()


def test_the_root_leads_a_browser_to_the_page(visitor, site):
    page = visitor().page

    page.goto(site.url)
    assert page.url == f"{site.url}/web/"
    page.click(f"main >> text={SYSTEM}")

    assert page.url == f"{site.url}/web/{SYSTEM}/"


def test_a_login_is_for_one_system(visitor, site):
    somebody = visitor(logged_in=True)

    somebody.page.goto(f"{site.url}/web/other/")

    assert "Log in" in somebody.page.inner_text(".who")
    assert "root" in somebody.look().inner_text(".who")


def test_usage_is_drawn_and_told(visitor):
    page = visitor(logged_in=True).look("usage")

    pulls = page.locator(".chart", has_text="Pulls")
    assert pulls.locator("rect:not(.day)").count() >= 2  # pulls, and a failure
    assert pulls.get_by_role("img").get_attribute("aria-label").startswith("Pulls: ")
    assert "docker:web/tool1:1" in page.inner_text("#top ~ table")
    assert "root" in page.inner_text("#users ~ table")
