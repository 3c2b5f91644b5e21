//! Every option, its default and its bounds. A config that exists is valid.
//!
//! The caller's configuration arrives as JSON, so that one place knows what each option accepts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::codec::{AudioCodec, Preferences, VideoCodec};
use crate::error::ConfigError;
use crate::media::OwnedFrame;

/// A STUN or TURN server, as browsers write it (`RTCIceServer` of W3C WebRTC).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Who may see something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Browsers on this machine.
    #[default]
    Loopback,
    /// Whoever reaches the port.
    Everyone,
    /// Nobody.
    Nobody,
}

impl Audience {
    const ALL: [(&'static str, Self); 3] = [
        ("loopback", Self::Loopback),
        ("everyone", Self::Everyone),
        ("nobody", Self::Nobody),
    ];
}

/// A TURN server that mints credentials from a secret which it shares with us: coturn's `use-auth-secret`.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnConfig {
    /// `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// The secret.
    pub secret: String,
    /// How long a peer's credentials are good for. Default one day.
    pub ttl: Duration,
}

impl std::fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnConfig")
            .field("urls", &self.urls)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// How a server listens and whom it serves: the `webrtc` part of the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// TCP port of HTTP and WebSocket; 0 takes a free one. Default 8081.
    pub signaling_port: u16,
    /// Address that the signalling port is bound to. Default: every address.
    pub signaling_host: Option<IpAddr>,
    /// Sent to browsers and used for our own server-reflexive candidate. Default: Google STUN.
    pub ice_servers: Vec<IceServer>,
    /// A TURN server for the browsers, with credentials for each. Default: none.
    pub turn: Option<TurnConfig>,
    /// TCP port of media for networks without UDP (ICE-TCP); 0 takes a free one. Default: none.
    pub tcp_port: Option<u16>,
    /// Who may see the dashboard. Default: browsers on this machine.
    pub dashboard: Audience,
    /// Whether to log each step of a connection.
    pub debug: bool,
    /// Most WebSocket clients at once. Default 100.
    pub max_clients: usize,
    /// The `videoCodec` preference as it is told to clients.
    pub video_codec: String,
    /// The `audioCodec` preference as it is told to clients.
    pub audio_codec: String,
    /// What viewers get, best first: what those two say, or every codec from the preferred one on.
    pub preferences: Preferences,
    /// Whether the engine answers offers itself. Default true.
    pub auto_answer: bool,
    /// UDP port of all media; 0 takes a free one. Default 0.
    pub udp_port: u16,
    /// Local addresses that media is bound to. Empty: every address of the machine.
    pub listen_ips: Vec<IpAddr>,
    /// Addresses told to browsers in the place of the local ones, for NAT and containers.
    pub announced_ips: Vec<IpAddr>,
    /// Threads that send to viewers and hear them, 1 to 32. Default: one a core, at most 4.
    pub network_threads: usize,
}

/// What the microphone path does with what it hears: `media.microphone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophoneConfig {
    /// Samples a second of `incoming-audio` (`media.audioSampleRate`). Default 16000.
    pub sample_rate: u32,
    /// Channels of `incoming-audio` (`media.audioChannels`). Default 1.
    pub channels: u16,
    /// Length of a chunk. Default 100 ms.
    pub chunk: Duration,
    /// Whether chunks come only while somebody speaks. Default true.
    pub voice_gating: bool,
    /// How much of the time before speech was noticed is delivered. Default 300 ms.
    pub pre_roll: Duration,
    /// How long chunks go on after speech. Default 400 ms.
    pub hang_over: Duration,
}

/// How a picture of another shape than the stream's is shown: `media.videoFit`, as `object-fit` of CSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VideoFit {
    /// The whole of it, between black bars.
    #[default]
    Contain,
    /// What of its middle has the stream's shape; the rest is cut off.
    Cover,
}

