/**
 * The explorer: a document, its variables and a token; what the server says to them; the schema as text.
 * Keeps nothing: what is typed here is gone with the page. How it asks is `asking.js`.
 * @module
 */

import { fill, h } from "../elements/dom.js";
import { Subscription, ask } from "./asking.js";

/** Answers that are kept on the page. */
const KEPT_MAX = 200;
const EXAMPLE = `query Rooms {
  session { name roles expiresAt }
  rooms(mine: true) { rooms { id title seq } }
}

# subscription {
#   roomEvents(room: "lobby") {
#     seq type message { text }
#   }
# }
`;

/** @template {HTMLElement} E @param {string} id @param {new () => E} kind @returns {E} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`there is no ${id}`);
  return found;
}

const form = element("ask", HTMLFormElement);
const source = element("document", HTMLTextAreaElement);
const variables = element("variables", HTMLTextAreaElement);
const token = element("token", HTMLInputElement);
const run = element("run", HTMLButtonElement);
const state = element("state", HTMLParagraphElement);
const said = element("said", HTMLDivElement);
const clear = element("clear", HTMLButtonElement);
const schema = element("schema", HTMLDetailsElement);
const sdl = element("sdl", HTMLPreElement);
const find = element("find", HTMLInputElement);

/** @type {Subscription|null} */
let subscription = null;
let told = 0;

/** Whether the document, strings and comments aside, asks for a subscription. */
function subscribes() {
  const bare = source.value.replace(/"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*/g, " ");
  return /(?:^|\})\s*subscription\b/.test(bare);
}

function label() {
  run.textContent = subscription ? "Stop" : subscribes() ? "Subscribe" : "Run";
  run.classList.toggle("leads", !subscription);
}

/** @param {string} text @param {"" | "live" | "ended"} [is] */
function tell(text, is = "") {
  state.textContent = text;
  state.dataset.is = is;
}

/**
 * Put one answer at the end of what was said.
 * @param {string} title
 * @param {string} detail
 * @param {unknown} body
 * @param {{failed?: boolean, words?: string}} [more]
 */
function show(title, detail, body, { failed = false, words = "" } = {}) {
  const atEnd = said.scrollHeight - said.scrollTop - said.clientHeight < 24;
  said.querySelector(".empty")?.remove();
  const text = typeof body === "string" ? body : body === undefined ? "" : JSON.stringify(body, null, 2);
  said.append(
    h(
      "article",
      { class: failed ? "one failed" : "one", "aria-label": title },
      h("div", { class: "one-head" }, h("b", null, title), h("span", null, detail)),
      words && h("p", { class: "words" }, words),
      text && h("pre", null, text),
    ),
  );
  while (said.childElementCount > KEPT_MAX) said.firstElementChild?.remove();
  if (atEnd) said.scrollTop = said.scrollHeight;
  clear.hidden = false;
}

const now = () => new Date().toLocaleTimeString();

/** The variables, as an object. @returns {object|undefined|null} null for what is no JSON object */
function readVariables() {
  if (!variables.value.trim()) return undefined;
  try {
    const value = JSON.parse(variables.value);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {import("./asking.js").Asked} asked */
async function once(asked) {
  run.setAttribute("aria-busy", "true");
  tell("Asking");
  try {
    const { status, tookMs, body } = await ask(asked, token.value.trim());
    const isProblem = status >= 400 && body?.detail;
    const failed = status >= 400 || Boolean(body?.errors);
    show(`${status}`, `${Math.round(tookMs)} ms`, body, { failed, words: isProblem ? body.detail : "" });
    // On a phone the answer is below: say here that it has come.
    tell(status >= 400 ? "Refused" : failed ? "Answered, with errors" : "Answered", failed ? "ended" : "");
  } catch {
    show("No answer", now(), undefined, { failed: true, words: "The server could not be reached. Nothing was lost: try again." });
    tell("No answer", "ended");
  }
  run.removeAttribute("aria-busy");
}

/** @param {import("./asking.js").Asked} asked */
function follow(asked) {
  const begun = (subscription = new Subscription(asked, token.value.trim()));
  told = 0;
  tell("Connecting");
  begun.live = () => tell("Live", "live");
  begun.next = (payload) => {
    told += 1;
    tell(`Live, ${told} told`, "live");
    show(`next ${told}`, now(), payload, { failed: Boolean(payload.errors) });
  };
  begun.ended = ({ errors, code, reason }) => {
    subscription = null;
    label();
    if (errors) {
      show("error", now(), errors, { failed: true, words: errors[0]?.message ?? "" });
      tell("Ended", "ended");
    } else if (code) {
      show(`closed ${code}`, now(), undefined, { failed: true, words: reason || "The connection was lost." });
      tell("Ended", "ended");
    } else {
      tell(`Stopped, ${told} told`);
    }
  };
  label();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (subscription) {
    subscription.stop();
    return;
  }
  if (run.getAttribute("aria-busy")) return;
  const given = readVariables();
  variables.setAttribute("aria-invalid", String(given === null));
  if (given === null) {
    show("Not asked", now(), undefined, { failed: true, words: "The variables are not a JSON object." });
    variables.focus();
    return;
  }
  const asked = { query: source.value, ...(given === undefined ? {} : { variables: given }) };
  if (subscribes()) follow(asked);
  else void once(asked);
});

form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
source.addEventListener("input", label);
clear.addEventListener("click", () => {
  fill(said, h("p", { class: "empty" }, "What the server says will be here."));
  clear.hidden = true;
  said.focus();
});

// --- the schema ---

/** Each definition with what is said of it. @type {string[]} */
let definitions = [];

function showSchema() {
  const wanted = find.value.trim().toLowerCase();
  const shown = definitions.filter((one) => !wanted || one.toLowerCase().includes(wanted));
  const parts = shown.flatMap((one, index) => [index ? "\n\n" : "", ...coloured(one)]);
  fill(sdl, ...(parts.length ? parts : ["Nothing in the schema says that."]));
}

/** Descriptions quieter than what they describe. @param {string} text */
function coloured(text) {
  return text
    .split(/((?:^|\n)[ ]*"""[\s\S]*?""")/)
    .map((part) => (part.includes('"""') ? h("span", { class: "said-of" }, part) : part));
}

schema.addEventListener("toggle", async () => {
  if (!schema.open || definitions.length) return;
  sdl.textContent = "…";
  try {
    const answer = await fetch("/graphql/schema.graphql");
    // What stands there instead is no schema, and must not stay.
    if (!answer.ok) throw new Error(answer.statusText);
    const text = (await answer.text()).trim();
    // A definition begins at the margin; the blank lines within one do not.
    definitions = text.split(/\n\n(?=\S)/);
    showSchema();
  } catch {
    sdl.textContent = "The schema could not be read. Close this and open it again.";
  }
});
find.addEventListener("input", showSchema);

// --- its beginning ---

// A link may bring a query, as a GET of it would be asked; never a token.
const linked = new URLSearchParams(location.search);
source.value = linked.get("query") ?? EXAMPLE;
variables.value = linked.get("variables") ?? "";
if (/Mac|iPhone|iPad/.test(navigator.platform)) element("keys", HTMLSpanElement).firstElementChild?.replaceChildren("⌘");
label();
