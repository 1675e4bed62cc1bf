// Helpers to build the page. Every name is set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

// Whole percent; what is not quite 0 or 1 is not rounded to it.
export function percent(value) {
  if (value > 0 && value < 0.01) return "<1%";
  if (value > 0.99 && value < 1) return ">99%";
  return `${(100 * value).toFixed(0)}%`;
}

export function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) write(node, text);
  return node;
}

// A name written from right to left gets an element of its own: it would take in the number behind it.
const RIGHT = "[\\u0590-\\u08ff\\ufb1d-\\ufdff\\ufe70-\\ufefc]";
const RIGHT_TO_LEFT = new RegExp(`(${RIGHT}(?:[^A-Za-z(),;:]*${RIGHT})?)`);
export function write(node, text) {
  const parts = String(text).split(RIGHT_TO_LEFT);
  node.replaceChildren(...parts.map((part, index) => (index % 2 ? ownDirection(part) : part)));
}

function ownDirection(text) {
  const node = document.createElement("bdi");
  node.textContent = text;
  return node;
}

// A row of a table. Its headers are all cells with the scope "col", and the first one with "row".
export function tableRow(cells, scope = "") {
  const row = element("tr");
  row.append(...cells.map((content, index) => {
    const header = scope === "col" || (scope === "row" && index === 0);
    const cell = element(header ? "th" : "td", typeof content === "number" ? "number" : "");
    if (header) cell.scope = scope;
    if (content instanceof Node) cell.append(content);
    else write(cell, content);
    return cell;
  }));
  return row;
}

export function table(head, rows) {
  const [node, header, body] = ["table", "thead", "tbody"].map((name) => element(name));
  header.append(tableRow(head, "col"));
  body.append(...rows);
  node.append(header, body);
  return node;
}

export const option = (value, text) => Object.assign(element("option", "", text ?? value), { value });

// Class names are long and have no spaces: they may be broken behind a dot, a dash or an underscore.
export function breakable(name) {
  const node = element("bdi");
  for (const part of name.split(/(?<=[._-])/)) node.append(part, element("wbr"));
  return node;
}
