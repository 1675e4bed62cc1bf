// Choose images, see what was found, and begin.

import { attempt, request, requestJson } from "./api.js";
import { byId, element, option, tableRow, write } from "./dom.js";
import { findingList, inShort } from "./findings.js";
import { addressOf, clock, inWords, showProgress } from "./home.js";

const SPLITS = { "": "no split", train: "train", valid: "validation", test: "test" };
const RECIPES = {
  default: "default: recommended",
  probe: "probe: as default, but the pretrained network is not fine-tuned, which is faster",
  "notebook-fast": "notebook-fast: the study that the project started from, faster",
  notebook: "notebook: the study that the project started from",
};

export function newStudy(view, chosenBefore) {
  const part = (name) => view.querySelector(name);
  const form = part("form.begin");
  let data = null; // the path in use
  let images = 0; // how many there are, without those left out
  let choices = null; // for these images, as the server keeps them
  let basedOn = ""; // names these choices, which another tab may change
  let gone = []; // images that were left out and are not there any more
  let audit = ""; // the id of the audit of these images
  let runs = [];
  let latest = 0;

  // What the user does removes the problem that is shown.
  function tried(work) {
    part("div.problem").hidden = true;
    return attempt(work, showProblem);
  }

  function showProblem(message, details) {
    const list = element("ul");
    list.append(...details.map((line) => element("li", "", line)));
    part("div.problem").replaceChildren(element("p", "", message), ...(details.length ? [list] : []));
    part("div.problem").hidden = false;
  }

  const button = (text, work) => {
    const node = Object.assign(element("button", "", text), { type: "button" });
    node.addEventListener("click", () => tried(work));
    return node;
  };

  async function browse(path) {
    const pressed = document.activeElement;
    forget();
    const found = await request(`api/folders?${new URLSearchParams({ path })}`);
    const names = path ? path.split("/") : [];
    const above = names.map((name, index) => button(name, () => browse(names.slice(0, index + 1).join("/"))));
    part(".path").replaceChildren(button("The folder of this page", () => browse("")), ...above.flatMap((node) => [" / ", node]));
    const below = (name) => (path ? `${path}/${name}` : name);
    const rows = [
      ...found.folders.map((name) => button(`Folder ${name}`, () => browse(below(name)))),
      ...found.tables.map((name) => button(`Use the table ${name}`, () => use(below(name)))),
    ].map((node) => { const item = element("li"); item.append(node); return item; });
    if (!rows.length) rows.push(element("li", "soft", "No folder and no table in here."));
    if (found.left_out) rows.push(element("li", "soft", `${found.left_out} more are not listed.`));
    part(".inside").replaceChildren(...rows);
    write(part(".use"), path ? `Use the folder ${names.at(-1)}` : "Use this folder itself");
    part(".use").onclick = () => tried(() => use(path));
    if (pressed?.localName === "button" && !pressed.isConnected) part(".path button:last-of-type").focus();
  }

  function forget() {
    data = null;
    audit = "";
    part(".classes").open = false;
    for (const name of [".found", ".classes", ".audit", ".choices", "form.begin"]) part(name).hidden = true;
  }

  async function use(path) {
    forget();
    write(byId("status"), "Looking at the images …");
    const number = (latest += 1);
    let found;
    try {
      found = await request(`api/data?${new URLSearchParams({ path })}`);
    } finally {
      if (number === latest) write(byId("status"), "");
    }
    if (number !== latest) return;
    data = path;
    history.replaceState(null, "", addressOf(path)); // for the way back
    opened.clear();
    gone = [];
    show(found);
    if (found.gone.length && !found.problem) choose(() => ({})); // the server keeps what is shown
    const last = path.split("/").at(-1).replace(/\.[ct]sv$/i, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
    form.elements.name.value = `${(last || "study").slice(0, 40)}-1`;
    part(found.problem ? ".problem" : "#found-title").scrollIntoView({ block: "start" });
    await Promise.all([showCommand(), showAudit()]);
  }

  // Every choice is kept by the server at once; one after the other, as each changes the ones before.
  let choosing = Promise.resolve();
  const choose = (change) => {
    choosing = choosing.then(() => tried(async () => {
      show(await requestJson("api/choices", { data, based_on: basedOn, choices: { ...choices, ...change(choices) } }));
      await Promise.all([showCommand(), showFindings()]);
    }));
  };

  function show(found) {
    choices = found.choices;
    basedOn = found.digest;
    gone.push(...found.gone.filter((id) => !gone.includes(id)));
    audit = found.audit;
    const summary = inShort(choices);
    part(".choices").hidden = !summary;
    write(part(".choices span"), summary);
    showClasses(found);
    for (const name of [".found", ".audit", "form.begin"]) part(name).hidden = Boolean(found.problem);
    images = found.images;
    if (found.problem) return showProblem(found.problem, found.details);
    write(part(".count"), `${found.images} images of ${found.classes.length} classes in ${found.path || "this folder"}.`);
    part("thead").replaceChildren(tableRow(["class", ...found.splits.map((split) => SPLITS[split]), "some of them"], "col"));
    part("tbody").replaceChildren(...found.classes.map((row) => classRow(row, found.splits)));
    const notes = gone.slice(0, 20).map((id) => `Not there any more, and dropped from your choices: ${id}`);
    if (gone.length > 20) notes.push(`${gone.length} images in all that were left out are not there any more.`);
    if (found.groups) notes.push(`${found.groups} patients (groups) are named; new splits keep each together.`);
    else notes.push("No patients are named here. The study looks for them in DICOM headers and file names; the audit shows what it finds.");
    for (const [split, text] of [["valid", "validation"], ["test", "test"]])
      if (!found.splits.includes(split)) notes.push(`There is no ${text} split: it is taken from the other images.`);
    notes.push(...found.left_out.map((line) => `Left out: ${line}`));
    notes.push(...found.problems.map((line) => `Cannot be used: ${line}`));
    if (found.problem_count > found.problems.length) notes.push(`${found.problem_count} files in all cannot be used.`);
    part(".notes").replaceChildren(...notes.map((text) => element("li", "", text)));
  }

  function showClasses(found) {
    part(".classes").hidden = Object.keys(found.folders).length < 2;
    part(".classes").open = Boolean(found.problem) || part(".classes").open;
    part(".classes ul").replaceChildren(...Object.entries(found.folders).map(([folder, name]) => {
      const line = element("li");
      const label = element("label", "", folder);
      const input = Object.assign(element("input"), { name: folder, value: name, required: true, pattern: "[^,=]+", title: "a name without comma and =" });
      label.append(input);
      line.append(label);
      return line;
    }));
  }

  part(".classes form").addEventListener("submit", (event) => {
    event.preventDefault();
    const groups = new Map();
    for (const input of part(".classes form").querySelectorAll("input"))
      groups.set(input.value.trim(), [...(groups.get(input.value.trim()) || []), input.name]);
    choose(() => ({ class_map: [...groups].map(([name, folders]) => `${name}=${folders.join(",")}`) }));
  });
  part(".classes .secondary").addEventListener("click", () => choose(() => ({ class_map: [] })));
  part(".choices button").addEventListener("click", () => choose(() => ({ mute: [], exclude: {}, class_map: [], skip_bad: false })));

  const opened = new Map(); // which findings are open
  let status = ""; // of the audit that is shown
  async function showAudit() {
    const entry = runs.find((candidate) => candidate.id === audit);
    const before = status;
    status = entry ? `${audit} ${entry.status}` : "";
    part(".audit-link").hidden = !entry;
    part(".audit-link").href = `#/run/${audit}`;
    const works = entry && ["running", "waiting"].includes(entry.status);
    write(part(".audit .state"), entry && entry.status !== "finished" ? inWords(entry) + (entry.error ? `: ${entry.error}` : "") : "");
    showProgress(part(".audit progress"), entry || {});
    part(".check").hidden = works;
    write(part(".check"), entry ? "Check again" : "Check the images (audit)");
    if (status !== before) await showFindings();
  }

  async function showFindings() {
    write(part(".changed"), "");
    if (!audit || status !== `${audit} finished`) return part(".findings").replaceChildren();
    const path = data;
    const report = await request(`api/findings?${new URLSearchParams({ path })}`);
    if (path !== data) return;
    const { key } = document.activeElement?.dataset ?? {};
    part(".findings").replaceChildren(...findingList(report, choices, choose, opened));
    if (key) part(`.findings [data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    if (!report.current) write(part(".changed"), "Your choices have changed since these images were checked. What is left out is marked; “Check again” looks at the rest.");
    part(".check").classList.toggle("secondary", report.current);
  }

  function classRow(row, splits) {
    const name = document.createDocumentFragment();
    name.append(element("bdi", "", row.name));
    if (row.folders.length) name.append(element("p", "soft", `also: ${row.folders.join(", ")}`));
    const box = element("div", "pictures");
    box.append(...row.pictures.map((path) => {
      const image = Object.assign(element("img"), { src: `api/picture?${new URLSearchParams({ path })}`, alt: `An image of ${row.name}`, title: path });
      image.addEventListener("error", () => image.remove());
      return image;
    }));
    return tableRow([name, ...splits.map((split) => row.counts[split]), box], "row");
  }

  const chosen = () => ({
    name: form.elements.name.value,
    job: {
      data,
      recipe: form.elements.recipe.value,
      keep_together: form.elements.keep_together.value,
      folds: Number(form.elements.folds.value),
      seed: form.elements.seed.value === "" ? null : Number(form.elements.seed.value),
    },
  });

  async function showCommand() {
    if (data === null || !form.checkValidity()) return;
    const { command, seconds_per_image: rate, measured } = await requestJson("api/command", chosen());
    form.querySelector("pre").textContent = command;
    write(part(".estimate"), rate
      ? `It may take about ${clock(Math.max(60, rate * images))}: ${measured}. The page shows the time left while it runs.`
      : "How long it takes is shown while it runs; nothing was measured yet with these settings.");
  }

  form.addEventListener("change", () => tried(showCommand));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tried(async () => {
      const { id } = await requestJson("api/studies", chosen());
      location.hash = `#/run/${id}`;
    });
  });
  part(".check").addEventListener("click", () => tried(async () => {
    await requestJson("api/audits", { data });
    await showAudit();
  }));

  tried(async () => {
    const { recipes } = await request("api/workspace");
    form.elements.recipe.append(...recipes.map((name) => option(name, RECIPES[name])));
    if (!chosenBefore) return browse("");
    const path = chosenBefore === "." ? "" : chosenBefore;
    await browse(/\.[ct]sv$/i.test(path) ? path.split("/").slice(0, -1).join("/") : path);
    return use(path);
  });
  return {
    update(entries) {
      runs = entries;
      if (data !== null && audit) attempt(showAudit, showProblem);
    },
  };
}
