// Small helpers. Every name is set as text, never as HTML.

export const byId = (id) => document.getElementById(id);
export const percent = (value) => `${(100 * value).toFixed(1)} %`;

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export const option = (value, text) => Object.assign(element("option", "", text ?? value), { value });

// Class names are long and have no spaces: they may be broken behind a dot, a dash or an underscore.
export function breakable(name) {
  const made = element("bdi");
  for (const part of name.split(/(?<=[._-])/)) made.append(part, element("wbr"));
  return made;
}
