// What both classes share: EventEmitters that know who listens, and whose listeners may throw.

const { EventEmitter } = require("node:events");

/** Called on an emitter after each change of its listeners. */
const LISTENERS_CHANGED = Symbol("listeners changed");

/** How an emitter signs what it logs. */
const LABEL = Symbol("label");

/**
 * An EventEmitter that is told of each change of its listeners. Not by `newListener` and `removeListener`, which
 * `removeAllListeners` takes away. `once` and its like end up here as well.
 */
class TypedEmitter extends EventEmitter {
  on(event, listener) {
    super.on(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  addListener(event, listener) {
    return this.on(event, listener);
  }

  prependListener(event, listener) {
    super.prependListener(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  removeListener(event, listener) {
    super.removeListener(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  off(event, listener) {
    return this.removeListener(event, listener);
  }

  removeAllListeners(...event) {
    super.removeAllListeners(...event);
    this[LISTENERS_CHANGED]();
    return this;
  }
}

/** Emits; a listener that throws is reported and never reaches the engine. */
function emit(emitter, event, ...payload) {
  try {
    emitter.emit(event, ...payload);
  } catch (error) {
    console.error(`${emitter[LABEL]} a listener of "${event}" threw:`, error);
  }
}

/** To who listens to `warning`, or else to the console. */
function warn(emitter, text) {
  if (emitter.listenerCount("warning") > 0) emit(emitter, "warning", text);
  else console.warn(`${emitter[LABEL]} ${text}`);
}

/** An `error` that nobody listens to would end the process: the log gets it instead. */
function fail(emitter, error) {
  if (emitter.listenerCount("error") > 0) emit(emitter, "error", error);
  else console.error(`${emitter[LABEL]} ${error.message}`);
}

module.exports = { LABEL, LISTENERS_CHANGED, TypedEmitter, emit, fail, warn };
