/** Small helpers for elements, words and sizes. */

/** @param {string} id @returns {any} the element with this id */
export const $ = (id) => document.getElementById(id);

/** @param {string} name of a group of radio buttons @returns {string} the one that is chosen */
export const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

/**
 * @param {string} tag
 * @param {Record<string, any>} properties set on the element; `data` goes to its dataset, names with a dash become
 *   attributes
 * @param {...(Node | string)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(made.dataset, value);
    else if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** One of the page's drawings. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Tell it to those who listen instead of looking. @param {string} sentence */
export function announce(sentence) {
  $("announcer").textContent = sentence;
}

/** A sentence that stays until it is put away. @param {string} sentence @param {{bad?: boolean}} [options] */
export function notice(sentence, { bad = false } = {}) {
  const same = [...$("notices").children].find((old) => old.textContent === sentence);
  same?.remove();
  const close = element("button", { type: "button", className: "quiet square", "aria-label": "Put this message away" });
  close.append(icon("close"));
  const line = element("div", { className: bad ? "notice bad" : "notice" }, element("span", {}, sentence), close);
  close.addEventListener("click", () => line.remove());
  $("notices").append(line);
}

/** @param {number} bytes @returns {string} "9.2 MB" */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 10 && unit > 1 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** "1 picture", "3 pictures" */
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