impl VideoFit {
    const ALL: [(&'static str, Self); 2] = [("contain", Self::Contain), ("cover", Self::Cover)];
}

/// What is sent: the `media` part of the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    /// Frames a second that the source means to push. Default 30.
    pub video_fps: u32,
    /// Width of the stream in pixels, rounded down to even. Default 512.
    pub video_width: u32,
    /// Height of the stream in pixels, rounded down to even. Default 512.
    pub video_height: u32,
    /// How pictures of another shape are shown. Default: contain.
    pub video_fit: VideoFit,
    /// Target rate of the stream. Default: 0.13 bits a pixel (1 Mb/s at 512x512, 30 fps).
    pub video_bitrate_bps: u32,
    /// Shown one after the other while no frames come. Not of the JSON: the caller adds them. Default: none.
    pub idle_frames: Arc<[OwnedFrame]>,
    /// How long an encoded picture may wait to be sent. Default 200 ms.
    pub max_latency: Duration,
    /// Most audio that may wait to be played. Default 120 s.
    pub max_audio_queue: Duration,
    /// Whether to log pushes that were dropped.
    pub debug: bool,
    /// The way back.
    pub microphone: MicrophoneConfig,
}

/// What the original promised end to end.
const MAX_LATENCY: Duration = Duration::from_millis(200);

const GOOGLE_STUN: &str = "stun:stun.l.google.com:19302";

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            signaling_port: 8081,
            signaling_host: None,
            ice_servers: vec![IceServer {
                urls: vec![GOOGLE_STUN.to_owned()],
                username: None,
                credential: None,
            }],
            turn: None,
            tcp_port: None,
            dashboard: Audience::default(),
            debug: false,
            max_clients: 100,
            video_codec: "auto".to_owned(),
            audio_codec: "opus".to_owned(),
            preferences: Preferences::default(),
            auto_answer: true,
            udp_port: 0,
            listen_ips: Vec::new(),
            announced_ips: Vec::new(),
            network_threads: default_network_threads(),
        }
    }
}

impl Default for MicrophoneConfig {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            channels: 1,
            chunk: Duration::from_millis(100),
            voice_gating: true,
            pre_roll: Duration::from_millis(300),
            hang_over: Duration::from_millis(400),
        }
    }
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            video_fps: 30,
            video_width: 512,
            video_height: 512,
            video_fit: VideoFit::default(),
            video_bitrate_bps: default_bitrate_bps(512, 512, 30),
            idle_frames: Arc::default(),
            max_latency: MAX_LATENCY,
            max_audio_queue: Duration::from_secs(120),
            debug: false,
            microphone: MicrophoneConfig::default(),
        }
    }
}

/// One a core. A second costs a few hundredths more CPU for 400 viewers and sends the same frame sooner; beyond four the
/// cores are better left to encoders, unless somebody asks.
fn default_network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// 0.13 bits a pixel: where openh264's 512x512 talking head stops gaining visibly; 100 kb/s to 20 Mb/s.
fn default_bitrate_bps(width: u32, height: u32, fps: u32) -> u32 {
    let bits = f64::from(width) * f64::from(height) * f64::from(fps) * 0.13;
    bits.clamp(100_000.0, 20_000_000.0) as u32
}

