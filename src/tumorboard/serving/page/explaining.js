// Where a model looked.

import { byId, option } from "./elements.js";
import { Refusal, run, send } from "./server.js";

export function prepareExplaining(part, found) {
  part("model").append(...found.models.map((model) => option(model.name)));
  part("target").append(...Object.keys(found.models[0].probabilities).map((name) => option(name)));
  part("model").value = run.about.recommended;
  part("target").value = found.joint.says;
}

export async function explain(entry) {
  const part = (name) => entry.card.querySelector(`.${name}`);
  const [model, target, number] = [part("model").value, part("target").value, entry.asked];
  part("explain").disabled = true;
  let text = `Bright is where ${model} saw what speaks for ${target}. A hint at the reason, no proof of it.`;
  try {
    const found = await send("/api/explain", { model, target, window: entry.window }, entry.file);
    if (number !== entry.asked || model !== part("model").value || target !== part("target").value) return;
    if (found.empty) text = `Nothing in the image speaks for ${target} in ${model}, or its answer has no slope (a vote).`;
    part("layer").src = `data:image/png;base64,${found.layer}`;
    part("layer").hidden = false;
    part("strength").hidden = false;
    fade(entry);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    text = error.message;
  } finally {
    part("explain").disabled = false;
  }
  part("mapped").textContent = text;
  part("mapped").hidden = false;
  byId("status").textContent = text;
}

export function fade(entry) {
  entry.card.querySelector(".layer").style.opacity = entry.card.querySelector(".strength input").value / 100;
}

export function unmap(entry) {
  for (const name of ["layer", "strength", "mapped"]) entry.card.querySelector(`.${name}`).hidden = true;
}
