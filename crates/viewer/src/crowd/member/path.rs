//! From the first check to the keys, and the good-bye.

use super::Member;
use super::REPORT_INTERVAL;
use super::Shared;
use super::elapsed_ms;
use crate::crowd::dtls::Handshake;
use crate::crowd::ice::IceEvent;
use crate::crowd::ice::Outgoing;
use crate::crowd::srtp::Srtp;
use crate::is_dtls_alert;
use std::net::SocketAddr;
use std::time::Instant;

impl Member {
    pub(super) fn on_ice(
        &mut self,
        now: Instant,
        event: Option<IceEvent>,
        shared: &Shared,
        out: &mut Vec<Outgoing>,
    ) {
        match event {
            None => {}
            Some(IceEvent::Failed) => self.fail("ICE found no way, or lost it".to_owned()),
            Some(IceEvent::Selected(remote)) => {
                self.path = Some(remote);
                self.times
                    .ice_ms
                    .get_or_insert(elapsed_ms(self.started, now));
                if self.handshake.is_none() && self.srtp.is_none() {
                    self.begin_handshake(now, shared, out);
                }
            }
        }
    }

    pub(super) fn begin_handshake(
        &mut self,
        now: Instant,
        shared: &Shared,
        out: &mut Vec<Outgoing>,
    ) {
        let fingerprint = self.remote.fingerprint.clone();
        match Handshake::begin(now, &shared.identity, fingerprint, self.remote.begins_dtls) {
            Ok(handshake) => self.handshake = Some(handshake),
            Err(error) => self.fail(format!("DTLS: {error}")),
        }
        self.flush_handshake(out);
    }

    pub(super) fn on_dtls(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        shared: &Shared,
        out: &mut Vec<Outgoing>,
    ) {
        // A client may begin before we know that its pair is selected.
        let may_begin = self.remote.begins_dtls && self.ice.knows(from);
        if self.handshake.is_none() && self.srtp.is_none() && may_begin {
            self.path = Some(from);
            self.begin_handshake(now, shared, out);
        }
        let Some(handshake) = &mut self.handshake else {
            if self.srtp.is_some() && is_dtls_alert(datagram) {
                self.fail("the server said good-bye".to_owned());
            } else if self.srtp.is_some() {
                // It repeats its flight: our last one was lost (RFC 6347, 4.2.4).
                out.extend(
                    self.last_flight
                        .iter()
                        .map(|(to, datagram)| (*to, datagram.clone())),
                );
            }
            return;
        };
        let handled = handshake.handle(now, datagram);
        self.flush_handshake(out);
        match handled {
            Ok(true) => self.on_connected(now, shared),
            Ok(false) => {}
            // A datagram that makes no sense is no reason to end (RFC 6347, 4.1.2.7); without an end the
            // deadline passes.
            Err(error) => tracing::debug!(viewer = self.role.id, %error, "DTLS"),
        }
    }

    pub(super) fn on_connected(&mut self, now: Instant, shared: &Shared) {
        let Some(handshake) = self.handshake.take() else {
            return;
        };
        let crypto = shared.identity.crypto.crypto();
        let keyed = handshake.finish(now).and_then(|association| {
            let srtp = Srtp::new(&association.keys, crypto)?;
            Ok((srtp, association.good_bye))
        });
        match keyed {
            Ok((srtp, good_bye)) => {
                self.srtp = Some(srtp);
                self.good_bye = good_bye;
                self.times.dtls_ms = Some(elapsed_ms(self.started, now));
                self.next_report = Some(now + REPORT_INTERVAL);
            }
            Err(error) => self.fail(format!("DTLS: {error}")),
        }
    }

    pub(super) fn flush_handshake(&mut self, out: &mut Vec<Outgoing>) {
        let (Some(handshake), Some(path)) = (&mut self.handshake, self.path) else {
            return;
        };
        let flight: Vec<Outgoing> = std::iter::from_fn(|| handshake.poll_transmit())
            .map(|datagram| (path, datagram.into()))
            .collect();
        out.extend_from_slice(&flight);
        if !flight.is_empty() && self.remote.begins_dtls {
            self.last_flight = flight;
        }
    }

    /// One more address of the server.
    pub(in crate::crowd) fn add_remote(&mut self, address: SocketAddr, now: Instant) {
        self.ice.add_remote(address, now);
    }

    /// Says good-bye.
    pub(in crate::crowd) fn close(&mut self, out: &mut Vec<Outgoing>) {
        if let Some(path) = self.path {
            out.extend(
                self.good_bye
                    .drain(..)
                    .map(|datagram| (path, datagram.into())),
            );
        }
    }

    /// Ends this viewer; the first reason counts.
    pub(in crate::crowd) fn fail(&mut self, reason: String) {
        self.tell_joined(Err(reason.clone()));
        self.closed.get_or_insert(reason);
        self.handshake = None;
    }

    pub(super) fn tell_joined(&mut self, result: Result<(), String>) {
        if let Some(joined) = self.joined.take() {
            // Whoever waited may have lost patience.
            let _ = joined.send(result);
        }
    }
}