impl ServerConfig {
    /// Reads the `webrtc` options; `null` gives the defaults.
    pub fn from_json(webrtc: &Value) -> Result<Self, ConfigError> {
        let options = Options::new("webrtc", webrtc)?;
        let defaults = Self::default();
        let (video_codec, video) = options.codecs(
            "videoCodec",
            Some("auto"),
            &VideoCodec::ALL,
            VideoCodec::name,
        )?;
        let (audio_codec, audio) =
            options.codecs("audioCodec", None, &AudioCodec::ALL, AudioCodec::name)?;
        Ok(Self {
            signaling_port: options.integer(
                "signalingPort",
                0..=65_535,
                defaults.signaling_port.into(),
            )? as u16,
            signaling_host: options.ip("signalingHost")?,
            ice_servers: options.ice_servers("iceServers", defaults.ice_servers)?,
            turn: options.turn("turn")?,
            tcp_port: match options.get("tcpPort") {
                Value::Null => None,
                _ => Some(options.integer("tcpPort", 0..=65_535, 0)? as u16),
            },
            dashboard: options.choice("dashboard", &Audience::ALL, Audience::default())?,
            debug: options.boolean("debug", false)?,
            max_clients: options.integer("maxClients", 1..=100_000, defaults.max_clients as u64)?
                as usize,
            video_codec,
            audio_codec,
            preferences: Preferences { video, audio },
            auto_answer: options.boolean("autoAnswer", true)?,
            udp_port: options.integer("udpPort", 0..=65_535, 0)? as u16,
            listen_ips: options.ips("listenIps")?,
            announced_ips: options.ips("announcedIps")?,
            network_threads: options.integer(
                "networkThreads",
                1..=32,
                defaults.network_threads as u64,
            )? as usize,
        })
    }
}

impl MediaConfig {
    /// Reads the `media` options; `null` gives the defaults.
    pub fn from_json(media: &Value) -> Result<Self, ConfigError> {
        let options = Options::new("media", media)?;
        let microphone = Options::new("media.microphone", options.get("microphone"))?;
        // What openh264 encodes at most, upright or lying.
        let dimension = 16..=3_840;
        let width = options.integer("videoWidth", dimension.clone(), 512)? as u32;
        let height = options.integer("videoHeight", dimension, 512)? as u32;
        if width.min(height) > 2_160 {
            return Err(
                options.reject("videoHeight", "a picture of at most 3840x2160 or 2160x3840")
            );
        }
        let fps = options.integer("videoFps", 1..=120, 30)? as u32;
        let mic = MicrophoneConfig::default();
        Ok(Self {
            video_fps: fps,
            video_width: width & !1,
            video_height: height & !1,
            video_fit: options.choice("videoFit", &VideoFit::ALL, VideoFit::default())?,
            video_bitrate_bps: options.integer(
                "videoBitrate",
                50_000..=50_000_000,
                default_bitrate_bps(width, height, fps).into(),
            )? as u32,
            idle_frames: Arc::default(),
            max_latency: options.millis("maxLatencyMs", 50..=10_000, MAX_LATENCY)?,
            max_audio_queue: options.millis(
                "maxAudioQueueMs",
                100..=3_600_000,
                Duration::from_secs(120),
            )?,
            debug: options.boolean("debug", false)?,
            microphone: MicrophoneConfig {
                sample_rate: options.integer("audioSampleRate", 8_000..=48_000, 16_000)? as u32,
                channels: options.integer("audioChannels", 1..=2, 1)? as u16,
                chunk: microphone.millis("chunkMs", 20..=1_000, mic.chunk)?,
                voice_gating: microphone.boolean("voiceGating", mic.voice_gating)?,
                pre_roll: microphone.millis("preRollMs", 0..=2_000, mic.pre_roll)?,
                hang_over: microphone.millis("hangOverMs", 0..=5_000, mic.hang_over)?,
            },
        })
    }
}

/// One object of options, read by name.
struct Options<'a> {
    prefix: &'static str,
    values: Option<&'a serde_json::Map<String, Value>>,
}

impl<'a> Options<'a> {
    fn new(prefix: &'static str, value: &'a Value) -> Result<Self, ConfigError> {
        let values = match value {
            Value::Null => None,
            Value::Object(values) => Some(values),
            other => return Err(invalid(prefix.to_owned(), "an object", other)),
        };
        Ok(Self { prefix, values })
    }

