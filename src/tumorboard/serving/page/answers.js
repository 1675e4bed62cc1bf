// What an answer looks like.

import { breakable, element, percent } from "./elements.js";
import { run } from "./server.js";
import { prepareExplaining } from "./explaining.js";

export function show(entry) {
  const { card, answer: found } = entry;
  const part = (name) => card.querySelector(`.${name}`);
  part("waiting").hidden = true;
  part("problem").hidden = !entry.problem;
  part("problem").textContent = entry.problem;
  part("body").hidden = !found;
  if (!found) return;
  part("preview").src = `data:image/png;base64,${found.preview}`;
  part("preview").alt = `What the models were given of ${entry.file.name}`;
  part("window").hidden = !found.dicom;
  showJoint(part, found);
  part("models").replaceChildren(...found.models.map(opinion));
  if (!part("model").options.length) prepareExplaining(part, found);
}

function showJoint(part, found) {
  const { joint } = found;
  const warned = joint.ask_a_human || joint.unlike_training;
  part("lead").textContent = warned ? "If it had to answer, the board would say" : "The board says";
  part("class").textContent = joint.says;
  part("confidence").textContent =
    percent(joint.confidence) + (joint.calibrated ? " sure" : " (not calibrated: do not read it as a chance)");
  const warnings = Number(Boolean(joint.unlike_training)) + Number(Boolean(joint.ask_a_human));
  part("words").replaceChildren(
    ...found.words.map((text, index) => element("li", index < warnings ? "warn" : "", text)));
  part("accuracy").textContent = accuracy(run.about.recommended);
  part("notes").replaceChildren(...found.notes.map((text) => element("li", "", text)));
  part("notes").hidden = !found.notes.length;
}

function accuracy(name) {
  const facts = run.about.models.find((model) => model.name === name);
  if (!facts || !facts.test.length) return "";
  const said = facts.test.map((one) =>
    `${percent(one.value)} of ${one.n} (${one.images}; 95 % interval ${percent(one.low)} to ${percent(one.high)})`);
  return `In this run's test, ${name} was right for ${said.join(", ")}.`;
}

function opinion(model) {
  const made = element("section", model.name === run.about.recommended ? "opinion recommended" : "opinion");
  const title = element("h3");
  title.append(element("bdi", "", model.name));
  if (model.name === run.about.recommended) title.append(element("span", "", " – speaks for the board"));
  made.append(title);
  const list = element("ul");
  for (const [name, value] of Object.entries(model.probabilities)) {
    const row = element("li", name === model.says ? "first" : "");
    const fill = element("i");
    fill.style.width = `${100 * value}%`;
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    bar.append(fill);
    row.append(breakable(name), element("span", "", percent(value)), bar);
    list.append(row);
  }
  made.append(list);
  return made;
}
