// Which view is shown, and the states of the runs, which the server pushes.

import { byId, element } from "./dom.js";
import { compare } from "./compare.js";
import { home, title } from "./home.js";
import { newStudy } from "./study.js";
import { run } from "./run.js";

const VIEWS = { "": home, new: newStudy, run, compare };
let runs = null; // as /api/events sends them
let current = { update: () => {} };

function open() {
  const [name, argument = ""] = location.hash.replace(/^#\//, "").split("/");
  const view = Object.hasOwn(VIEWS, name) ? name : "";
  const root = element("div"); // of this view alone: a late reply to an earlier one changes nothing here
  root.append(byId(view || "home").content.cloneNode(true));
  byId("view").replaceChildren(root);
  byId("status").textContent = "";
  const heading = root.querySelector("h1");
  heading.tabIndex = -1;
  current = VIEWS[view](root, decodeURIComponent(argument));
  if (runs) current.update(runs);
  document.title = `${heading.textContent} – Tumorboard`;
  heading.focus();
}

function announce(before, after) {
  const known = new Map((before || []).map((entry) => [entry.id, entry.status]));
  for (const entry of after)
    if (before && known.get(entry.id) !== entry.status) byId("status").replaceChildren(element("bdi", "", title(entry)), `: ${entry.status}`);
}

// A page in the background holds no connection: a browser has six for all pages of a server.
let events = null;
function listen() {
  events?.close();
  if (document.hidden) return;
  events = new EventSource("api/events");
  events.addEventListener("message", (event) => {
    const before = runs;
    runs = JSON.parse(event.data);
    announce(before, runs);
    current.update(runs);
  });
  events.addEventListener("open", () => { byId("lost").hidden = true; });
  events.addEventListener("error", () => { byId("lost").hidden = false; });
}

document.addEventListener("visibilitychange", listen);
window.addEventListener("hashchange", open);
open();
listen();
