/**
 * Building elements without markup: what is a string becomes text, never HTML.
 * @module
 */

/**
 * @typedef {Node|string|null|undefined|false} Child
 * @typedef {Record<string, unknown> & {on?: Record<string, (event: any) => void>}} Props `on` holds listeners; a function or
 *   object under any other name is set as a property, `true` is an empty attribute, `false` and null none
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Props|null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(/** @type {object} */ (value))) element.addEventListener(type, listener);
    } else if (typeof value === "function" || (typeof value === "object" && value !== null)) {
      /** @type {any} */ (element)[name] = value;
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  fill(element, ...children);
  return element;
}

/**
 * Replace what an element holds.
 * @template {Element} E
 * @param {E} element
 * @param {...Child} children
 * @returns {E}
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * The same where much of it is there already, which stays untouched: a button taken out between press and release is not
 * clicked, and loses the focus.
 * @param {Element} element
 * @param {Element[]} children
 */
export function settle(element, children) {
  const wanted = new Set(children);
  for (const child of [...element.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, i) => element.children[i] !== child && element.insertBefore(child, element.children[i] ?? null));
}

const SVG = "http://www.w3.org/2000/svg";
const SPRITE = new URL("./icons.svg", import.meta.url).pathname;

/** An icon says nothing by itself: its button has the label. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  return svg;
}

/**
 * @param {string} name of the icon
 * @param {string} label
 * @param {(event: MouseEvent) => void} act
 * @param {Props} [props]
 */
export function iconButton(name, label, act, props = {}) {
  const { class: more = "", on = {}, ...rest } = props;
  return h(
    "button",
    { type: "button", class: `icon-button ${more}`.trim(), "aria-label": label, title: label, ...rest, on: { ...on, click: act } },
    icon(name),
  );
}

/** A name or a title may run right to left inside a line that does not. @param {string} text */
export const bdi = (text) => h("bdi", null, text);
