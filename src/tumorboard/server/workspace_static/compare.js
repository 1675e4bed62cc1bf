// Runs beside each other: what differs in their settings, and their results on the same test images.

import { attempt, request, requestJson } from "./api.js";
import { element, table, tableRow, write } from "./dom.js";

const SAME = "Their settings, versions and numbers of images are the same.";

export function differenceTable(names, differences) {
  if (!differences.length) return element("p", "", SAME);
  return table(["setting", ...names], differences.map(({ name, values }) => tableRow([name, ...values], "row")));
}

export function compare(view) {
  const part = (name) => view.querySelector(name);
  const boxes = new Map(); // by the id of a run
  let latest = 0;
  let most = 0; // runs of a comparison
  const chosen = () => [...boxes].filter(([, line]) => line.querySelector("input").checked).map(([id]) => id);

  function tried(work) {
    part(".problem").hidden = true;
    return attempt(work, (message) => {
      write(part(".problem"), message);
      part(".problem").hidden = false;
    });
  }

  async function show() {
    const runs = chosen();
    const number = (latest += 1);
    part("button").disabled = runs.length < 2 || runs.length > most;
    part(".settings").hidden = part("details").hidden = true;
    if (part("button").disabled) return;
    const found = await request(`api/differences?${new URLSearchParams(runs.map((id) => ["run", id]))}`);
    if (number !== latest) return;
    part(".settings").hidden = part("details").hidden = false;
    part(".table").replaceChildren(differenceTable(found.names, found.differences));
    part("pre").textContent = found.command;
  }

  tried(async () => {
    most = (await request("api/workspace")).most_compared;
    write(part("legend"), `Choose 2 to ${most}`);
    await show();
  });
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
