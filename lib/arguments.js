// What callers may pass, anything at all, made into what the native half takes.

const { types } = require("node:util");

const NO_FIELDS = Object.freeze({});

/** The fields of a pushed object; those of something that has none, or that throws, are undefined. */
function fields(media) {
  try {
    const { data, width, height, sampleRate, channels, timestamp, format } = media;
    return { data, width, height, sampleRate, channels, timestamp, format };
  } catch {
    return NO_FIELDS;
  }
}

/** The bytes of a Buffer, of any other view or of an ArrayBuffer; null for all else, detached ones too. */
function bytes(data) {
  try {
    if (ArrayBuffer.isView(data)) {
      const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      // Another thread may write to shared memory while we read it: read a copy.
      return types.isSharedArrayBuffer(data.buffer) ? view.slice() : view;
    }
    return types.isArrayBuffer(data) ? new Uint8Array(data) : null;
  } catch {
    return null;
  }
}

function number(value) {
  return typeof value === "number" ? value : Number.NaN;
}

/** A format that is no string gets a name that no format has. */
function name(format, missing) {
  return typeof format === "string" ? format : format == null ? missing : "";
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` as JSON text that loses nothing silently. */
function json(option, value) {
  try {
    return JSON.stringify(value, describe) ?? "null";
  } catch (error) {
    throw invalid(option, "something that JSON can carry", value, error);
  }
}

/** What JSON would turn into null or leave out becomes a text that says what it was. */
function describe(_key, value) {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "string":
      return value.toWellFormed();
    case "bigint":
      return `${value}n`;
    case "symbol":
      return String(value);
    case "function":
      return `function ${value.name || "(anonymous)"}`;
    default:
      return value;
  }
}

/** A native object made with the options under `option`; its complaint about one of them is a TypeError. */
function construct(Native, option, config, ...more) {
  const text = json(option, config);
  try {
    return new Native(text, ...more);
  } catch (error) {
    throw coded(new TypeError(error.message), error.code);
  }
}

function invalid(option, expected, received, cause) {
  const kind = received === null ? "null" : Array.isArray(received) ? "an array" : typeof received;
  const shown = kind === "string" ? JSON.stringify(received) : kind;
  const message = `invalid value for \`${option}\`: expected ${expected}, received ${shown}`;
  return coded(new TypeError(message, { cause }), "ERR_INVALID_ARG_VALUE");
}

function coded(error, code) {
  return Object.assign(error, { code });
}

module.exports = { bytes, coded, construct, fields, invalid, isObject, json, name, number };
