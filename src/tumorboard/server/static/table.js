// The table to download.

import { run } from "./api.js";

// A spreadsheet runs a cell that begins like a formula; ' makes it text.
const cell = (value) => {
  const text = /^[=+\-@\t\r']/.test(String(value)) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function table(entries) {
  const { models, class_names: classes, notice } = run.description;
  const columns = models.flatMap((model) => classes.map((name) => [model.name, name]));
  const head = ["file", "prediction", "confidence", "calibrated", "prediction_set", "refer", "out_of_distribution", "window"];
  const rows = entries.map(({ name: file, reply, problem, window: chosen }) => {
    if (!reply) return [file, ...Array(head.length - 1 + columns.length).fill(""), problem];
    const raw = Object.fromEntries(reply.models.map((model) => [model.name, model.probabilities]));
    return [file, reply.prediction, reply.confidence, reply.calibrated, (reply.prediction_set || []).join("; "),
      reply.refer, reply.out_of_distribution, reply.windowed ? chosen : "",
      ...columns.map(([model, name]) => raw[model][name]), ""];
  });
  const names = columns.map(([model, name]) => `${model}: ${name} (uncalibrated)`);
  return [[...head, ...names, "error", "notice"], ...rows.map((row) => [...row, notice])]
    .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
