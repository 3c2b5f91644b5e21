// The reply: what to say to what was heard. A few rules in the manner of ELIZA, so that it needs no network; a language
// model takes its place by being another function of this shape.

/**
 * @callback Reply
 * @param {string} text what was said
 * @param {import("./dialogue.mjs").Line[]} history what was said before
 * @param {AbortSignal} [signal] somebody speaks: the answer is not wanted any more
 * @returns {Promise<string>} sentences; they are spoken one by one as they are ready
 */

/** @typedef {{ history: import("./dialogue.mjs").Line[], now: Date }} Context */

/** @type {[RegExp, (match: RegExpMatchArray, context: Context) => string][]} the first that matches answers */
const RULES = [
  [
    /\bmy name is (\w+)/,
    ([, name = ""]) => `Nice to meet you, ${capital(name)}. What shall we talk about?`,
  ],
  [
    /\b(what is|what's|do you know) my name\b/,
    (_, { history }) => {
      const name = nameIn(history);
      return name
        ? `You are ${name}. I remember that.`
        : "You have not told me. What is your name?";
    },
  ],
  [/\b(your name|who are you)\b/, () => "I am your avatar. I have no name of my own yet."],
  [/\bhow are you\b/, () => "I am fine, thank you. How are you?"],
  [/\b(what time|the time)\b/, (_, { now }) => `It is ${clock(now)}.`],
  [/\b(what day|which day|the date|today's date)\b/, (_, { now }) => `Today is ${date(now)}.`],
  [/\b(goodbye|good bye|bye|see you)\b/, () => "Goodbye. It was nice to talk to you."],
  [/\b(thanks|thank you)\b/, () => "You are welcome. Is there anything else?"],
  [
    /\b(hello|hi|hey|good (morning|afternoon|evening|day))\b/,
    (_, { now }) => `Good ${partOfDay(now)}. What would you like to talk about?`,
  ],
  [
    /\b(weather|rain|sunny|snow)\b/,
    () => "I cannot see the sky from here. What is the weather like where you are?",
  ],
  [
    /\bi (?:want|would like|need) (.+)/,
    ([, wish = ""]) => `You want ${mirror(wish)}. What would that give you?`,
  ],
  [
    /\bi (?:am|feel) (.+)/,
    ([, state = ""]) => `You are ${mirror(state)}. How long has that been so?`,
  ],
  [
    /\bi (?:like|love) (.+)/,
    ([, thing = ""]) => `You like ${mirror(thing)}. What do you like about it?`,
  ],
  [/\bbecause\b/, () => "I see. Is that the only reason?"],
  [/^(yes|yeah|sure)\b/, () => "Good. Tell me more about it."],
  [/^(no|nope|never)\b/, () => "I see. Why not?"],
  [
    /^(what|why|who|where|when|how|do|does|did|can|is|are)\b/,
    () => "That is a good question. I do not know the answer. What do you think?",
  ],
];

/** @type {Reply} */
export async function reply(text, history) {
  return replyAt(new Date(), text, history);
}

/**
 * The same at any time.
 * @param {Date} now
 * @param {string} text
 * @param {import("./dialogue.mjs").Line[]} history
 */
export function replyAt(now, text, history) {
  const said = simple(text);
  for (const [pattern, answer] of RULES) {
    const match = said.match(pattern);
    if (match) return answer(match, { history, now });
  }
  return `I heard: ${said}. Tell me more about that.`;
}

/** Recognisers differ in capitals and full stops. */
const simple = (/** @type {string} */ text) =>
  text
    .toLowerCase()
    .replaceAll("’", "'")
    .replace(/[^\p{L}\p{N}' ]+/gu, " ")
    .replace(/\s+/g, " ")
    .trim();

const capital = (/** @type {string} */ word) => word.charAt(0).toUpperCase() + word.slice(1);

/** @param {import("./dialogue.mjs").Line[]} history */
function nameIn(history) {
  for (const { role, text } of history.toReversed()) {
    const name = role === "user" && simple(text).match(/\bmy name is (\w+)/)?.[1];
    if (name) return capital(name);
  }
  return undefined;
}

/** @type {Record<string, string>} */
const MIRRORED = {
  i: "you",
  me: "you",
  my: "your",
  mine: "yours",
  am: "are",
  you: "me",
  your: "my",
  yours: "mine",
};

/** Turns what somebody says of themselves into what is said to them. */
const mirror = (/** @type {string} */ text) =>
  text
    .split(" ")
    .map((word) => MIRRORED[word] ?? word)
    .join(" ");

const clock = (/** @type {Date} */ now) =>
  now.toLocaleTimeString("en-US", { hour: "numeric", minute: "2-digit" });

const date = (/** @type {Date} */ now) =>
  now.toLocaleDateString("en-US", { weekday: "long", month: "long", day: "numeric" });

function partOfDay(/** @type {Date} */ now) {
  const hour = now.getHours();
  if (hour >= 5 && hour < 12) return "morning";
  return hour >= 12 && hour < 18 ? "afternoon" : "evening";
}
