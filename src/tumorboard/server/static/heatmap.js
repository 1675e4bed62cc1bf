// The heat map over an image.

import { run, Refusal, upload } from "./api.js";
import { byId, option, write } from "./dom.js";

export function offerExplanation(part, reply) {
  part("model").append(...reply.models.map((model) => option(model.name)));
  part("target").append(...run.description.class_names.map((name) => option(name)));
  part("model").value = reply.model;
  part("target").value = reply.prediction;
}

export async function explain(entry) {
  const part = (name) => entry.card.querySelector(`.${name}`);
  const [model, target, number] = [part("model").value, part("target").value, entry.requests];
  part("explain").disabled = true;
  let text = `Bright regions support ${target} in ${model} (Grad-CAM). They suggest a reason and do not prove it.`;
  try {
    const reply = await upload("api/explain", { model, target, window: entry.window, slice: entry.slice }, entry.file);
    if (number !== entry.requests || model !== part("model").value || target !== part("target").value) return;
    if (reply.empty) text = `No region supports ${target} in ${model}, or the model has no gradient (a vote).`;
    part("layer").src = `data:image/png;base64,${reply.layer}`;
    part("layer").hidden = false;
    part("opacity").hidden = false;
    setOpacity(entry);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    text = error.message;
  } finally {
    part("explain").disabled = false;
  }
  write(part("caption"), text);
  part("caption").hidden = false;
  write(byId("status"), text);
}

export function setOpacity(entry) {
  entry.card.querySelector(".layer").style.opacity = entry.card.querySelector(".opacity input").value / 100;
}

export function removeHeatMap(entry) {
  for (const name of ["layer", "opacity", "caption"]) entry.card.querySelector(`.${name}`).hidden = true;
}
