// The table to download.

import { run } from "./server.js";

// A spreadsheet runs a cell that begins like a formula; ' makes it text.
const cell = (value) => {
  const text = /^[=+\-@\t\r']/.test(String(value)) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function table(entries) {
  const columns = run.about.models.flatMap((model) => run.about.class_names.map((name) => [model.name, name]));
  const head = ["file", "answer", "confidence", "calibrated", "possible", "ask_a_human", "unlike_training", "window"];
  const rows = entries.map(({ file, answer: found, problem, window: chosen }) => {
    if (!found) return [file.name, ...Array(head.length - 1 + columns.length).fill(""), problem];
    const said = Object.fromEntries(found.models.map((model) => [model.name, model.probabilities]));
    const { joint } = found;
    return [file.name, joint.says, joint.confidence, joint.calibrated, (joint.possible || []).join("; "),
      joint.ask_a_human, joint.unlike_training, found.dicom ? chosen : "",
      ...columns.map(([model, name]) => said[model][name]), ""];
  });
  const names = columns.map(([model, name]) => `${model}: ${name}`);
  return [[...head, ...names, "error"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