    fn get(&self, name: &str) -> &'a Value {
        self.values
            .and_then(|values| values.get(name))
            .unwrap_or(&Value::Null)
    }

    fn reject(&self, name: &str, expected: impl Into<String>) -> ConfigError {
        invalid(format!("{}.{name}", self.prefix), expected, self.get(name))
    }

    fn integer(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, ConfigError> {
        let number = match self.get(name) {
            Value::Null => return Ok(default),
            // JavaScript has one number type: 30.0 is an integer.
            Value::Number(number) => number.as_u64().or_else(|| {
                number
                    .as_f64()
                    .filter(|n| n.fract() == 0.0 && *n >= 0.0 && *n < 1e15)
                    .map(|n| n as u64)
            }),
            _ => None,
        };
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            self.reject(
                name,
                format!("an integer from {} to {}", range.start(), range.end()),
            )
        })
    }

    fn millis(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        self.integer(name, range, default.as_millis() as u64)
            .map(Duration::from_millis)
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(name) {
            Value::Null => Ok(default),
            Value::Bool(value) => Ok(*value),
            _ => Err(self.reject(name, "a boolean")),
        }
    }

    /// One of `all`, by its name.
    fn choice<T: Copy>(&self, name: &str, all: &[(&str, T)], default: T) -> Result<T, ConfigError> {
        let value = self.get(name);
        if value.is_null() {
            return Ok(default);
        }
        let chosen = all.iter().find(|(name, _)| value.as_str() == Some(name));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.reject(name, names.join(" or "))
        })
    }

    /// A preference among `all`, best first, and how clients are told of it: one name, which all others follow as
    /// fallbacks; an array of names, which leaves the others out; `any` or nothing for all in their order.
    fn codecs<C: Copy + PartialEq>(
        &self,
        name: &str,
        any: Option<&str>,
        all: &[C],
        name_of: fn(C) -> &'static str,
    ) -> Result<(String, Vec<C>), ConfigError> {
        let value = self.get(name);
        let is_any = value.is_null() || any.is_some() && value.as_str() == any;
        let find = |value: &Value| {
            let named = |codec: &C| value.as_str() == Some(name_of(*codec));
            all.iter().copied().find(named)
        };
        let order: Option<Vec<C>> = match value {
            _ if is_any => Some(all.to_vec()),
            Value::Array(items) => items.iter().map(find).collect(),
            value => find(value).map(|preferred| {
                let others = all.iter().copied().filter(|codec| *codec != preferred);
                std::iter::once(preferred).chain(others).collect()
            }),
        };
        let Some((first, order)) = order.and_then(|order| Some((*order.first()?, order))) else {
            let names = any
                .into_iter()
                .chain(all.iter().map(|codec| name_of(*codec)));
            let quoted: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
            let expected = format!("{}, or an array of codecs", quoted.join(" or "));
            return Err(self.reject(name, expected));
        };
        let told = any.filter(|_| is_any).unwrap_or(name_of(first));
        Ok((told.to_owned(), order))
    }

    fn ip(&self, name: &str) -> Result<Option<IpAddr>, ConfigError> {
        match self.get(name) {
            Value::Null => Ok(None),
            Value::String(text) => text
                .parse()
                .map(Some)
                .map_err(|_| self.reject(name, "an IPv4 or IPv6 address")),
            _ => Err(self.reject(name, "an IPv4 or IPv6 address")),
        }
    }

    fn ips(&self, name: &str) -> Result<Vec<IpAddr>, ConfigError> {
        let expected = "an array of IPv4 or IPv6 addresses";
        match self.get(name) {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().and_then(|text| text.parse().ok()))
                .collect::<Option<_>>()
                .ok_or_else(|| self.reject(name, expected)),
            _ => Err(self.reject(name, expected)),
        }
    }

    fn ice_servers(
        &self,
        name: &str,
        default: Vec<IceServer>,
    ) -> Result<Vec<IceServer>, ConfigError> {
        match self.get(name) {
            Value::Null => Ok(default),
            Value::Array(items) => items
                .iter()
                .map(parse_ice_server)
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    self.reject(
                        name,
                        "an array of {urls, username?, credential?} with stun:, turn: or turns: URLs",
                    )
                }),
            _ => Err(self.reject(name, "an array of {urls, username?, credential?}")),
        }
    }

    fn turn(&self, name: &'static str) -> Result<Option<TurnConfig>, ConfigError> {
        let value = self.get(name);
        if value.is_null() {
            return Ok(None);
        }
        let expected = "{urls, secret, ttlSeconds?} with turn: or turns: URLs and the secret that the server shares";
        let urls = value
            .get("urls")
            .and_then(|urls| parse_urls(urls, &["turn:", "turns:"]));
        let secret = value
            .get("secret")
            .and_then(Value::as_str)
            .filter(|secret| !secret.is_empty());
        let (Some(urls), Some(secret)) = (urls, secret) else {
            // Not what was received: a secret does not belong into a message.
            let option = format!("{}.{name}", self.prefix);
            return Err(invalid(option, expected, &Value::from("something else")));
        };
        let ttl =
            Options::new("webrtc.turn", value)?.integer("ttlSeconds", 60..=31_536_000, 86_400)?;
        Ok(Some(TurnConfig {
            urls,
            secret: secret.to_owned(),
            ttl: Duration::from_secs(ttl),
        }))
    }
}

