// The look of <avatar-view>, as a constructed style sheet: pages whose policy forbids inline styles let it be.

const CSS = `
:host {
  --accent: var(--avatar-accent, #8d9bff);
  display: block;
  inline-size: 100%;
  aspect-ratio: 1;
  overflow: clip;
  border-radius: 1rem;
  background: #12161f;
  color: #f2f4fa;
  font: 0.9375rem / 1.45 system-ui, sans-serif;
  container-type: inline-size;
}
:host([hidden]),
[hidden] {
  display: none !important;
}
* {
  box-sizing: border-box;
  margin: 0;
}
.screen {
  position: relative;
  block-size: 100%;
}
video,
.poster {
  position: absolute;
  inset: 0;
  inline-size: 100%;
  block-size: 100%;
}
video {
  object-fit: contain;
}
.poster {
  display: flex;
  flex-direction: column;
  align-items: center;
  justify-content: center;
  gap: 0.375rem;
  padding: 1rem;
  text-align: center;
  text-wrap: balance;
  background: radial-gradient(circle at 50% 38%, rgb(38 45 64 / 88%), rgb(16 19 28 / 94%) 72%);
  transition: opacity 0.35s, visibility 0.35s;
}
.poster.gone {
  opacity: 0;
  visibility: hidden;
}
.poster.clear {
  background: rgb(16 19 28 / 78%);
}
.headline {
  max-inline-size: 30ch;
  font-size: 1.125em;
  font-weight: 600;
  line-height: 1.3;
}
.detail,
.retry {
  max-inline-size: 44ch;
  color: #c3cadb;
  overflow-wrap: anywhere;
}
.retry {
  min-block-size: 1.45em;
  font-variant-numeric: tabular-nums;
}
.over {
  position: absolute;
  inset: auto 0 0;
  display: flex;
  flex-direction: column;
  align-items: center;
  gap: 0.625rem;
  max-block-size: 100%;
  padding: clamp(0.5rem, 3cqi, 1.25rem);
  pointer-events: none;
}
.over > :not(.captions) {
  pointer-events: auto;
}
.captions {
  max-inline-size: min(100%, 34ch);
  overflow: hidden;
  font-size: clamp(0.9375rem, 3.6cqi, 1.375rem);
  font-weight: 550;
  line-height: 1.6;
  text-align: center;
  overflow-wrap: anywhere;
  text-wrap: balance;
}
.caption {
  display: inline;
  padding: 0.1em 0.5em;
  border-radius: 0.375em;
  -webkit-box-decoration-break: clone;
  box-decoration-break: clone;
  background: rgb(8 10 16 / 82%);
  color: #fff;
  white-space: pre-line;
}
.notice {
  padding: 0.25rem 0.75rem;
  border-radius: 0.5rem;
  text-align: center;
  text-wrap: balance;
  background: #35191d;
  color: #ff9a9e;
  font-size: 0.875rem;
  font-weight: 550;
}
.announcement {
  position: absolute;
  inline-size: 1px;
  block-size: 1px;
  overflow: hidden;
  clip-path: inset(50%);
}
.controls {
  display: flex;
  flex-wrap: wrap;
  justify-content: center;
  gap: 0.5rem;
}
button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 0.5rem;
  min-inline-size: 2.75rem;
  min-block-size: 2.75rem;
  padding: 0;
  border: 1px solid rgb(255 255 255 / 22%);
  border-radius: 99px;
  background: rgb(14 17 26 / 82%);
  color: #fff;
  font: inherit;
  font-weight: 600;
  cursor: pointer;
}
button:hover {
  background: rgb(44 51 72 / 94%);
}
button:focus-visible {
  outline: 3px solid #fff;
  outline-offset: 2px;
}
.connect,
.play-sound {
  padding-inline: 1rem;
}
.toggle[aria-pressed="true"] {
  border-color: var(--accent);
  color: var(--accent);
}
.toggle[aria-pressed="true"] .slash,
.toggle[aria-pressed="false"] .waves {
  display: none;
}
.microphone {
  box-shadow: 0 0 0 calc(var(--level, 0) * 0.5rem) color-mix(in srgb, var(--accent) 45%, transparent);
}
svg {
  inline-size: 1.25rem;
  block-size: 1.25rem;
  fill: currentcolor;
}
.stroke {
  fill: none;
  stroke: currentcolor;
  stroke-width: 2;
  stroke-linecap: round;
}
@container (max-width: 15rem) {
  .detail {
    display: none;
  }
}
@media (prefers-reduced-motion: reduce) {
  * {
    transition: none !important;
  }
}
`;

/** One sheet for each document: it does not serve in another one, such as that of a picture-in-picture window. */
class Sheet {
  /** @type {WeakMap<Document, CSSStyleSheet>} */ #made = new WeakMap();

  /** @param {Document} document @returns {CSSStyleSheet[]} none where there is no window to show it in */
  in(document) {
    const view = document.defaultView;
    if (!view) return [];
    const sheet = this.#made.get(document) ?? new view.CSSStyleSheet();
    if (!this.#made.has(document)) sheet.replaceSync(CSS);
    this.#made.set(document, sheet);
    return [sheet];
  }
}

export const SHEET = new Sheet();
