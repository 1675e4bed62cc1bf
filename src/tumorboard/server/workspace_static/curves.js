// Loss and accuracy per epoch of each model, as charts, a sentence and a table.

import { element, table, tableRow, write } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [320, 180, 40, 8, 8, 24];
const [EPOCH, LOSS, ACCURACY, VALID_LOSS, VALID_ACCURACY] = [0, 1, 2, 3, 4]; // columns of a row
const HEAD = ["epoch", "loss, training", "loss, validation", "accuracy, training", "accuracy, validation"];
const ORDER = [EPOCH, LOSS, VALID_LOSS, ACCURACY, VALID_ACCURACY];

function shape(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function chart(title, rows, columns, top, digits) {
  const first = rows[0][EPOCH];
  const last = Math.max(rows.at(-1)[EPOCH], first + 1);
  const x = (epoch) => LEFT + ((epoch - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(value, top) / top) * (HEIGHT - TOP - BOTTOM);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }); // the table says the same
  for (const share of [0, 0.5, 1]) {
    const value = share * top;
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(digits)));
  }
  svg.append(shape("text", { x: LEFT, y: HEIGHT - 6 }, first));
  svg.append(shape("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, `epoch ${last}`));
  for (const [column, kind] of columns) {
    const points = rows.map((row) => [x(row[EPOCH]).toFixed(1), y(row[column]).toFixed(1)]);
    if (points.length > 1) svg.append(shape("polyline", { class: kind, points: points.join(" ") }));
    else svg.append(shape("circle", { class: kind, cx: points[0][0], cy: points[0][1], r: 3 }));
  }
  const figure = element("figure");
  figure.append(element("figcaption", "", title), svg);
  return figure;
}

// 1, 2 or 5 times a power of ten, not below any value.
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= value * (1 - 1e-9));
}

function sentence({ model, part, in_training: inTraining, rows }) {
  const [last, best] = [rows.at(-1), rows.reduce((a, b) => (b[VALID_ACCURACY] > a[VALID_ACCURACY] ? b : a))];
  const state = inTraining ? `epoch ${last[EPOCH]} is done` : `trained, ${last[EPOCH]} epochs`;
  return `${part ? `${part}, ` : ""}${model}: ${state}; accuracy ${last[ACCURACY].toFixed(2)} in training, `
    + `${last[VALID_ACCURACY].toFixed(2)} in validation (highest: ${best[VALID_ACCURACY].toFixed(2)}, epoch ${best[EPOCH]}).`;
}

function emptyArticle(name) {
  const box = element("div", "scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `Table of ${name}`);
  box.append(table(HEAD, []));
  const details = element("details");
  details.append(element("summary", "", `Table of ${name}`), box);
  const article = element("div", "curve");
  article.append(element("p"), element("div", "charts"), details);
  return article;
}

function fill(article, curve) {
  const { rows } = curve;
  const highest = roundedUp(Math.max(...rows.flatMap((row) => [row[LOSS], row[VALID_LOSS]])));
  const charts = element("div", "charts");
  charts.append(
    chart("Accuracy", rows, [[ACCURACY, "training"], [VALID_ACCURACY, "validation"]], 1, 1),
    chart("Loss", rows, [[LOSS, "training"], [VALID_LOSS, "validation"]], highest, highest < 1 ? 2 : 1),
  );
  article.querySelector(".charts").replaceWith(charts);
  write(article.querySelector("p"), sentence(curve));
  // Only the rows: whoever reads the table keeps the focus and the place in it.
  article.querySelector("tbody").replaceChildren(...rows.map((row) => tableRow(ORDER.map((column) => row[column]))));
}

// The latest model first; what has not changed stays, so that an open table stays open.
export function curvesIn(section) {
  const shown = new Map();
  return (curves) => {
    section.hidden = !curves.length;
    for (const curve of curves) {
      const key = `${curve.part}/${curve.model}`;
      const state = JSON.stringify(curve);
      if (!shown.has(key)) {
        const article = emptyArticle(curve.model);
        shown.set(key, { article, state: "" });
        section.querySelector(".models").prepend(article);
      }
      const entry = shown.get(key);
      if (entry.state !== state) fill(entry.article, curve);
      entry.state = state;
    }
    for (const [key, entry] of shown)
      if (!curves.some((curve) => `${curve.part}/${curve.model}` === key)) { entry.article.remove(); shown.delete(key); }
  };
}
