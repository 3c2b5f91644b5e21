// The native half, or a sentence that says why it is not there and what to do.

/** The platforms that have a package of their own, in the words of napi-rs. */
const PLATFORMS = [
  "darwin-arm64",
  "darwin-x64",
  "linux-arm64-gnu",
  "linux-arm64-musl",
  "linux-x64-gnu",
  "linux-x64-musl",
  "win32-x64-msvc",
];

const NAME = "avatar-webrtc-streaming";

module.exports = load();

function load() {
  try {
    return require("../binding.js");
  } catch (cause) {
    throw explain(cause);
  }
}

function explain(cause) {
  const platform = platformName();
  if (!PLATFORMS.includes(platform)) {
    return failure(
      "ERR_UNSUPPORTED_PLATFORM",
      `${NAME} has no addon for ${platform}. It has one for ${PLATFORMS.join(", ")}. ` +
        "On another platform build it from its sources, which needs Rust: npm run build",
      cause,
    );
  }
  const broken = reasons(cause).find(({ message }) => !message.startsWith("Cannot find "));
  if (broken) {
    return failure(
      "ERR_ADDON_UNUSABLE",
      `the addon of ${NAME} for ${platform} cannot be loaded here: ${broken.message}. ` +
        "If it names a version of a system library (GLIBC_…), this system is older than the addon needs: " +
        "use a newer one. Otherwise install again: remove node_modules, then npm install",
      cause,
    );
  }
  const { version } = require("../package.json");
  return failure(
    "ERR_ADDON_MISSING",
    `the addon of ${NAME} for ${platform} is not installed. Type: npm install ${NAME}-${platform}@${version} ` +
      "(npm leaves it out with --omit=optional, with a lock file that another platform wrote, and when " +
      "node_modules comes from another platform). In a checkout of the sources type: npm run build",
    cause,
  );
}

function failure(code, message, cause) {
  return Object.assign(new Error(message, { cause }), { code });
}

/** The errors that led to `error`: napi-rs chains one for each place that it looked at. */
function reasons(error) {
  const chain = [];
  for (let reason = error; reason instanceof Error; reason = reason.cause) chain.push(reason);
  return chain;
}

/** This platform as napi-rs names it, with the C library where there are several. */
function platformName() {
  const { arch, platform } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  process.report.excludeNetwork = true; // it would look up the names of all connections
  const { glibcVersionRuntime } = process.report.getReport().header;
  return `${platform}-${arch}-${glibcVersionRuntime ? "gnu" : "musl"}`;
}
