//! Which packets of a microphone are worth opening, told by their level alone. Pure: time is an argument.

use std::time::{Duration, Instant};

use super::hearing::Attention;

/// The quietest level that may be speech, in -dBov (RFC 6464): the detector behind the decoder does not hear speech
/// any more whose loudest packet is at 66 (measured with `how_quiet_speech_may_be`), so nothing is lost by it.
/// Chromium says 127 of a muted microphone, and 80 to 100 of a quiet room once its noise is suppressed.
const QUIETEST_SPEECH: u8 = 65;

/// While nobody listens one packet in this time is opened all the same, so that the count of roll-overs is known
/// when somebody does: it would be lost after 2^15 packets (RFC 3711, 3.3.1), 5 minutes of 10 ms.
const PROOF_INTERVAL: Duration = Duration::from_secs(1);

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Leave it.
    Ignore,
    /// Open it for its number alone.
    Prove,
    /// Keep it, lest speech begins soon.
    Keep,
    /// Decode it, with what was kept before it, in a decoder that knows nothing.
    Begin,
    /// Decode it after the one before.
    Continue,
}

/// What is known of one microphone.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// While it is being decoded: when its last loud packet came.
    loud: Option<Instant>,
    proved: Option<Instant>,
}

impl Activity {
    /// Judges a packet that may be forged, so that nothing is learned from it. Without a level it may be speech.
    pub(crate) fn judge(
        &self,
        now: Instant,
        level: Option<u8>,
        attention: Attention,
        release: Duration,
    ) -> Verdict {
        let is_due = |at: Instant, after| now.saturating_duration_since(at) >= after;
        let is_loud = attention == Attention::Everything || may_be_speech(level);
        let is_open = self.loud.is_some_and(|at| is_loud || !is_due(at, release));
        match attention {
            Attention::Nothing if self.proved.is_some_and(|at| !is_due(at, PROOF_INTERVAL)) => {
                Verdict::Ignore
            }
            Attention::Nothing => Verdict::Prove,
            _ if is_open => Verdict::Continue,
            _ if is_loud => Verdict::Begin,
            _ => Verdict::Keep,
        }
    }

    /// Learns from a packet that proved genuine after this verdict.
    pub(crate) fn learn(&mut self, now: Instant, level: Option<u8>, verdict: Verdict) {
        self.proved = Some(now);
        match verdict {
            Verdict::Begin => self.loud = Some(now),
            Verdict::Continue if may_be_speech(level) => self.loud = Some(now),
            Verdict::Continue => {}
            Verdict::Ignore | Verdict::Prove | Verdict::Keep => self.loud = None,
        }
    }

    /// Nobody listens: whoever does again begins anew.
    pub(crate) fn interrupt(&mut self) {
        self.loud = None;
    }
}

fn may_be_speech(level: Option<u8>) -> bool {
    level.is_none_or(|level| level <= QUIETEST_SPEECH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: Option<u8> = Some(30);
    const QUIET: Option<u8> = Some(80);
    const RELEASE: Duration = Duration::from_secs(1);

    struct Run {
        activity: Activity,
        start: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self {
                activity: Activity::default(),
                start: Instant::now(),
            }
        }

        fn at(&mut self, ms: u64, level: Option<u8>, attention: Attention) -> Verdict {
            let now = self.start + Duration::from_millis(ms);
            let verdict = self.activity.judge(now, level, attention, RELEASE);
            if verdict != Verdict::Ignore {
                self.activity.learn(now, level, verdict);
            }
            verdict
        }
    }

    #[test]
    fn speech_opens_a_microphone_until_a_second_after_it() {
        let mut run = Run::new();
        let mut hear = |ms, level| run.at(ms, level, Attention::Speech);
        assert_eq!(hear(0, QUIET), Verdict::Keep);
        assert_eq!(hear(20, LOUD), Verdict::Begin);
        assert_eq!(hear(40, QUIET), Verdict::Continue);
        assert_eq!(hear(1_000, LOUD), Verdict::Continue);
        assert_eq!(hear(1_999, QUIET), Verdict::Continue);
        assert_eq!(hear(2_000, QUIET), Verdict::Keep);
        assert_eq!(hear(2_020, LOUD), Verdict::Begin);
    }

    #[test]
    fn a_loud_packet_after_a_pause_in_the_packets_goes_on() {
        let mut run = Run::new();
        let mut hear = |ms, level| run.at(ms, level, Attention::Speech);
        assert_eq!(hear(0, LOUD), Verdict::Begin);
        assert_eq!(hear(5_000, LOUD), Verdict::Continue);
        assert_eq!(hear(9_000, QUIET), Verdict::Keep);
    }

    #[test]
    fn while_nobody_listens_one_packet_a_second_is_opened() {
        let mut run = Run::new();
        let opened = (0..500)
            .filter(|n| run.at(n * 20, LOUD, Attention::Nothing) == Verdict::Prove)
            .count();
        assert_eq!(opened, 10);
        assert_eq!(run.at(10_000, LOUD, Attention::Speech), Verdict::Begin);
    }

    #[test]
    fn a_packet_without_a_level_may_be_speech_and_silence_may_be_wanted() {
        let mut run = Run::new();
        assert_eq!(run.at(0, None, Attention::Speech), Verdict::Begin);
        assert_eq!(run.at(5_000, None, Attention::Speech), Verdict::Continue);
        let mut run = Run::new();
        assert_eq!(run.at(0, QUIET, Attention::Everything), Verdict::Begin);
        assert_eq!(
            run.at(5_000, QUIET, Attention::Everything),
            Verdict::Continue
        );
    }

    #[test]
    fn forged_packets_teach_nothing() {
        let mut run = Run::new();
        assert_eq!(run.at(0, QUIET, Attention::Speech), Verdict::Keep);
        for ms in 1..100 {
            let now = run.start + Duration::from_millis(ms);
            let verdict = run.activity.judge(now, LOUD, Attention::Speech, RELEASE);
            assert_eq!(verdict, Verdict::Begin);
        }
        assert_eq!(run.at(100, QUIET, Attention::Speech), Verdict::Keep);
    }
}
