// The dashboard's table of viewers: sorted, filtered, and of thousands only those rows that are in view.

import { element } from "../view/dom.js";
import {
  amount,
  bitrate,
  brief,
  filtered,
  inView,
  judged,
  lasting,
  sorted,
} from "./dashboard-data.js";

/** @typedef {import("./dashboard-data.js").Row} Row */
/** @typedef {import("./dashboard-data.js").Column} Column */

/**
 * @typedef {object} Heading
 * @property {Column} column
 * @property {string} label
 * @property {string} [about] what it means
 * @property {boolean} [isText] not a number: begins with the first of the alphabet when it is sorted by
 * @property {(row: Row) => string} write
 */

/** @type {Heading[]} the id, which comes before them, has a cell of its own kind */
const HEADINGS = [
  {
    column: "state",
    label: "State",
    about: "Of its media connection; with media only, its WebSocket is lost and is to come back",
    isText: true,
    write: ({ state }) => state,
  },
  { column: "since", label: "Here for", write: ({ since }) => lasting(since) },
  {
    column: "latency",
    label: "Latency",
    about: "From the capture of a picture to its being shown",
    write: ({ latency }) => brief(latency),
  },
  {
    column: "loss",
    label: "Loss",
    about: "Packets lost, before retransmission",
    write: ({ loss }) => amount(loss, "%", 1),
  },
  {
    column: "rtt",
    label: "RTT",
    about: "Round trip of a packet to the server and back",
    write: ({ rtt }) => brief(rtt),
  },
  {
    column: "fps",
    label: "fps",
    about: "Pictures shown in a second",
    write: ({ fps }) => amount(fps),
  },
  {
    column: "freezes",
    label: "Freezes",
    about: "Times that the picture stood still, since the connection began",
    write: ({ freezes }) => amount(freezes),
  },
  {
    column: "buffer",
    label: "Buffer",
    about: "What the jitter buffer delays the picture by",
    write: ({ buffer }) => brief(buffer),
  },
  {
    column: "skew",
    label: "Skew",
    about: "Lip-sync: positive where the sound comes after the picture",
    write: ({ skew }) => brief(skew),
  },
  {
    column: "bitrate",
    label: "Bitrate",
    about: "Received by the viewer",
    write: (row) => bitrate(row.bitrate),
  },
  { column: "codec", label: "Codec", isText: true, write: ({ codec }) => codec ?? "–" },
  {
    column: "path",
    label: "Path",
    about: "Kind of the viewer's ICE candidate in use, and its protocol",
    isText: true,
    write: ({ path }) => path ?? "–",
  },
  { column: "address", label: "Address", isText: true, write: ({ address }) => address || "–" },
];

/** Of a row, as in dashboard.css. */
const ROW_REM = 2.25;
/** Rows that are drawn beyond both ends of the view, so that scrolling finds them there. */
const SPARE = 5;
const COPIED_MS = 1500;

export class ViewerTable {
  /** @type {Row[]} */
  #rows = [];
  /** Those that match, in order. @type {Row[]} */
  #shown = [];
  /** @type {import("./dashboard-data.js").Order} the newest on top */
  #order = { column: "since", descending: false };
  /** Those that are drawn, by id. @type {Map<string, DrawnRow>} */
  #drawn = new Map();
  /** Of the row whose button the Tab key leads to; the arrows lead on from there. */
  #standing = "";
  #above = spacer();
  #below = spacer();
  #body = element("rows");
  #scroller = element("scroller");
  #filter = element("filter", HTMLInputElement);
  #troubled = element("troubled", HTMLInputElement);

