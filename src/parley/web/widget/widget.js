/**
 * What a site puts on its pages: `<script src=".../widget.js" async></script>`. It draws a launcher, and frames
 * `/widget` once the visitor opens it; before that it asks for nothing and keeps nothing. The conversation is the frame's.
 *
 * Attributes: `data-accent`, `data-position` (`start`), `data-title`, `data-greeting`, `data-department`, `data-lang`,
 * `data-theme` (`light`, `dark`). For scripts: `window.parley` with `open()`, `close()`, `identify(jwt)`, `on(name, listener)`;
 * names are `open`, `close`, `unread` (a number), `start` (the conversation's id), `identify` (null, or why it was refused).
 */

(() => {
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const page = /** @type {any} */ (window);
  if (!script || page.parley?.isWidget) return;

  const { origin } = new URL(script.src);
  const given = { ...script.dataset };
  const lang = (given.lang || document.documentElement.lang || navigator.language || "en").slice(0, 2).toLowerCase();
  /** @type {Record<string, [string, string, string]>} */
  const words = {
    en: ["Open the chat", "Close the chat", "Chat"],
    de: ["Chat öffnen", "Chat schließen", "Chat"],
    ar: ["افتح الدردشة", "أغلق الدردشة", "دردشة"],
  };
  const [opening, closing, name] = words[lang] ?? words.en;

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial !important; --a: oklch(0.455 0.082 192); }
    button, iframe { position: fixed; z-index: 2147483000; inset-inline-end: 20px; border: 0; }
    .start button, .start iframe { inset-inline: 20px auto; }
    button { inset-block-end: 20px; inline-size: 56px; block-size: 56px; padding: 0; border-radius: 50%; cursor: pointer;
      display: grid; place-items: center; background: var(--a); color: oklch(from var(--a) clamp(0, (0.66 - l) * 1000, 1) 0 0);
      box-shadow: 0 1px 3px rgb(0 0 0 / 20%), 0 6px 20px rgb(0 0 0 / 20%); }
    button:focus-visible { outline: 3px solid var(--a); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
    svg { inline-size: 26px; block-size: 26px; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round;
      stroke-linejoin: round; }
    span { position: absolute; inset-block-start: -3px; inset-inline-end: -3px; min-inline-size: 20px; padding: 0 5px;
      box-sizing: border-box; border-radius: 10px; background: #b3261e; color: #fff; font: 600 12px/20px system-ui, sans-serif;
      text-align: center; }
    iframe { inset-block-end: 88px; inline-size: 380px; block-size: min(620px, calc(100dvh - 108px)); border-radius: 14px;
      color-scheme: light dark; box-shadow: 0 2px 6px rgb(0 0 0 / 12%), 0 12px 40px rgb(0 0 0 / 24%); }
    iframe:not([hidden]) { animation: rise 140ms ease-out; }
    @keyframes rise { from { opacity: 0; transform: translateY(8px); } }
    @media (prefers-reduced-motion: reduce) { iframe:not([hidden]) { animation: none; } }
    @media (max-width: 479px), (max-height: 479px) {
      iframe, .start iframe { inset: 0; inline-size: 100%; block-size: 100dvh; border-radius: 0; }
      .open button { display: none; }
    }
    [hidden] { display: none; }
  `);
  if (given.accent && CSS.supports("color", given.accent)) sheet.insertRule(`:host { --a: ${given.accent} }`, 1);

  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet];
  const frame = document.createElement("div");
  frame.dir = lang === "ar" ? "rtl" : getComputedStyle(document.documentElement).direction;
  if (given.position === "start") frame.classList.add("start");
  const button = document.createElement("button");
  button.type = "button";
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  picture.append(path);
  const badge = document.createElement("span");
  badge.hidden = true;
  button.append(picture, badge);
  frame.append(button);
  root.append(frame);

  /** @type {HTMLIFrameElement|null} */
  let panel = null;
  let isOpen = false;
  let isReady = false;
  /** @type {string|null} */
  let identity = null;
  /** @type {Map<string, Set<(value: any) => void>>} */
  const listeners = new Map();

  /** @param {string} kind @param {unknown} [value] */
  const emit = (kind, value) => listeners.get(kind)?.forEach((listener) => listener(value));
  /** @param {string} kind @param {unknown} [value] */
  const tell = (kind, value) => isReady && panel?.contentWindow?.postMessage({ parley: kind, value }, origin);

  /** @param {number} [unread] */
  function draw(unread = 0) {
    path.setAttribute("d", isOpen ? "M6 6l12 12M18 6L6 18" : "M4 5.5h16v11h-9l-4.5 3.5v-3.5H4z");
    badge.hidden = unread === 0 || isOpen;
    badge.textContent = String(unread);
    button.setAttribute("aria-label", isOpen ? closing : unread ? `${opening} (${unread})` : opening);
    button.setAttribute("aria-expanded", String(isOpen));
    frame.classList.toggle("open", isOpen);
    if (panel) panel.hidden = !isOpen;
  }

  function open() {
    if (isOpen) return;
    isOpen = true;
    if (!panel) {
      panel = document.createElement("iframe");
      panel.title = given.title || name;
      // After the `#`: what is said there reaches no server and no log. The page's query may hold secrets, so it is left out.
      const said = new URLSearchParams({ ...given, lang, page: location.origin + location.pathname });
      panel.src = `${origin}/widget#${said}`;
      frame.prepend(panel);
    }
    draw();
    panel.focus();
    tell("open");
    emit("open");
  }

  function close() {
    if (!isOpen) return;
    isOpen = false;
    draw();
    button.focus();
    tell("close");
    emit("close");
  }

  addEventListener("message", ({ source, origin: from, data }) => {
    if (!panel || source !== panel.contentWindow || from !== origin || typeof data?.parley !== "string") return;
    if (data.parley === "ready") {
      isReady = true;
      if (identity) tell("identify", identity);
      tell(isOpen ? "open" : "close");
    } else if (data.parley === "close") {
      close();
    } else if (data.parley === "unread") {
      draw(data.value);
      emit("unread", data.value);
    } else if (data.parley === "start" || data.parley === "identify") {
      emit(data.parley, data.value);
    }
  });

  button.addEventListener("click", () => (isOpen ? close() : open()));
  draw();
  page.parley = {
    isWidget: true,
    open,
    close,
    /** @param {string} jwt */
    identify(jwt) {
      identity = jwt;
      tell("identify", jwt);
    },
    /** @param {string} kind @param {(value: any) => void} listener */
    on(kind, listener) {
      listeners.set(kind, (listeners.get(kind) ?? new Set()).add(listener));
      return () => void listeners.get(kind)?.delete(listener);
    },
  };
  if (document.body) document.body.append(host);
  else addEventListener("DOMContentLoaded", () => document.body.append(host));
})();
