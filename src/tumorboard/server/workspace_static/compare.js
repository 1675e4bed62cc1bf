// Runs beside each other: what differs in their settings, and their results on the same test images.

import { Refusal, request, requestJson } from "./api.js";
import { element, write } from "./dom.js";

const SAME = "Their settings, versions and numbers of images are the same.";

export function differenceTable(names, differences) {
  if (!differences.length) return element("p", "", SAME);
  const table = element("table");
  const row = (cells, head) => {
    const line = element("tr");
    line.append(...cells.map((text, index) => {
      const cell = element(head || !index ? "th" : "td", "", text);
      if (head || !index) cell.scope = head ? "col" : "row";
      return cell;
    }));
    return line;
  };
  const head = element("thead");
  const body = element("tbody");
  head.append(row(["setting", ...names], true));
  body.append(...differences.map(({ name, values }) => row([name, ...values], false)));
  table.append(head, body);
  return table;
}

export function compare(view) {
  const part = (name) => view.querySelector(name);
  const boxes = new Map(); // by the id of a run
  let latest = 0;
  const chosen = () => [...boxes].filter(([, line]) => line.querySelector("input").checked).map(([id]) => id);

  async function tried(work) {
    part(".problem").hidden = true;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      write(part(".problem"), error.message);
      part(".problem").hidden = false;
    }
  }

  async function show() {
    const runs = chosen();
    const number = (latest += 1);
    part("button").disabled = runs.length < 2;
    part(".settings").hidden = part("details").hidden = true;
    if (runs.length < 2) return;
    const found = await request(`api/differences?${new URLSearchParams(runs.map((id) => ["run", id]))}`);
    if (number !== latest) return;
    part(".settings").hidden = part("details").hidden = false;
    part(".table").replaceChildren(differenceTable(found.names, found.differences));
    part("pre").textContent = found.command;
  }

  part("form").addEventListener("change", () => tried(show));
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    tried(async () => {
      const { id } = await requestJson("api/comparisons", { runs: chosen() });
      location.hash = `#/run/${id}`;
    });
  });
  return {
    update(entries) {
      const runs = entries.filter((entry) => entry.kind === "train" && entry.status === "finished" && entry.models);
      for (const [id, line] of boxes) if (!runs.some((entry) => entry.id === id)) { line.remove(); boxes.delete(id); }
      for (const entry of runs) {
        if (boxes.has(entry.id)) continue;
        const line = element("li");
        const label = element("label", "check");
        label.append(Object.assign(element("input"), { type: "checkbox" }), element("span", "", entry.name));
        line.append(label);
        boxes.set(entry.id, line);
        part("ul").append(line);
      }
      part(".few").hidden = runs.length > 1;
      part("form").hidden = runs.length < 2;
    },
  };
}