/// One URL or several, each of one of these schemes.
fn parse_urls(value: &Value, schemes: &[&str]) -> Option<Vec<String>> {
    let urls: Vec<String> = match value {
        Value::String(url) => vec![url.clone()],
        Value::Array(urls) => urls
            .iter()
            .map(|url| url.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let known = |url: &String| schemes.iter().any(|scheme| url.starts_with(scheme));
    (!urls.is_empty() && urls.iter().all(known)).then_some(urls)
}

fn parse_ice_server(value: &Value) -> Option<IceServer> {
    let server = value.as_object()?;
    let urls = parse_urls(server.get("urls")?, &["stun:", "stuns:", "turn:", "turns:"])?;
    let text = |name: &str| match server.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    Some(IceServer {
        urls,
        username: text("username")?,
        credential: text("credential")?,
    })
}

fn invalid(option: String, expected: impl Into<String>, received: &Value) -> ConfigError {
    let mut received = received.to_string();
    if received.len() > 100 {
        let end = (0..=100)
            .rev()
            .find(|&at| received.is_char_boundary(at))
            .unwrap_or(0);
        received.truncate(end);
        received.push('…');
    }
    ConfigError {
        option,
        expected: expected.into(),
        received,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_options_take_the_documented_defaults() {
        assert_eq!(
            ServerConfig::from_json(&Value::Null).unwrap(),
            ServerConfig::default()
        );
        assert_eq!(
            MediaConfig::from_json(&json!({})).unwrap(),
            MediaConfig::default()
        );
    }

    #[test]
    fn a_bad_value_is_named_with_what_was_expected_and_received() {
        let error = ServerConfig::from_json(&json!({"signalingPort": 70000})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value for `webrtc.signalingPort`: expected an integer from 0 to 65535, received 70000"
        );
        for (name, value) in [
            ("videoFps", json!(0)),
            ("videoFps", json!(29.97)),
            ("videoWidth", json!(5000)),
            ("audioSampleRate", json!("16k")),
            ("microphone", json!(3)),
        ] {
            let error = MediaConfig::from_json(&json!({ name: value })).unwrap_err();
            assert!(error.option.ends_with(name), "{error}");
        }
    }

    #[test]
    fn pictures_are_shown_whole_unless_they_are_to_cover_the_stream() {
        for (value, fit) in [
            (json!(null), VideoFit::Contain),
            (json!("contain"), VideoFit::Contain),
            (json!("cover"), VideoFit::Cover),
        ] {
            let config = MediaConfig::from_json(&json!({"videoFit": value})).unwrap();
            assert_eq!(config.video_fit, fit);
        }
        for bad in [json!("fill"), json!("Cover"), json!(1), json!({})] {
            let error = MediaConfig::from_json(&json!({"videoFit": bad})).unwrap_err();
            assert_eq!(error.option, "media.videoFit");
            assert_eq!(error.expected, r#""contain" or "cover""#);
        }
    }

    #[test]
    fn a_codec_is_preferred_and_a_list_leaves_the_others_out() {
        use VideoCodec::{H264, Vp8, Vp9};
        for (value, told, order) in [
            (json!(null), "auto", &[H264, Vp8, Vp9][..]),
            (json!("auto"), "auto", &[H264, Vp8, Vp9]),
            (json!("VP8"), "VP8", &[Vp8, H264, Vp9]),
            (json!(["VP9"]), "VP9", &[Vp9]),
            (json!(["VP9", "H264"]), "VP9", &[Vp9, H264]),
        ] {
            let config = ServerConfig::from_json(&json!({"videoCodec": value})).unwrap();
            assert_eq!(
                (&*config.video_codec, &*config.preferences.video),
                (told, order)
            );
        }
        let config = ServerConfig::from_json(&json!({"audioCodec": "pcma"})).unwrap();
        let order = [AudioCodec::Pcma, AudioCodec::Opus, AudioCodec::Pcmu];
        assert_eq!(
            (&*config.audio_codec, &config.preferences.audio[..]),
            ("pcma", &order[..])
        );
        for (name, value) in [
            ("videoCodec", json!("H265")),
            ("videoCodec", json!([])),
            ("videoCodec", json!(["VP8", "auto"])),
            ("videoCodec", json!(["VP8", 9])),
            ("audioCodec", json!("auto")),
            ("audioCodec", json!({})),
        ] {
            let error = ServerConfig::from_json(&json!({ name: value })).unwrap_err();
            assert!(error.option.ends_with(name), "{error}");
        }
        let error = ServerConfig::from_json(&json!({"videoCodec": "H265"})).unwrap_err();
        assert_eq!(
            error.expected,
            r#""auto" or "H264" or "VP8" or "VP9", or an array of codecs"#
        );
    }

    #[test]
    fn ice_servers_take_one_url_or_several() {
        let config = ServerConfig::from_json(&json!({"iceServers": [
            {"urls": "stun:a:3478"},
            {"urls": ["turn:b", "turns:b"], "username": "u", "credential": "c"},
        ]}))
        .unwrap();
        assert_eq!(config.ice_servers[0].urls, ["stun:a:3478"]);
        assert_eq!(config.ice_servers[1].credential.as_deref(), Some("c"));
        assert!(ServerConfig::from_json(&json!({"iceServers": [{"urls": "http://a"}]})).is_err());
        assert!(ServerConfig::from_json(&json!({"iceServers": [{"urls": []}]})).is_err());
    }

    #[test]
    fn a_turn_server_needs_its_urls_and_its_secret_which_is_never_shown() {
        let turn = json!({"urls": "turn:a:3478", "secret": "s3cret"});
        let config = ServerConfig::from_json(&json!({"turn": turn})).unwrap();
        let turn = config.turn.unwrap();
        assert_eq!((turn.urls.len(), turn.ttl.as_secs()), (1, 86_400));
        assert!(!format!("{turn:?}").contains("s3cret"));
        for wrong in [
            json!({"urls": "stun:a", "secret": "s3cret"}),
            json!({"urls": "turn:a", "secret": ""}),
            json!({"secret": "s3cret"}),
            json!({"urls": [], "secret": "s3cret"}),
            json!("turn:a?secret=s3cret"),
            json!({"urls": "turn:a", "secret": "s3cret", "ttlSeconds": 5}),
        ] {
            let error = ServerConfig::from_json(&json!({"turn": wrong})).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("webrtc.turn") && !text.contains("s3cret"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_stream_has_an_even_size() {
        let config =
            MediaConfig::from_json(&json!({"videoWidth": 513, "videoHeight": 511})).unwrap();
        assert_eq!((config.video_width, config.video_height), (512, 510));
    }
}
