//! The packets of a layer that a receiver may still ask for: one history for all viewers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::AccessUnit;

/// Packets kept at most: a second of 512x512 at 1 Mb/s is about 150, a large keyframe about 300.
const MAX_PACKETS: u64 = 1_024;

/// What was sent last, by packet index.
#[derive(Debug, Default)]
pub struct History {
    units: VecDeque<Arc<AccessUnit>>,
}

impl History {
    /// Remembers `unit`; units come in the order of their indices.
    pub fn push(&mut self, unit: Arc<AccessUnit>) {
        let newest = unit.next_index();
        self.units.push_back(unit);
        while self.units.front().is_some_and(|oldest| {
            newest.saturating_sub(oldest.first_index) > MAX_PACKETS && self.units.len() > 1
        }) {
            self.units.pop_front();
        }
    }

    /// The unit that holds packet `index`, and its position there.
    pub fn find(&self, index: u64) -> Option<(&Arc<AccessUnit>, usize)> {
        let after = self.units.partition_point(|unit| unit.first_index <= index);
        let unit = self.units.get(after.checked_sub(1)?)?;
        let position = usize::try_from(index - unit.first_index).ok()?;
        (position < unit.len()).then_some((unit, position))
    }

    /// The last unit.
    pub fn newest(&self) -> Option<&Arc<AccessUnit>> {
        self.units.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packetizer;

    #[test]
    fn a_packet_is_found_until_a_thousand_followed() {
        let mut packetizer = Packetizer::default();
        let mut history = History::default();
        for n in 0..3_000u32 {
            history.push(
                packetizer
                    .sound(n.to_be_bytes().to_vec().into(), 0, false)
                    .unwrap(),
            );
        }
        assert!(history.find(3_000).is_none());
        assert!(history.find(3_000 - MAX_PACKETS - 1).is_none());
        for index in [2_999, 2_500, 3_000 - MAX_PACKETS] {
            let (unit, position) = history.find(index).unwrap();
            assert_eq!(
                unit.payload(position).unwrap(),
                (index as u32).to_be_bytes()
            );
        }
    }
}
