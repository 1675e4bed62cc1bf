// One answer for all images of a patient, once each has been predicted.

import { Refusal, requestJson } from "./api.js";
import { byId, element, write } from "./dom.js";
import { confidence, showModels, showResult } from "./prediction.js";

const METHODS = {
  mean: "Combined by the mean of the images' probabilities",
  log_odds: "Combined by the mean of the images' log-odds",
  any: "Combined by the image that speaks most for the finding",
};
let latest = 0;
export const answers = []; // {name, images, unreadable, decisive, reply}: one per patient that is shown

// All images if the user says so; else those whose DICOM headers name the same patient.
function grouped(entries) {
  if (byId("together").querySelector("input").checked) return entries.length > 1 ? [entries] : [];
  const byPatient = Map.groupBy(entries.filter((entry) => entry.reply?.patient), (entry) => entry.reply.patient);
  return [...byPatient.values()].filter((group) => group.length > 1);
}

export function removePatients() {
  latest += 1;
  answers.length = 0;
  byId("patients").replaceChildren();
  byId("download-patients").hidden = true;
}

export async function showPatients(entries) {
  removePatients();
  const number = latest;
  byId("together").hidden = entries.length < 2;
  const groups = grouped(entries);
  for (const [index, group] of groups.entries()) {
    const card = byId("patient").content.firstElementChild.cloneNode(true);
    const name = groups.length > 1 ? `Patient ${index + 1} of ${groups.length}` : "One patient";
    const readable = group.filter((entry) => entry.reply);
    const images = readable.length === group.length ? `${group.length}` : `${readable.length} of ${group.length}`;
    write(card.querySelector("h2"), `${name}: prediction from ${images} images`);
    let reply = null;
    try {
      if (!readable.length) throw new Refusal("No image of this patient could be read.");
      reply = await requestJson("api/patient", { images: readable.map((entry) => entry.reply.models) });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      write(card.querySelector(".problem"), error.message);
      card.querySelector(".problem").hidden = false;
    }
    if (number !== latest) return; // further images have come since
    byId("patients").append(card);
    if (!reply) continue;
    const decisive = readable[reply.contributions.indexOf(Math.max(...reply.contributions))].name;
    answers.push({ name, images: readable.length, unreadable: group.length - readable.length, decisive, reply });
    byId("download-patients").hidden = false;
    show(card, reply, readable, decisive, warnings(group), unread(group, entries));
    byId("status").append(` ${name}: prediction `, element("bdi", "", reply.prediction), `, ${confidence(reply)}.`);
  }
}

const names = (entries) => entries.map((entry) => entry.name).join(", ");

function warnings(group) {
  const texts = [];
  const patients = new Set(group.map((entry) => entry.reply?.patient).filter((name) => name?.startsWith("dicom-")));
  if (patients.size > 1) texts.push(`The DICOM headers name ${patients.size} different patients.`);
  const unlike = group.filter((entry) => entry.reply?.out_of_distribution);
  if (unlike.length) texts.push(`${unlike.length} of ${group.length} images are unlike the training images: ${names(unlike)}.`);
  return texts;
}

// Of a file that cannot be read nobody knows the patient, unless the user says so.
function unread(group, entries) {
  const files = entries.filter((entry) => !entry.reply);
  if (!files.length) return [];
  return [`Not read, ${group.includes(files[0]) ? "and left out" : "perhaps of this patient"}: ${names(files)}.`];
}

function show(card, reply, readable, decisive, texts, leftOut) {
  const part = (name) => card.querySelector(`.${name}`);
  const refer = Number(Boolean(reply.refer));
  const messages = [...texts, ...reply.messages.slice(0, refer), ...leftOut, ...reply.messages.slice(refer)];
  messages.push(`${METHODS[reply.method]}; ${decisive} contributes most.`);
  part("result").hidden = false;
  showResult(part, { ...reply, messages }, texts.length + refer);
  const order = readable.map((entry, index) => [entry, reply.contributions[index]]).sort(([, a], [, b]) => b - a);
  card.querySelector("summary").textContent = "Images, from the one that contributes most";
  part("images").append(...order.map(([entry]) => {
    const row = element("li");
    row.append(element("bdi", "", entry.name), `: ${entry.reply.prediction}, ${confidence(entry.reply)}`);
    return row;
  }));
  showModels(part, reply);
}
