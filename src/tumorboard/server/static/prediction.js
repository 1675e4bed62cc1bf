// The card of one image.

import { run } from "./api.js";
import { breakable, element, percent } from "./dom.js";
import { offerExplanation } from "./heatmap.js";

export const confidence = (reply) =>
  `${reply.calibrated ? "calibrated" : "uncalibrated"} confidence ${percent(reply.confidence)}`;

// The server puts the warnings first.
const warningCount = (reply) => Number(Boolean(reply.out_of_distribution)) + Number(Boolean(reply.refer));
export const warnings = (reply) => reply.messages.slice(0, warningCount(reply));

export function show(entry) {
  const { card, reply } = entry;
  const part = (name) => card.querySelector(`.${name}`);
  part("waiting").hidden = true;
  part("problem").hidden = !entry.problem;
  part("problem").textContent = entry.problem;
  part("body").hidden = !reply;
  if (!reply) return;
  part("preview").src = `data:image/png;base64,${reply.preview}`;
  delete reply.preview; // of hundreds of images one copy is enough
  part("preview").alt = `Input of the models for ${entry.name}`;
  part("window").hidden = !reply.windowed;
  showResult(part, reply, warningCount(reply));
  part("accuracy").textContent = accuracy(reply.model);
  showModels(part, reply);
  if (!part("model").options.length) offerExplanation(part, reply);
}

export function showModels(part, reply) {
  const recommendedFirst = reply.models.toSorted((a, b) => (b.name === reply.model) - (a.name === reply.model));
  part("models").replaceChildren(...recommendedFirst.map((model) => modelSection(model, reply)));
}

export function showResult(part, reply, count) {
  const list = (name, texts) => {
    part(name).replaceChildren(...texts.map((text) => element("li", "", text)));
    part(name).hidden = !texts.length;
  };
  list("warnings", reply.messages.slice(0, count));
  part("lead").textContent = count ? "Prediction, not to be relied on:" : "Prediction:";
  part("class").textContent = reply.prediction;
  part("confidence").textContent = `, ${confidence(reply)}`;
  list("messages", reply.messages.slice(count));
  list("notes", reply.notes ?? []);
}

function accuracy(name) {
  const model = run.description.models.find((candidate) => candidate.name === name);
  if (!model || !model.test_accuracy.length) return "";
  const texts = model.test_accuracy.map(({ value, low, high, n, subset }) =>
    `${value.toFixed(2)} (95% CI ${low.toFixed(2)}-${high.toFixed(2)}, n = ${n}; ${subset})`);
  return `Test accuracy of ${name}: ${texts.join(", ")}.`;
}

const ALL_CLASSES = 12; // of more the highest are shown; the table to download has all
const HIGHEST = 10;

// The recommended model shows the probabilities that the headline quotes; the others have no calibration.
function modelSection(model, reply) {
  const recommended = model.name === reply.model;
  const probabilities = recommended ? reply.probabilities : model.probabilities;
  const section = element("section", recommended ? "probabilities recommended" : "probabilities");
  const title = element("h3");
  const status = recommended && reply.calibrated ? "calibrated" : "uncalibrated";
  title.append(element("bdi", "", model.name), element("span", "", recommended ? ` (recommended, ${status})` : ` (${status})`));
  const list = element("ul");
  let rows = Object.entries(probabilities);
  const others = rows.length > ALL_CLASSES ? rows.length - HIGHEST : 0;
  if (others) rows = rows.sort(([, a], [, b]) => b - a).slice(0, HIGHEST);
  for (const [name, value] of rows) {
    const row = element("li", name === model.prediction ? "first" : "");
    const fill = element("i");
    fill.style.width = `${100 * value}%`;
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    bar.append(fill);
    row.append(breakable(name), element("span", "", percent(value)), bar);
    list.append(row);
  }
  if (others) list.append(element("li", "others", `${others} other classes: ${percent(rows.at(-1)[1])} each at most`));
  section.append(title, list);
  return section;
}
