// One study or audit: how far it is, its results, and what can be done with it.

import { Refusal, attempt, request, requestJson } from "./api.js";
import { curvesIn } from "./curves.js";
import { differenceTable } from "./compare.js";
import { byId, element, write } from "./dom.js";
import { addressOf, clock, inWords, reason, showProgress, title } from "./home.js";

const INTERRUPTED = "It ended without a message: it was killed, or the machine was switched off.";

export function run(view, id) {
  const part = (name) => view.querySelector(name);
  const path = `api/runs/${encodeURIComponent(id)}`;
  let last = null; // the entry that is shown
  let asked = false; // to stop
  let busy = false;
  const showCurves = curvesIn(part(".curves"));

  const act = (button, work) => part(button).addEventListener("click", async () => {
    if (busy) return; // a button that is disabled would lose the focus
    busy = true;
    await tried(work);
    busy = false;
  });
  const tried = (work) => attempt(work, (message) => write(byId("status"), message));
  act(".stop", async () => {
    await request(`${path}/stop`, { method: "POST" });
    asked = true;
    write(byId("status"), last.status === "waiting" || last.left_waiting
      ? `It does not wait any more, and can be ${last.begun ? "resumed" : "begun"} later.`
      : "Asked to stop: it ends at the next safe point, and can be resumed.");
  });
  act(".resume", () => request(`${path}/resume`, { method: "POST" }));
  part(".delete form").addEventListener("submit", (event) => {
    event.preventDefault();
    tried(async () => {
      await requestJson(`${path}/delete`, { name: part(".delete input").value });
      location.hash = "#/";
    });
  });
  part(".log").addEventListener("toggle", () => tried(showLog));
  async function showLog() {
    if (!part(".log").open) return;
    const response = await fetch(`${path}/log`).catch(() => null);
    if (!response?.ok) throw new Refusal("The log cannot be read.");
    const text = part(".log pre");
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 20;
    text.textContent = (await response.text()) || "Nothing was printed here; the log of a study that was begun in a terminal is there.";
    if (atEnd) text.scrollTop = text.scrollHeight;
  }

  async function describe() {
    const found = await request(path);
    write(part(".command pre"), found.command || "No command of tumorboard is recorded.");
    if (found.status === "stopped" && found.refusal) part(".command").open = true; // it is what to do next
    part(".results").hidden = !found.summary || found.status !== "finished";
    part(".results pre").textContent = found.summary;
    part(".settings").hidden = !found.differences;
    if (found.differences) part(".settings .table").replaceChildren(differenceTable(found.differences.names, found.differences.differences));
    show(found);
  }

  function showPhases(phases = []) {
    part(".phases").hidden = !phases.length || last.status === "finished";
    const items = phases.map((phase) => {
      const item = element("li", phase.ended ? "ended" : "");
      const bar = element("progress");
      bar.max = 1;
      bar.value = phase.ended ? 1 : phase.fraction;
      bar.setAttribute("aria-label", `Progress of ${phase.title}`);
      const seconds = phase.ended && phase.seconds ? clock(phase.seconds) : "";
      item.append(element("span", "", phase.title), element("span", "", seconds || `${Math.round(100 * phase.share)}%`), bar);
      return item;
    });
    part(".phases ol").replaceChildren(...items);
  }

  function show(entry) {
    const changed = last?.status !== entry.status;
    const pressed = document.activeElement;
    last = { ...last, ...entry };
    write(part("h1"), title(last));
    document.title = `${title(last)} – Tumorboard`;
    if (last.status !== "running") asked = false;
    write(part(".state"), asked ? "Stopping at the next safe point …" : inWords(last));
    const killed = last.status === "stopped" && last.begun && !last.error ? INTERRUPTED : "";
    part(".error").hidden = last.status !== "stopped" || !(reason(last) || killed);
    write(part(".error"), reason(last) || killed);
    part(".refusal").hidden = last.status !== "stopped" || !last.refusal;
    write(part(".refusal"), last.refusal ? `It cannot be resumed on this page: ${last.refusal}.` : "");
    showProgress(part("progress"), last);
    write(part(".task"), last.status === "running" ? last.task || "" : "");
    part(".stop").hidden = !(last.status === "waiting" || last.left_waiting || (last.status === "running" && last.local));
    const queued = last.status === "waiting" || last.left_waiting;
    write(part(".stop"), queued ? "Take out of the queue" : asked ? "Stop at once" : "Stop");
    part(".resume").hidden = last.status !== "stopped" || last.refusal !== "";
    write(part(".resume"), last.begun ? "Resume" : "Begin");
    part(".report").hidden = !last.report || last.status === "running";
    part(".report").href = `runs/${id}/report`;
    part(".ask").hidden = last.kind !== "train" || last.status !== "finished" || !last.models;
    part(".ask").href = `runs/${id}/`;
    part(".again").hidden = last.kind !== "audit";
    part(".again").href = addressOf(last.data);
    write(part(".delete .name-of"), last.name.split("/").at(-1));
    part(".delete").hidden = !/^(runs|audits|comparisons)\//.test(last.name) || ["running", "waiting"].includes(last.status);
    if (pressed?.closest("[hidden]")) part("h1").focus(); // a button that is no longer there
    showPhases(last.phases);
    showCurves(last.status === "finished" ? [] : last.curves ?? []); // the report has them
    return changed;
  }

  tried(describe);
  return {
    update(runs) {
      const entry = runs.find((candidate) => candidate.id === id);
      if (!entry) {
        if (last) write(part(".state"), "This study is no longer there.");
        return;
      }
      if (show(entry)) tried(describe);
      if (entry.status === "running") tried(showLog);
    },
  };
}
