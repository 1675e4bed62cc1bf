// The page keeps the files and the answers; the server keeps nothing.

import { show } from "./answers.js";
import { byId, element, option, percent } from "./elements.js";
import { explain, fade, unmap } from "./explaining.js";
import { ask, Refusal, run, send } from "./server.js";
import { table } from "./table.js";

const AT_ONCE = 2;
let entries = []; // {file, card, answer, problem, window, asked}: one for each image, in the order they came
const waiting = [];
let busy = 0;

// -- taking files

function take(files) {
  for (const file of files) enqueue(add(file));
  if (files.length) byId("tools").hidden = false;
}

function add(file) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const entry = { file, card, answer: null, problem: "", window: "as-trained", asked: 0 };
  card.querySelector(".file").textContent = file.name;
  card.querySelector(".explain").addEventListener("click", () => explain(entry));
  card.querySelector(".strength input").addEventListener("input", () => fade(entry));
  for (const choice of card.querySelectorAll(".model, .target")) choice.addEventListener("change", () => unmap(entry));
  prepareWindow(entry);
  entries.push(entry);
  byId("results").append(card);
  return entry;
}

function prepareWindow(entry) {
  const select = entry.card.querySelector(".window select");
  select.append(option("as-trained", "as in training"), option("file", "the file's own"));
  for (const name of run.about ? run.about.windows : []) select.append(option(name));
  select.addEventListener("change", () => {
    entry.window = select.value;
    unmap(entry);
    enqueue(entry);
  });
}

function enqueue(entry) {
  entry.asked += 1;
  waiting.push([entry, entry.asked]);
  tell();
  next();
}

async function next() {
  if (busy >= AT_ONCE || !waiting.length) return;
  busy += 1;
  const [entry, number] = waiting.shift();
  try {
    await answer(entry, number);
  } finally {
    busy -= 1;
    tell();
    next();
  }
}

async function answer(entry, number) {
  let found = null;
  let problem = "";
  try {
    if (run.about && entry.file.size > run.about.limits.bytes)
      throw new Refusal(`The file is larger than ${run.about.limits.bytes / 2 ** 20} MB.`);
    found = await send("/api/predict", { window: entry.window }, entry.file);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problem = error.message;
  }
  if (number !== entry.asked) return; // another window has been chosen since
  entry.answer = found;
  entry.problem = problem;
  show(entry);
}

// -- telling how far it is

function tell() {
  const done = entries.filter((entry) => entry.answer || entry.problem);
  const open = waiting.length + busy;
  const last = done.at(-1);
  let text = open ? `${done.length} of ${entries.length} images answered …` : "";
  if (!open && entries.length === 1 && last) text = `${last.file.name}: ${inShort(last)}`;
  if (!open && entries.length > 1) {
    const bad = entries.filter((entry) => entry.problem).length;
    text = `All ${entries.length} images are answered${bad ? `; ${bad} could not be read` : ""}.`;
  }
  byId("status").textContent = text;
}

const inShort = (entry) =>
  entry.problem || `the board says ${entry.answer.joint.says}, ${percent(entry.answer.joint.confidence)}.`;

// -- the table

function download() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([table(entries)], { type: "text/csv" }));
  link.download = "tumorboard.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function clear() {
  entries = [];
  waiting.length = 0;
  byId("results").replaceChildren();
  byId("tools").hidden = true;
  byId("files").focus();
  tell();
}

// -- the beginning

function listen() {
  byId("files").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
  });
  byId("files").disabled = false; // what is chosen before anybody listens would be lost without a word
  byId("download").addEventListener("click", download);
  byId("clear").addEventListener("click", clear);
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) byId("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}

async function begin() {
  try {
    run.about = await ask("/api/run");
  } catch (error) {
    byId("run").textContent = error.message;
    byId("run").className = "problem";
    return;
  }
  byId("run").textContent =
    `${run.about.models.length} models tell apart ${run.about.class_names.join(", ")}.`;
  byId("report").hidden = !run.about.report;
  listen();
}

begin();
