// Choose images, see what was found, and begin.

import { Refusal, request, requestJson } from "./api.js";
import { byId, element, option, write } from "./dom.js";
import { addressOf } from "./home.js";

const SPLITS = { "": "no split", train: "train", valid: "validation", test: "test" };
const RECIPES = {
  default: "default: recommended",
  probe: "probe: frozen backbone; compare it with default where patients are known",
  "notebook-fast": "notebook-fast: the study that the project started from, faster",
  notebook: "notebook: the study that the project started from",
};

export function newStudy(view, chosenBefore) {
  const part = (name) => view.querySelector(name);
  const form = part("form");
  let data = null; // the path in use
  let latest = 0;

  async function tried(work) {
    part("div.problem").hidden = true;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const lines = (error.details || []).map((line) => element("li", "", line));
      const list = element("ul");
      list.append(...lines);
      part("div.problem").replaceChildren(element("p", "", error.message), ...(lines.length ? [list] : []));
      part("div.problem").hidden = false;
    }
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
    for (const name of [".found", "form"]) part(name).hidden = true;
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
    show(found);
    const last = path.split("/").at(-1).replace(/\.[ct]sv$/i, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
    form.elements.name.value = `${(last || "study").slice(0, 40)}-1`;
    await showCommand();
    part("#found-title").scrollIntoView({ block: "start" });
  }

  function show(found) {
    part(".found").hidden = form.hidden = false;
    write(part(".count"), `${found.images} images of ${found.classes.length} classes in ${found.path || "this folder"}.`);
    const head = element("tr");
    head.append(...["class", ...found.splits.map((split) => SPLITS[split]), "some of them"].map((text) => Object.assign(element("th", "", text), { scope: "col" })));
    part("thead").replaceChildren(head);
    part("tbody").replaceChildren(...found.classes.map((row) => classRow(row, found.splits)));
    const notes = [];
    if (found.groups) notes.push(`${found.groups} patients (groups) are named; new splits keep each together.`);
    else notes.push("No patients are named here. The study looks for them in DICOM headers and file names; the audit shows what it finds.");
    for (const [split, text] of [["valid", "validation"], ["test", "test"]])
      if (!found.splits.includes(split)) notes.push(`There is no ${text} split: it is taken from the other images.`);
    notes.push(...found.left_out.map((line) => `Left out: ${line}`));
    notes.push(...found.problems.map((line) => `Cannot be used: ${line}`));
    if (found.problem_count > found.problems.length) notes.push(`${found.problem_count} files in all cannot be used.`);
    part(".notes").replaceChildren(...notes.map((text) => element("li", "", text)));
    part(".audit-link").href = `#/run/${found.audit}`;
    part(".audit-link").hidden = !audits.has(found.audit);
    audit = found.audit;
  }

  function classRow(row, splits) {
    const line = element("tr");
    const name = element("th", "", row.name);
    name.scope = "row";
    if (row.folders.length) name.append(element("p", "soft", `also: ${row.folders.join(", ")}`));
    const counts = splits.map((split) => element("td", "number", row.counts[split]));
    const pictures = element("td");
    const box = element("div", "pictures");
    box.append(...row.pictures.map((path) => {
      const image = Object.assign(element("img"), { src: `api/picture?${new URLSearchParams({ path })}`, alt: `An image of ${row.name}`, title: path });
      image.addEventListener("error", () => image.remove());
      return image;
    }));
    pictures.append(box);
    line.append(name, ...counts, pictures);
    return line;
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
    const { command } = await requestJson("api/command", chosen());
    part("form pre").textContent = command;
  }

  form.addEventListener("change", () => tried(showCommand));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tried(async () => {
      const { id } = await requestJson("api/studies", chosen());
      location.hash = `#/run/${id}`;
    });
  });
  part(".audit").addEventListener("click", () => tried(async () => {
    const { id } = await requestJson("api/audits", { data });
    location.hash = `#/run/${id}`;
  }));

  const audits = new Set();
  let audit = "";
  tried(async () => {
    const { recipes } = await request("api/workspace");
    form.elements.recipe.append(...recipes.map((name) => option(name, RECIPES[name])));
    if (!chosenBefore) return browse("");
    const path = chosenBefore === "." ? "" : chosenBefore;
    await browse(/\.[ct]sv$/i.test(path) ? path.split("/").slice(0, -1).join("/") : path);
    return use(path);
  });
  return {
    update(runs) {
      for (const entry of runs) audits.add(entry.id);
      part(".audit-link").hidden = !audit || !audits.has(audit);
    },
  };
}
