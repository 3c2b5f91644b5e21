// The RTP timestamp of a picture is the time of its push, by the Unix clock, in 32 bits of 90 kHz (RFC 6184).

const TICKS_PER_MS = 90;

/**
 * @param {number} rtpTimestamp
 * @param {number} unixMs
 * @returns {number} ms from the push of the picture to then
 */
export function sincePush(rtpTimestamp, unixMs) {
  const period = 2 ** 32;
  const ticks = (((unixMs * TICKS_PER_MS - rtpTimestamp) % period) + period) % period;
  // A clock that is read to the millisecond may put the push a little after what followed from it.
  return (ticks > period / 2 ? ticks - period : ticks) / TICKS_PER_MS;
}
