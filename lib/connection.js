// What a bridge and the servers that it feeds ask of each other; nobody else has these names.

module.exports = {
  /** Of a bridge: its native half. */
  SOURCE: Symbol("source"),
  /** Of a bridge: tells it of a server that is connected from now on. */
  CONNECTED: Symbol("connected"),
  /** Of a bridge: whether an event reaches anybody there. */
  IS_HEARD: Symbol("is heard"),
  /** Of a server: connects a bridge. */
  CONNECT: Symbol("connect"),
};
