// The table to download.

import { run } from "./api.js";

// A spreadsheet runs a cell that begins like a formula; ' makes it text.
const cell = (value) => {
  const text = /^[=+\-@\t\r']/.test(String(value)) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

const csv = (head, rows) =>
  [[...head, "notice"], ...rows.map((row) => [...row, run.description.notice])]
    .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

const columns = () =>
  run.description.models.flatMap((model) => run.description.class_names.map((name) => [model.name, name]));
const titles = () => columns().map(([model, name]) => `${model}: ${name} (uncalibrated)`);
const uncalibrated = (reply) => {
  const raw = Object.fromEntries(reply.models.map((model) => [model.name, model.probabilities]));
  return columns().map(([model, name]) => raw[model][name]);
};
const set = (classes) => (classes ? classes.join("; ") || "(none)" : ""); // empty means not known
const answer = (reply) =>
  [reply.prediction, reply.confidence, reply.calibrated, set(reply.prediction_set), reply.refer];
const ANSWER = ["prediction", "confidence", "calibrated", "prediction_set", "refer"];

export function table(entries) {
  const head = ["file", ...ANSWER, "out_of_distribution", "window", ...titles(), "error"];
  return csv(head, entries.map(({ name, reply, problem, window: chosen }) => {
    if (!reply) return [name, ...Array(head.length - 2).fill(""), problem];
    const shown = reply.windowed ? chosen : "";
    return [name, ...answer(reply), reply.out_of_distribution, shown, ...uncalibrated(reply), ""];
  }));
}

export function patientTable(answers) {
  const head = ["patient", "images", "unreadable", ...ANSWER, "decided_by", "method", ...titles()];
  return csv(head, answers.map(({ name, images, unreadable, decisive, reply }) =>
    [name, images, unreadable, ...answer(reply), decisive, reply.method, ...uncalibrated(reply)]));
}
