// What the audit found, with its images, and what the user chooses in view of it.

import { element, write } from "./dom.js";

const SEVERITIES = { error: "Error", warning: "Warning", note: "Note" };
const RANK = { test: 2, valid: 1 }; // of duplicates, the one in test stays, so that the results are of as many images
const FIRST = 6; // groups that are shown before “Show more”
const MORE = 24;
const OF_PATIENT = 6; // images of a group that are no duplicates of each other

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export function inShort(choices) {
  const parts = [];
  const excluded = Object.keys(choices.exclude).length;
  if (excluded) parts.push(`${count(excluded, "image")} left out`);
  if (choices.skip_bad) parts.push("files that cannot be read are left out");
  if (choices.mute.length) parts.push(`muted: ${choices.mute.join(", ")}`);
  if (choices.class_map.length) parts.push(`classes: ${choices.class_map.join("; ")}`);
  return parts.length ? `Your choices for these images: ${parts.join("; ")}.` : "";
}

// `list` holds the choices that are shown, `choose` and `opened`, see `findingList`.

function button({ choose }, text, change, key) {
  const node = Object.assign(element("button", "secondary", text), { type: "button" });
  node.dataset.key = key; // by which the focus returns to it when the list is built again
  node.addEventListener("click", () => choose(change));
  return node;
}

// Each change is of the choices at its turn: the ones shown may be older.
const putBack = (ids) => ({ exclude }) => ({ exclude: Object.fromEntries(Object.entries(exclude).filter(([id]) => !ids.includes(id))) });
const leaveOut = (ids, code) => ({ exclude }) => ({ exclude: { ...exclude, ...Object.fromEntries(ids.map((id) => [id, code])) } });
const mute = (list, code) => button(list, `Mute ${code}`, (now) => ({ mute: [...now.mute, code] }), `mute ${code}`);
const unmute = (list, code) => button(list, `Unmute ${code}`, (now) => ({ mute: now.mute.filter((other) => other !== code) }), `mute ${code}`);

function figure(list, file, code, large) {
  const out = Object.hasOwn(list.choices.exclude, file.id);
  const box = element("figure", `${out ? "out" : ""} ${large ? "large" : ""}`.trim());
  const query = new URLSearchParams({ path: file.picture, size: large ? 256 : 128 });
  const image = Object.assign(element("img"), { src: `api/picture?${query}`, alt: `${file.split} ${file.class}`.trim(), loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(element("p", "soft", "No picture can be shown.")));
  const action = out
    ? button(list, "Put back", putBack([file.id]), `${code} ${file.id}`)
    : button(list, "Leave out", leaveOut([file.id], code), `${code} ${file.id}`);
  action.setAttribute("aria-label", `${action.textContent}: ${file.id}`);
  const caption = element("figcaption");
  caption.append(
    element("strong", "", [file.split, file.class].filter(Boolean).join(" · ")),
    element("span", "", out ? `${file.id} (left out)` : file.id),
  );
  box.append(image, caption, action);
  return box;
}

function groupItem(list, files, { code, duplicates }) {
  const item = element("li", files.length > 1 ? "group" : "");
  const shown = duplicates ? files : files.slice(0, OF_PATIENT);
  item.append(...shown.map((file) => (file.picture ? figure(list, file, code, duplicates) : element("span", "", file.id))));
  if (files.length > shown.length) item.append(element("span", "soft", `and ${files.length - shown.length} more`));
  return item;
}

// All but one of each group, of which the others are copies; or everything.
function superfluous(finding, choices) {
  if (!finding.repeats) return finding.groups.flat();
  return finding.groups.flatMap((group) => {
    const left = group.filter((file) => !Object.hasOwn(choices.exclude, file.id));
    const kept = left.reduce((best, file) => ((RANK[file.split] || 0) > (RANK[best?.split] || 0) || !best ? file : best), null);
    return left.filter((file) => file !== kept);
  });
}

function wholeButtons(list, finding) {
  const { choices } = list;
  if (finding.code === "TB101")
    return [button(list, choices.skip_bad ? "Stop at files that cannot be read" : "Leave out files that cannot be read", () => ({ skip_bad: !choices.skip_bad }), "bad")];
  const files = finding.groups.flat().filter((file) => file.picture);
  if (!files.length || finding.left) return [];
  const out = files.filter((file) => Object.hasOwn(choices.exclude, file.id)).map((file) => file.id);
  const together = !finding.duplicates && finding.groups.some((group) => group.length > 1); // such as a patient's
  const now = (together ? [] : superfluous(finding, choices)).map((file) => file.id).filter((id) => !out.includes(id));
  const text = finding.repeats ? `Leave out all but one of each (${count(now.length, "image")})` : `Leave out ${now.length === 1 ? "this image" : `these ${now.length} images`}`;
  return [
    ...(now.length ? [button(list, text, leaveOut(now, finding.code), `all ${finding.code}`)] : []),
    ...(out.length ? [button(list, `Put back ${count(out.length, "image")}`, putBack(out), now.length ? `back ${finding.code}` : `all ${finding.code}`)] : []),
  ];
}

function article(list, finding) {
  const { opened } = list;
  const key = `${finding.code} ${finding.title}`;
  const box = element("details", `finding ${finding.severity}`);
  box.open = opened.has(key) ? opened.get(key) : finding.severity === "error";
  box.addEventListener("toggle", () => opened.set(key, box.open));
  const summary = element("summary");
  summary.append(element("strong", "severity", SEVERITIES[finding.severity] || "Note"), " ", element("span", "", `${finding.code}: ${finding.title}`));
  const groups = element("ul", finding.groups.some((group) => group.length > 1) ? "groups" : "files");
  const more = element("button", "secondary");
  more.type = "button";
  const waiting = [...finding.groups];
  const showSome = (number) => {
    groups.append(...waiting.splice(0, number).map((group) => groupItem(list, group, finding)));
    opened.set(`${key} shown`, finding.groups.length - waiting.length);
    more.hidden = !waiting.length;
    write(more, `Show more (${waiting.length} left)`);
  };
  more.addEventListener("click", () => showSome(MORE));
  showSome(opened.get(`${key} shown`) || FIRST);
  const actions = element("p", "actions");
  actions.append(...wholeButtons(list, finding), mute(list, finding.code), more);
  box.append(summary, element("p", "", finding.consequence), element("p", "soft", finding.remedy), groups);
  if (finding.left) box.append(element("p", "soft", `${finding.left} more, which are too many to show or to leave out here: make new splits, or give a table.`));
  box.append(actions);
  return box;
}

// Build the list of findings. `choose` takes a function from the choices to what changes, and builds the list again.
export function findingList(report, choices, choose, opened) {
  const list = { choices, choose, opened };
  const shown = report.findings.filter((finding) => !choices.mute.includes(finding.code));
  const nodes = shown.map((finding) => article(list, finding));
  if (!shown.length) nodes.push(element("p", "", report.findings.length ? "All findings are muted." : "The checks found nothing."));
  for (const code of choices.mute) {
    const line = element("p", "actions");
    const finding = report.findings.find((other) => other.code === code);
    line.append(element("span", "soft", `Muted: ${code}${finding ? `: ${finding.title}` : ""}`), unmute(list, code));
    nodes.push(line);
  }
  const applicable = Object.entries(report.not_applicable);
  const rest = element("details");
  const reasons = element("ul");
  reasons.append(...applicable.map(([code, reason]) => element("li", "", `${code}: ${reason}`)));
  rest.append(element("summary", "", `${count(report.passed.length, "check")} passed; ${applicable.length} could not be made`), reasons);
  nodes.push(rest);
  return nodes;
}
