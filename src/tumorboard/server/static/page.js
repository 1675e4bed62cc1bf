// The page keeps the files and the replies; the server keeps nothing.

import { Refusal, request, run, upload } from "./api.js";
import { byId, element, option, write } from "./dom.js";
import { filesOf, isWanted, sorted } from "./files.js";
import { explain, removeHeatMap, setOpacity } from "./heatmap.js";
import { answers, removePatients, showPatients } from "./patients.js";
import { confidence, show, warnings } from "./prediction.js";
import { patientTable, table } from "./table.js";

const CONCURRENT_UPLOADS = 2;
let entries = []; // {file, name, slice, card, reply, problem, window, requests}: one per image, as they came
const queue = [];
let active = 0;

// -- taking files

function take(files) {
  for (const file of files) enqueue(add(file));
  if (files.length) byId("tools").hidden = false;
}

// A slice of a volume is put after the one before it.
function add(file, slice = 0, before = null) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const entry = { file, name: "", slice: 0, card, reply: null, problem: "", window: "as-trained", requests: 0 };
  rename(entry, slice);
  card.querySelector(".explain").addEventListener("click", () => explain(entry));
  card.querySelector(".opacity input").addEventListener("input", () => setOpacity(entry));
  for (const choice of card.querySelectorAll(".model, .target"))
    choice.addEventListener("change", () => removeHeatMap(entry));
  offerWindows(entry);
  entries.splice(before ? entries.indexOf(before) + 1 : entries.length, 0, entry);
  if (before) before.card.after(card);
  else byId("results").append(card);
  return entry;
}

function rename(entry, slice) {
  entry.slice = slice;
  entry.name = slice ? `${entry.file.name}#${slice}` : entry.file.name;
  entry.card.querySelector(".file").textContent = entry.name;
}

// The first reply for a volume names its slices: each is an image of its own.
function addSlices(entry, { slice, slices }) {
  rename(entry, slice);
  let last = entry;
  for (const number of slices.slice(1)) {
    last = add(entry.file, number, last);
    enqueue(last);
  }
}

function offerWindows(entry) {
  const select = entry.card.querySelector(".window select");
  select.append(option("as-trained", "as in training"), option("file", "the file's own"));
  for (const name of run.description.windows) select.append(option(name));
  select.addEventListener("change", () => {
    entry.window = select.value;
    removeHeatMap(entry);
    enqueue(entry);
  });
}

function enqueue(entry) {
  entry.requests += 1;
  removePatients();
  queue.push([entry, entry.requests]);
  showProgress();
  next();
}

async function next() {
  if (active >= CONCURRENT_UPLOADS || !queue.length) return;
  active += 1;
  const [entry, number] = queue.shift();
  try {
    await predict(entry, number);
  } finally {
    active -= 1;
    showProgress();
    next();
    if (!active && !queue.length) showPatients(entries);
  }
}

async function predict(entry, number) {
  let reply = null;
  let problem = "";
  try {
    const limit = run.description.limits.bytes;
    if (entry.file.size > limit) throw new Refusal(`The file is larger than ${limit / 2 ** 20} MB.`);
    reply = await upload("api/predict", { window: entry.window, slice: entry.slice }, entry.file);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problem = error.message;
  }
  if (number !== entry.requests) return; // another window has been chosen since
  entry.reply = reply;
  entry.problem = problem;
  if (reply?.slices.length && !entry.slice && entries.includes(entry)) addSlices(entry, reply);
  show(entry);
}

// -- progress

function showProgress() {
  const done = entries.filter((entry) => entry.reply || entry.problem);
  const waiting = queue.length + active;
  const last = done.at(-1);
  const every = Math.max(1, Math.floor(entries.length / 10)); // read aloud for each of hundreds it would never end
  byId("progress").hidden = !waiting || entries.length < 2;
  byId("progress").max = entries.length || 1;
  byId("progress").value = done.length;
  if (waiting && done.length % every) return;
  let text = waiting ? `${done.length} of ${entries.length} images predicted …` : "";
  if (!waiting && entries.length === 1 && last) text = `${last.name}: ${summary(last)}`;
  if (!waiting && entries.length > 1) {
    const failed = entries.filter((entry) => entry.problem).length;
    text = failed
      ? `${entries.length - failed} of ${entries.length} images predicted; ${failed} could not be read.`
      : `All ${entries.length} images predicted.`;
  }
  write(byId("status"), text);
}

const summary = ({ reply, problem }) =>
  problem || [`prediction ${reply.prediction}, ${confidence(reply)}.`, ...warnings(reply)].join(" ");

// -- the table

function download(content, name) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function clear() {
  entries = [];
  queue.length = 0;
  byId("results").replaceChildren();
  byId("tools").hidden = true;
  showPatients(entries);
  byId("files").focus();
  showProgress();
}

// -- start

async function takeDropped(transfer) {
  try {
    const files = await filesOf(transfer);
    take(files);
    if (!files.length) write(byId("status"), "No file was dropped: save the image first, or drop a folder that holds images.");
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    write(byId("status"), "The folder cannot be read: it has been moved, or may not be opened.");
  }
}

function listen() {
  byId("files").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
  });
  byId("folder").addEventListener("change", (event) => {
    take(sorted(event.target.files, (file) => file.webkitRelativePath).filter(isWanted));
    event.target.value = "";
  });
  for (const name of ["files", "folder"]) byId(name).disabled = false; // what is chosen earlier would be lost silently
  byId("download").addEventListener("click", () => download(table(entries), "tumorboard.csv"));
  byId("download-patients").addEventListener("click", () =>
    download(patientTable(answers), "tumorboard-patients.csv"));
  byId("clear").addEventListener("click", clear);
  byId("together").addEventListener("change", () => {
    if (!active && !queue.length) showPatients(entries);
  });
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
    takeDropped(event.dataTransfer);
  });
}

async function offerWayBack(study) {
  const { name } = await request(`../../api/runs/${study}`);
  write(byId("workspace"), name);
  byId("workspace").href = `../../#/run/${study}`;
  byId("workspace").hidden = false;
  document.title = `${name} – Tumorboard`;
}

async function begin() {
  try {
    run.description = await request("api/run");
  } catch (error) {
    byId("run").textContent = error.message;
    byId("run").className = "problem";
    return;
  }
  const { models, class_names: classes } = run.description;
  const count = models.length === 1 ? "1 model" : `${models.length} models`;
  write(byId("run"), `${count}; classes: ${classes.join(", ")}.`);
  byId("report").hidden = !run.description.report;
  listen();
  const study = location.pathname.match(/^\/runs\/(\w+)\/$/)?.[1]; // in tumorboard ui
  if (study) await offerWayBack(study);
}

begin();
