// All studies and audits of the folder, and how a state is put into words.

import { attempt, request } from "./api.js";
import { byId, write } from "./dom.js";

export function clock(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function title(entry) {
  if (entry.kind === "compare") return `Comparison of ${entry.data}`;
  return entry.kind === "audit" ? `Audit of ${entry.data || "the whole folder"}` : entry.name;
}

export const addressOf = (data) => `#/new/${encodeURIComponent(data || ".")}`; // the whole folder

export function inWords(entry) {
  if (entry.status === "waiting") return "Waits for its turn";
  if (entry.left_waiting) return "Not begun: its turn had not come when the server ended";
  if (entry.status === "finished") return "Finished";
  if (entry.status === "stopped" && reason(entry)) return "Ended with an error";
  if (entry.status === "stopped" && !entry.begun) return "Not begun yet";
  if (entry.status === "stopped") return entry.begun_here || entry.refusal === "" ? "Stopped; it can be resumed" : "Stopped";
  const left = entry.left == null ? "" : `, about ${clock(entry.left)} left${entry.at_most ? " at most" : ""}`;
  const where = entry.local ? "" : " on another machine";
  return entry.fraction == null ? `Running${where}` : `Running${where}: ${Math.floor(100 * entry.fraction)}%${left}`;
}

// What to type in a terminal is no help here, where there is a button.
export const reason = (entry) => (entry.begun_here && /^stopped by SIG/.test(entry.error) ? "" : entry.error);

export function showProgress(bar, entry) {
  bar.hidden = entry.status !== "running" && !(entry.status === "stopped" && entry.fraction);
  if (entry.fraction == null) bar.removeAttribute("value");
  else bar.value = entry.fraction;
}

export function home(view) {
  const cards = new Map();
  const queue = view.querySelector(".queue");
  queue.querySelector("button").addEventListener("click", () => attempt(async () => {
    const { waiting } = await request("api/queue/continue", { method: "POST" });
    write(byId("status"), `${waiting} in the queue again; one works at a time.`);
  }, (message) => write(byId("status"), message)));
  request("api/workspace").then(({ folder }) => write(view.querySelector(".folder"), folder), () => {});
  return {
    update(runs) {
      view.querySelector(".empty").hidden = runs.length > 0;
      const left = runs.filter((entry) => entry.left_waiting).length;
      queue.hidden = !left;
      write(queue.querySelector("span"), left === 1 ? "1 study or audit was" : `${left} studies and audits were`);
      for (const [id, card] of cards) if (!runs.some((entry) => entry.id === id)) { card.remove(); cards.delete(id); }
      for (const entry of runs) {
        if (!cards.has(entry.id)) {
          const card = byId("card").content.firstElementChild.cloneNode(true);
          const link = card.querySelector("a");
          link.href = `#/run/${entry.id}`;
          write(link, title(entry));
          card.querySelector("progress").setAttribute("aria-label", `Progress of ${title(entry)}`);
          cards.set(entry.id, card);
          view.querySelector(".runs").append(card);
        }
        const card = cards.get(entry.id);
        const error = reason(entry) ? `: ${reason(entry)}` : "";
        write(card.querySelector(".state"), inWords(entry) + error);
        showProgress(card.querySelector("progress"), entry);
      }
    },
  };
}