  constructor() {
    const id = { column: /** @type {const} */ ("id"), label: "Viewer", isText: true };
    element("columns").append(...[id, ...HEADINGS].map((heading) => this.#heading(heading)));
    this.#body.append(this.#above, this.#below);
    this.#scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.#scroller);
    for (const control of [this.#filter, this.#troubled]) {
      control.addEventListener("input", () => {
        this.#arrange();
        this.#scroller.scrollTop = 0;
        tell(`${this.#matches()} viewers`);
      });
    }
    this.#body.addEventListener("click", ({ target }) => {
      const button = target instanceof Element ? target.closest("button") : null;
      if (button) void copy(button, idAt(button));
    });
    this.#body.addEventListener("focusin", ({ target }) => {
      this.#standing = idAt(target);
      this.#showStanding();
    });
    this.#body.addEventListener("keydown", (event) => {
      const row = this.#drawn.get(this.#standing)?.element;
      const { key } = event;
      const next = key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
      if (key !== "ArrowDown" && key !== "ArrowUp") return;
      event.preventDefault();
      next?.querySelector("button")?.focus();
    });
    this.#showOrder();
  }

  /** @param {Row[]} rows in the place of those before */
  show(rows) {
    this.#rows = rows;
    this.#arrange();
  }

  #arrange() {
    const matching = filtered(this.#rows, this.#filter.value, this.#troubled.checked);
    this.#shown = sorted(matching, this.#order);
    element("matches").textContent = this.#matches();
    element("empty").hidden = this.#shown.length > 0;
    element("empty").textContent =
      this.#rows.length === 0 ? "No viewers." : "No viewer matches the filter.";
    element("viewers").setAttribute("aria-rowcount", String(this.#shown.length + 1));
    this.#draw();
  }

  #matches() {
    const [shown, all] = [this.#shown.length, this.#rows.length];
    return shown === all ? `${all}` : `${shown} of ${all}`;
  }

  /** Draws the rows in view. What is in the document already is kept, and changed only where it differs. */
  #draw() {
    const rowHeight =
      ROW_REM * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const { scrollTop: top, clientHeight: height } = this.#scroller;
    const count = this.#shown.length;
    const { first, end } = inView({ top, height, rowHeight, count, spare: SPARE });
    const rows = this.#shown.slice(first, end);
    const focused = idAt(document.activeElement);
    const wanted = new Set(rows.map(({ id }) => id));
    /** Those that leave, to become others. */
    const free = [];
    for (const [id, row] of this.#drawn) {
      if (wanted.has(id)) continue;
      free.push(row);
      this.#drawn.delete(id);
    }
    let previous = this.#above;
    for (const [n, row] of rows.entries()) {
      const drawn = this.#drawn.get(row.id) ?? free.shift() ?? new DrawnRow();
      this.#drawn.set(row.id, drawn);
      drawn.update(row, first + n);
      if (previous.nextElementSibling !== drawn.element) previous.after(drawn.element);
      previous = drawn.element;
    }
    for (const { element } of free) element.remove();
    this.#above.style.height = `${first * rowHeight}px`;
    this.#below.style.height = `${(count - end) * rowHeight}px`;
    this.#showStanding();
    // Who stands on a row goes with it where it is moved to, and stays at the table when it is gone.
    const row = this.#drawn.get(focused);
    if (row && !row.element.contains(document.activeElement)) row.focus();
    else if (focused && !row) this.#scroller.focus({ preventScroll: true });
  }

  #showStanding() {
    const first = this.#above.nextElementSibling;
    const standing = this.#drawn.has(this.#standing) ? this.#standing : idAt(first);
    for (const [id, row] of this.#drawn) row.isStop = id === standing;
  }

  /** @param {Omit<Heading, "write">} heading */
  #heading({ column, label, about, isText = false }) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.dataset.column = column;
    cell.classList.toggle("number", !isText);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    if (about) button.title = about;
    button.addEventListener("click", () => {
      const isSame = this.#order.column === column;
      this.#order = { column, descending: isSame ? !this.#order.descending : !isText };
      this.#showOrder();
      this.#arrange();
      this.#scroller.scrollTop = 0;
    });
    cell.append(button);
    return cell;
  }

  #showOrder() {
    for (const cell of element("columns").children) {
      if (!(cell instanceof HTMLElement)) continue;
      if (cell.dataset.column !== this.#order.column) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", this.#order.descending ? "descending" : "ascending");
    }
  }
}

/** A row in the document: of one viewer as long as that is in view. */
class DrawnRow {
  element;
  #head;
  #id;
  #button;
  #cells;

  constructor() {
    const row = element("row", HTMLTemplateElement).content.firstElementChild?.cloneNode(true);
    if (!(row instanceof HTMLTableRowElement)) throw new Error("the template has no row");
    const [head] = row.cells;
    const [id, button] = [row.querySelector("span"), row.querySelector("button")];
    if (!head || !id || !button) throw new Error("the template's row is another one");
    this.element = row;
    this.#head = head;
    this.#id = id;
    this.#button = button;
    this.#cells = HEADINGS.map(({ column, isText = false }) => {
      const cell = row.insertCell();
      cell.dataset.column = column;
      cell.classList.toggle("number", !isText);
      const text = cell.appendChild(document.createTextNode(""));
      return { cell, text };
    });
  }

  /** Whether the Tab key stops here. @param {boolean} is */
  set isStop(is) {
    this.#button.tabIndex = is ? 0 : -1;
  }

  focus() {
    this.#button.focus({ preventScroll: true });
  }

  /** @param {Row} row @param {number} index among all that match */
  update(row, index) {
    if (this.element.dataset.id !== row.id) this.#become(row.id);
    const place = String(index + 2); // After the headings, and from 1.
    if (this.element.getAttribute("aria-rowindex") !== place)
      this.element.setAttribute("aria-rowindex", place);
    for (const [n, { column, write }] of HEADINGS.entries()) {
      const drawn = this.#cells[n];
      if (!drawn) continue;
      const { cell, text } = drawn;
      const [words, judgement] = [write(row), judged(row, column)];
      if (cell.dataset.judged !== judgement) cell.dataset.judged = judgement;
      if (text.data === words) continue;
      text.data = words;
      if (column === "address") cell.title = words; // Those of IPv6 may be cut.
    }
  }

  /** @param {string} id */
  #become(id) {
    const short = id.slice(0, 8);
    this.element.dataset.id = id;
    this.#id.textContent = id; // The stylesheet cuts it; who selects and copies it gets all.
    this.#id.title = id;
    this.#head.setAttribute("aria-label", short);
    this.#button.setAttribute("aria-label", `Copy the id of ${short}`);
    this.#button.classList.remove("done");
  }
}

/** @param {HTMLButtonElement} button @param {string} id */
async function copy(button, id) {
  try {
    await navigator.clipboard.writeText(id);
    tell(`Copied ${id}.`);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), COPIED_MS);
  } catch {
    // Not a secure page, or not permitted: leave it selected for the user's own copy.
    const text = button.parentElement?.querySelector("span");
    if (text) getSelection()?.selectAllChildren(text);
    tell("Selected, to be copied with the keyboard.");
  }
}

/** The id of the row that something is part of, empty outside the rows. @param {EventTarget | null} target */
function idAt(target) {
  const row = target instanceof Element ? target.closest("tr") : null;
  return row?.dataset.id ?? "";
}

/** To those who listen to the page. @param {string} words */
function tell(words) {
  element("told").textContent = words;
}

/** Stands for the rows that are not drawn. */
function spacer() {
  const row = document.createElement("tr");
  row.className = "spacer";
  row.ariaHidden = "true";
  row.insertCell().colSpan = HEADINGS.length + 1;
  return row;
}
