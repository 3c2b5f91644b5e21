/**
 * Options that need no network and disturb nobody else.
 * @type {import("avatar-webrtc-streaming").WebRTCConfig}
 */
export const loopback = {
  signalingPort: 0,
  signalingHost: "127.0.0.1",
  listenIps: ["127.0.0.1"],
  iceServers: [],
};
