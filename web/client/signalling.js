// One WebSocket to the server: JSON messages in both directions, and why it ended. Knows no DOM, no media, and nothing of
// the WebSocket before or after it.

/** The port that `createStreamingSystem` signals on unless told otherwise. */
const DEFAULT_PORT = 8081;
/** The close code of a WebSocket that broke, or never opened (RFC 6455, 7.1.5). */
const ABNORMAL = 1006;

/**
 * The signalling address for a page: `?server=` (`ws://host:port` or `host:port`), else the page's own
 * folder when the signalling server served it, else port 8081 of the same host.
 * @param {string} page the page's address
 * @param {boolean} servedBySignalling
 * @returns {string} a ws: or wss: URL
 */
export function signallingUrl(page, servedBySignalling) {
  const url = new URL(page);
  const scheme = url.protocol === "https:" ? "wss:" : "ws:";
  const given = url.searchParams.get("server")?.trim();
  if (given) {
    return /^[a-z]+:\/\//i.test(given) ? given.replace(/^http/i, "ws") : `${scheme}//${given}`;
  }
  if (servedBySignalling) return `${scheme}//${url.host}${new URL(".", url).pathname}`;
  return `${scheme}//${url.hostname || "localhost"}:${DEFAULT_PORT}/`;
}

/**
 * The address of one WebSocket.
 * @param {string} server a ws: or wss: URL
 * @param {{token?: string | undefined, resume: string}} options `resume`: the token of the peer to be again, or empty
 * @returns {string}
 */
export function socketUrl(server, { token, resume }) {
  const url = new URL(server);
  if (token !== undefined) url.searchParams.set("token", token);
  url.searchParams.set("resume", resume);
  return url.href;
}

/**
 * @typedef {object} Listener
 * @property {(message: any) => void} message a JSON object
 * @property {(end: End) => void} closed called at most once, and never after `abandon()` or `close()`
 * @property {(text: string) => void} warn
 */

/**
 * How a WebSocket ended.
 * @typedef {object} End
 * @property {number} code of its close frame, 1006 without one
 * @property {string} reason in words
 * @property {string} said the server's own words in its close frame, of at most 123 bytes; or nothing
 * @property {boolean} isBroken without a close frame: the server may not have noticed
 * @property {boolean} wasOpen false if the server was never reached
 */

export class Signalling {
  /** @type {WebSocket} */ #socket;
  #listening = new AbortController();
  #wasOpen = false;

  /**
   * @param {string} url
   * @param {Listener} listener
   * @throws for an address that no WebSocket can have
   */
  constructor(url, listener) {
    const { signal } = this.#listening;
    this.#socket = new WebSocket(url);
    this.#socket.addEventListener("open", () => this.#opened(), { signal });
    this.#socket.addEventListener(
      "message",
      ({ data }) => {
        this.#opened();
        const message = parse(data);
        if (message?.type === "ping") return this.send({ type: "pong" });
        if (message) listener.message(message);
        else listener.warn("The server sent something that is not a JSON object.");
      },
      { signal },
    );
    this.#socket.addEventListener(
      "close",
      (event) => {
        this.#listening.abort();
        listener.closed(endOf(event, this.#wasOpen));
      },
      { signal },
    );
  }

  /** Whether a close frame would go to the server. */
  get isOpen() {
    return this.#wasOpen && this.#socket.readyState === WebSocket.OPEN;
  }

  /**
   * @param {object} message
   * @returns {boolean} false when it is not open, and nothing was sent
   */
  send(message) {
    if (this.#listening.signal.aborted || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /**
   * Hears it no more, without a word to the server: a close frame that arrives late would end the peer that the next
   * WebSocket takes over. `close()` it once that one is there.
   * @returns {boolean} whether there is anything to be closed later
   */
  abandon() {
    this.#listening.abort();
    // One that never opened has no peer, and browsers open one at a time.
    if (!this.#wasOpen) this.#socket.close();
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Ends it properly, which ends the peer. */
  close() {
    this.#listening.abort();
    this.#socket.close();
  }

  #opened() {
    this.#wasOpen = true;
  }
}

/** @param {unknown} text @returns {any} the JSON object in it, or null */
export function parse(text) {
  try {
    const value = JSON.parse(String(text));
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** @param {CloseEvent} event @param {boolean} wasOpen @returns {End} */
function endOf({ code, reason }, wasOpen) {
  const isBroken = code === ABNORMAL;
  const words = () => {
    if (reason) return `the server closed the connection (${reason})`;
    if (!isBroken) return "the server closed the connection";
    return wasOpen ? "the connection to the server broke" : "the server cannot be reached";
  };
  return { code, reason: words(), said: reason.trim(), isBroken, wasOpen };
}
