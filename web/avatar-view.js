// <avatar-view src="ws://host:8081" microphone controls>: the avatar in any page, in one line:
//
//   <script type="module" src="https://host:8081/avatar-view.js"></script>
//
// A page with a Content-Security-Policy allows it with `connect-src` (the signalling) and `script-src` (this file).

import { AvatarClient } from "./avatar-client.js";
import { SHEET } from "./view/avatar-view-style.js";
import { on, press, write } from "./view/dom.js";
import { Microphone } from "./view/microphone.js";
import { Presenter } from "./view/presenter.js";
import { explain } from "./view/problems.js";
import { PRESS_CONNECT } from "./view/state-words.js";
import { buildView } from "./view/view-parts.js";

/** The client's events, which are the element's as well. */
const EVENTS = [
  "state",
  "stream",
  "stats",
  "command",
  "cue",
  "interrupt",
  "message",
  "error",
  "log",
];
/** Another value of these is another connection. */
const ADDRESS = ["src", "token", "relay"];

// Where there is no DOM, on a server that renders pages, the module can be imported all the same.
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

/**
 * Attributes, each with a property of its name:
 * - `src`: where the server signals, `ws:` or `wss:` (or `http:`, `https:`, or relative to the page)
 * - `token`: what the application lets this viewer in with
 * - `relay`: media goes over TURN only
 * - `microphone`: there is a button for it
 * - `controls`: there are buttons to connect, for the sound, and for captions
 * - `state`: set by the element, for styles: the client's state
 *
 * It emits the events of its AvatarClient, which is its `client`. Connected as long as it is in a document; moved within
 * one step, it stays connected. For styles from outside: `::part(screen | video | poster | caption | notice | controls |
 * button)` and `--avatar-accent`.
 */
export class AvatarView extends Base {
  static observedAttributes = [...ADDRESS, "microphone", "controls"];

  #parts = buildView();
  #presenter = new Presenter({ ...this.#parts, unheard: this.#parts.playSound });
  /** @type {AvatarClient | null} */ #client = null;
  /** @type {Microphone | null} */ #microphone = null;
  #listening = new AbortController();
  /** Whether it has ever been in a document: its attributes are complete only then. */
  #wasConnected = false;
  #willOpen = false;

  constructor() {
    super();
    const { screen, microphone } = this.#parts;
    this.attachShadow({ mode: "open" }).append(screen);
    microphone.addEventListener("click", () => {
      this.#notice(null);
      if (this.#microphone?.isOn) this.#microphone.stop();
      else void this.#microphone?.start();
    });
  }

  /** The connection; null without a `src`, outside a document, and until the step ends that put it into one. */
  get client() {
    return this.#client;
  }

  get src() {
    return this.getAttribute("src") ?? "";
  }
  set src(value) {
    this.setAttribute("src", value);
  }

  get token() {
    return this.getAttribute("token") ?? "";
  }
  set token(value) {
    this.setAttribute("token", value);
  }

  get relay() {
    return this.hasAttribute("relay");
  }
  set relay(on) {
    this.toggleAttribute("relay", on);
  }

  get microphone() {
    return this.hasAttribute("microphone");
  }
  set microphone(on) {
    this.toggleAttribute("microphone", on);
  }

  get controls() {
    return this.hasAttribute("controls");
  }
  set controls(on) {
    this.toggleAttribute("controls", on);
  }

  connectedCallback() {
    // What was set on the element before this module was there hides the property of the class.
    for (const name of /** @type {const} */ (["src", "token", "relay", "microphone", "controls"])) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete (/** @type {any} */ (this)[name]);
      Object.assign(this, { [name]: value });
    }
    if (this.shadowRoot) this.shadowRoot.adoptedStyleSheets = SHEET.in(this.ownerDocument);
    this.#wasConnected = true;
    this.#openSoon();
    this.#show();
  }

  disconnectedCallback() {
    // An element that is moved is connected again within the same step: it keeps its connection.
    queueMicrotask(() => {
      if (!this.isConnected) this.#close();
    });
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (ADDRESS.includes(name) && this.#wasConnected) {
      this.#close();
      this.#openSoon();
    }
    if (name === "microphone" && !this.microphone) this.#microphone?.stop();
    this.#show();
  }

  /** Once, however many attributes a framework sets one after the other. */
  #openSoon() {
    if (this.#willOpen) return;
    this.#willOpen = true;
    queueMicrotask(() => {
      this.#willOpen = false;
      if (this.isConnected && !this.#client) this.#open();
      this.#show();
    });
  }

  #open() {
    if (!this.src) return;
    const client = new AvatarClient({
      url: socketAddress(this.src, this.ownerDocument.baseURI),
      ...(this.token && { token: this.token }),
      ...(this.relay && { iceTransportPolicy: "relay" }),
    });
    this.#client = client;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    this.#microphone = new Microphone((track) => client.setMicrophone(track));
    on(this.#microphone, "change", () => this.#show(), { signal });
    on(this.#microphone, "level", ({ level }) => this.#showLevel(level), { signal });
    on(this.#microphone, "problem", ({ problem }) => this.#notice(problem), { signal });
    this.#presenter.follow(client, this.#microphone, signal);
    on(client, "state", ({ state }) => this.setAttribute("state", state), { signal });
    for (const type of EVENTS) {
      const tell = (/** @type {unknown} */ detail) =>
        this.dispatchEvent(new CustomEvent(type, { detail }));
      on(client, type, tell, { signal });
    }
    client.connect();
  }

  #close() {
    const client = this.#client;
    if (!client) return;
    this.#microphone?.close();
    client.disconnect(); // Its last event is heard.
    this.#listening.abort();
    this.#client = null;
    this.#microphone = null;
    this.#notice(null);
  }

  #show() {
    const { connect, sound, captions, microphone, controls } = this.#parts;
    for (const button of [connect, sound, captions]) button.hidden = !this.controls;
    microphone.hidden = !this.microphone;
    controls.hidden = !this.controls && !this.microphone;
    press(microphone, this.#microphone?.isOn ?? false);
    if (!this.#microphone?.isOn) this.#showLevel(0);
    const hint = this.controls ? PRESS_CONNECT : "";
    this.#presenter.hint = this.src ? hint : "The element has no src.";
  }

  /** @param {number} level 0 to 1 */
  #showLevel(level) {
    this.#parts.microphone.style.setProperty("--level", level.toFixed(2));
  }

  /** @param {import("./view/problems.js").ProblemCode | null} code */
  #notice(code) {
    const explanation = explain(code);
    this.#parts.notice.hidden = !explanation;
    write(this.#parts.notice, explanation ? `${explanation.wrong} ${explanation.remedy}` : "");
  }
}

// The module may be there twice, from two addresses: the first one serves.
if (globalThis.customElements && !customElements.get("avatar-view"))
  customElements.define("avatar-view", AvatarView);

/**
 * @param {string} src
 * @param {string} base what it may be relative to
 */
function socketAddress(src, base) {
  try {
    const url = new URL(src, base);
    url.protocol = url.protocol.replace(/^http/, "ws");
    return url.href;
  } catch {
    return src; // The client says what is wrong with it.
  }
}
