// SPDX-License-Identifier: BSD-3-Clause
// What a page can do beyond being read: lists that follow the typing, a queue that lives, copies,
// and the viewer's own clock.

const POLL_MS = 5000;
const PATIENCE_MS = 5000;
const TYPING_MS = 200;

/** The element that a piece of HTML of ours begins with; scripts in it would not run. */
function parsed(html, selector) {
  return new DOMParser().parseFromString(html, "text/html").querySelector(selector);
}

// Times

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZoneName: "short",
});

/** Show times as the viewer's clock does; what the gateway wrote, in UTC, is in their titles. */
function localTimes(root) {
  if (ZONE === undefined || ZONE === "UTC") {
    return;
  }
  for (const time of root.querySelectorAll("time")) {
    const local = CLOCK.format(new Date(time.dateTime));
    if (time.title === "") {
      time.title = time.textContent;
      time.textContent = local;
    } else {
      time.title = `${local}, ${time.title}`;
    }
  }
  for (const sentence of root.querySelectorAll("[data-zone]")) {
    sentence.textContent = `Times are those of ${ZONE}.`;
  }
}

// Copies

function copyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const label = button.querySelector("span");
  const done = await written(button.dataset.copy);
  label.textContent = done ? "Copied" : "Press Ctrl+C";
  if (!done) {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
  }
  setTimeout(() => {
    label.textContent = "Copy";
  }, 2000);
}

/** Whether the text is in the clipboard now; browsers give that to secure pages alone. */
async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writtenAsOfOld(text);
  }
}

function writtenAsOfOld(text) {
  const place = document.createElement("textarea");
  place.value = text;
  place.className = "hidden";
  const before = document.activeElement;
  document.body.append(place);
  place.select();
  const done = document.execCommand("copy");
  place.remove();
  before?.focus();
  return done;
}

// Lists

function followTyping(form) {
  const selector = form.dataset.instant;
  let asked = 0;
  let timer;

  async function show() {
    const number = ++asked;
    const words = new URLSearchParams(
      [...new FormData(form)].filter(([, value]) => String(value).trim() !== ""),
    );
    if (words.get("sort") === "newest") {
      words.delete("sort");
    }
    const address = `${form.action}${words.size ? "?" : ""}${words}`;
    let answer;
    try {
      answer = await fetch(address, { headers: { Accept: "text/html" } });
    } catch {
      return; // the button still works, once the network does
    }
    const html = await answer.text();
    if (number !== asked) {
      return;
    }
    const fresh = answer.ok && !answer.redirected ? parsed(html, selector) : null;
    if (fresh === null) {
      location.assign(address);
      return;
    }
    localTimes(fresh);
    document.querySelector(selector).replaceChildren(...fresh.childNodes);
    history.replaceState(null, "", address);
  }

  form.querySelector(".go").hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(show, event.target.type === "search" ? TYPING_MS : 0);
  });
}

// The queue

/** Put what has changed into the page, and leave alone what has not: it may have the focus. */
function renew(place, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  localTimes(fresh);
  const old = [...place.children];
  const now = [...fresh.children];
  if (old.length !== now.length) {
    place.replaceChildren(...now);
    return;
  }
  old.forEach((section, index) => renewSection(section, now[index]));
}

function renewSection(old, fresh) {
  const [oldJobs, freshJobs] = [old, fresh].map((section) => section.querySelector(".jobs"));
  if (oldJobs === null || freshJobs === null) {
    if (!old.isEqualNode(fresh)) {
      old.replaceWith(fresh);
    }
    return;
  }
  old.querySelector("h2").replaceWith(fresh.querySelector("h2"));
  const known = new Map([...oldJobs.children].map((job) => [job.id, job]));
  const jobs = [...freshJobs.children].map((job) => {
    const before = known.get(job.id);
    return before === undefined ? job : renewJob(before, job);
  });
  if (jobs.length !== oldJobs.children.length || jobs.some((job, i) => job !== oldJobs.children[i])) {
    oldJobs.replaceChildren(...jobs);
  }
}

function renewJob(before, job) {
  const isOpen = before.querySelector("details")?.open ?? false;
  const details = job.querySelector("details");
  if (details !== null) {
    details.open = isOpen;
  }
  if (before.isEqualNode(job)) {
    return before;
  }
  // Bars that stay can move; new ones would begin at their value.
  const bars = [...before.querySelectorAll("progress")];
  const values = [...job.querySelectorAll("progress")];
  if (bars.length === values.length) {
    values.forEach((bar, index) => {
      bars[index].max = bar.max;
      bars[index].value = bar.value;
      bars[index].textContent = bar.textContent;
      bar.replaceWith(bars[index]);
    });
  }
  before.className = job.className;
  before.replaceChildren(...job.childNodes);
  return before;
}

function live(place) {
  const light = document.getElementById("live");
  let look = listen;
  let events = null;
  let timer;

  function say(isLive, text) {
    clearTimeout(timer);
    light.classList.toggle("on", isLive);
    if (light.textContent !== text) {
      light.textContent = text;
    }
  }

  function listen() {
    events = new EventSource(place.dataset.events);
    events.addEventListener("rows", (event) => {
      renew(place, event.data);
      say(true, "live");
    });
    events.addEventListener("error", () => {
      clearTimeout(timer);
      if (events.readyState === EventSource.CLOSED) {
        look = poll;
        poll();
      } else {
        // It connects anew by itself, every few minutes as a rule; only what lasts is told.
        timer = setTimeout(say, PATIENCE_MS, false, "connecting");
      }
    });
  }

  async function poll() {
    try {
      const answer = await fetch(place.dataset.rows);
      if (answer.status === 401) {
        location.reload();
        return;
      }
      if (answer.ok) {
        renew(place, await answer.text());
        say(true, "live, every few seconds");
      }
    } catch {
      say(false, "not connected");
    }
    clearTimeout(timer);
    if (!document.hidden) {
      timer = setTimeout(poll, POLL_MS);
    }
  }

  function rest() {
    clearTimeout(timer);
    events?.close();
  }

  // A browser has few connections to one server: those that nobody looks at are not held.
  document.addEventListener("visibilitychange", () => {
    rest();
    if (!document.hidden) {
      look();
    }
  });
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (event) => event.persisted && look());
  look();
}

localTimes(document);
copyButtons(document);
document.querySelectorAll("[data-instant]").forEach(followTyping);
document.querySelectorAll("[data-events]").forEach(live);
