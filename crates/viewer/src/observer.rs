//! Looks at packets as they pass next to the wire: what `rtc` answers itself and tells nobody.
//!
//! It also turns RTX packets back into what they repeat. `rtc` does so only after its NACK generator,
//! which would go on asking for what has long come.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::report::{Feedback, MAX_KEPT};

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Observed {
    /// Sender reports that nobody took yet, and when they came.
    pub(crate) sender_reports: Vec<(Instant, SenderReport)>,
    /// Packets that came by the RTX stream.
    pub(crate) rtx_packets: u64,
    /// Feedback that went out.
    pub(crate) feedback: Feedback,
}

/// The interceptor that fills [`Observed`].
pub(crate) struct Observer {
    observed: Arc<Mutex<Observed>>,
    /// By RTX SSRC.
    repaired: HashMap<u32, Primary>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Observer {
    /// Its place in the chain: closer to the wire than any interceptor of `rtc`.
    pub(crate) const SLOT: usize = 500;

    pub(crate) fn new() -> (Self, Arc<Mutex<Observed>>) {
        let observed = Arc::<Mutex<Observed>>::default();
        let observer = Self {
            observed: observed.clone(),
            repaired: HashMap::new(),
            read: VecDeque::new(),
            write: VecDeque::new(),
        };
        (observer, observed)
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Observer {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        match &mut packet.message.packet {
            Packet::Rtp(rtp) => {
                if let Some(&primary) = self.repaired.get(&rtp.header.ssrc) {
                    self.observed.lock().rtx_packets += 1;
                    if !unwrap_rtx(rtp, primary) {
                        return Ok(());
                    }
                }
            }
            Packet::Rtcp(compound) => {
                let mut observed = self.observed.lock();
                for part in compound {
                    if let Some(report) = part.as_any().downcast_ref::<SenderReport>()
                        && observed.sender_reports.len() < MAX_KEPT
                    {
                        observed.sender_reports.push((packet.now, report.clone()));
                    }
                }
            }
            _ => {}
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(compound) = &packet.message.packet {
            let feedback = &mut self.observed.lock().feedback;
            for part in compound {
                let part = part.as_any();
                if part.is::<PictureLossIndication>() {
                    feedback.plis += 1;
                } else if let Some(nack) = part.downcast_ref::<TransportLayerNack>() {
                    feedback.nacks += nack
                        .nacks
                        .iter()
                        .map(|pair| 1 + u64::from(pair.lost_packets.count_ones()))
                        .sum::<u64>();
                }
            }
        }
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Observer {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(rtx) = info.ssrc_rtx {
            let primary = Primary {
                ssrc: info.ssrc,
                payload_type: info.payload_type,
            };
            self.repaired.insert(rtx, primary);
        }
    }
    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.repaired.retain(|_, primary| primary.ssrc != info.ssrc);
    }
}

/// The stream that an RTX stream repairs.
#[derive(Clone, Copy)]
struct Primary {
    ssrc: u32,
    payload_type: u8,
}

/// Makes of an RTX packet the one that it repeats (RFC 4588, section 4); false if it repeats none.
fn unwrap_rtx(packet: &mut rtc::rtp::Packet, primary: Primary) -> bool {
    let Some(&original) = packet.payload.first_chunk() else {
        return false;
    };
    packet.header.ssrc = primary.ssrc;
    packet.header.payload_type = primary.payload_type;
    packet.header.sequence_number = u16::from_be_bytes(original);
    packet.payload = packet.payload.slice(original.len()..);
    true
}
