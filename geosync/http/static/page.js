// Makes the status page live. Without this script it is the same page, as of when it was loaded.
"use strict";

const REFRESH_MS = 10000; // for ages, which no event tells
const PAUSE_MS = 900;
let isDue = false;
let isBusy = false;

// Puts what the server renders now in place of what is shown, part by part. A part in which
// somebody works (the keyboard is in it) stays until they leave it.
async function refresh() {
  if (isBusy) {
    isDue = true;
    return;
  }
  isBusy = true;
  isDue = false;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of fresh.querySelectorAll("[data-live]")) replace(part);
    document.title = fresh.title;
    say("It is live.");
  } catch {
    say("The daemon does not answer; this is how it was.");
  }
  setTimeout(() => {
    isBusy = false;
    if (isDue) refresh();
  }, PAUSE_MS);
}

function replace(part) {
  const shown = document.getElementById(part.id);
  if (!shown || shown.contains(document.activeElement)) return;
  for (const open of shown.querySelectorAll("details[open]")) {
    part.querySelector("#" + CSS.escape(open.id))?.setAttribute("open", "");
  }
  for (const kept of shown.querySelectorAll(".shown:not(:empty)")) {
    part.querySelector("#" + CSS.escape(kept.id))?.replaceChildren(...kept.cloneNode(true).childNodes);
  }
  if (shown.outerHTML !== part.outerHTML) {
    shown.replaceWith(document.importNode(part, true));
    rememberToken();
  }
}

// Shows how versions differ in their place, not on a page of its own.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button.compare");
  if (!button || !button.form.reportValidity()) return;
  event.preventDefault();
  const place = button.closest("details").querySelector(".shown");
  const fields = new URLSearchParams(new FormData(button.form));
  fields.set("act", button.value);
  sessionStorage.setItem("token", fields.get("token"));
  place.textContent = "Comparing …";
  try {
    const answer = await fetch("/act", { method: "POST", body: fields });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById("difference");
    if (found) found.removeAttribute("id");
    place.replaceChildren(document.importNode(found ?? page.querySelector("main p"), true));
  } catch {
    place.textContent = "The daemon does not answer.";
  }
});

function say(text) {
  const place = document.getElementById("live");
  if (place) place.textContent = text;
}

// The token stays in this tab, so that it is typed once.
function rememberToken() {
  const field = document.getElementById("token");
  if (!field) return;
  field.value ||= sessionStorage.getItem("token") ?? "";
  field.form.addEventListener("submit", () => sessionStorage.setItem("token", field.value));
}

rememberToken();
const events = new EventSource("/v1/events");
for (const name of ["status", "conflicts", "problems"]) events.addEventListener(name, refresh);
events.addEventListener("error", () => say("The daemon does not answer; this is how it was."));
setInterval(refresh, REFRESH_MS);
document.addEventListener("focusout", () => setTimeout(refresh, 0));
