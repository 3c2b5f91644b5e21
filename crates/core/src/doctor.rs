//! What is wrong with a server's set-up, in words, and what to do. Looks at the options and the machine, and asks STUN and
//! TURN servers: it takes some seconds.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use serde::Serialize;
use uuid::Uuid;

use crate::config::{IceServer, ServerConfig};
use crate::ice_url::IceUrl;
use crate::transport::{SurveyError, ask_stun, ask_turn};
use crate::turn;
use crate::wall_clock::system_ms;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, for some or at a price.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `signalling-port`, `media-port`, `tcp-port`, `addresses`, `announced-addresses`, `stun`, `turn`, `encoder`.
    pub check: &'static str,
    /// How it is.
    pub severity: Severity,
    /// That in words.
    pub message: String,
    /// What to do, unless all is well.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Ok,
            message: message.into(),
            remedy: None,
        }
    }

    fn bad(
        severity: Severity,
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity,
            message: message.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// The ports of a server that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of signalling.
    pub signalling: u16,
    /// Of media.
    pub udp: u16,
    /// Of media over TCP.
    pub tcp: Option<u16>,
}

/// Looks at everything; `running` tells the ports of a server that runs already.
pub(crate) fn examine(config: &ServerConfig, running: Option<Ports>) -> Vec<Finding> {
    let mut findings = ports(config, running);
    findings.push(addresses(&config.listen_ips, &machine_addresses(), config));
    findings.extend(announced(config));
    let peer = Uuid::nil();
    let now = (system_ms() / 1_000.0) as u64;
    let minted = (config.turn.as_ref()).map(|turn| turn::ice_server(turn, peer, now));
    for server in config.ice_servers.iter().chain(&minted) {
        findings.extend(server.urls.iter().map(|url| ice_server(server, url)));
    }
    findings.push(encoder());
    findings
}

fn ports(config: &ServerConfig, running: Option<Ports>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(ports) = running {
        let listens =
            |check, port| Finding::ok(check, format!("the server listens on port {port}"));
        findings.push(listens("signalling-port", ports.signalling));
        findings.push(listens("media-port", ports.udp));
        findings.extend(ports.tcp.map(|port| listens("tcp-port", port)));
        return findings;
    }
    let host = config.signaling_host.unwrap_or([0, 0, 0, 0].into());
    let media = config
        .listen_ips
        .first()
        .copied()
        .unwrap_or([0, 0, 0, 0].into());
    let tcp = |address: SocketAddr| TcpListener::bind(address).map(|_| ());
    let udp = |address: SocketAddr| UdpSocket::bind(address).map(|_| ());
    findings.push(port(
        "signalling-port",
        "webrtc.signalingPort",
        (host, config.signaling_port),
        tcp,
    ));
    findings.push(port(
        "media-port",
        "webrtc.udpPort",
        (media, config.udp_port),
        udp,
    ));
    if let Some(number) = config.tcp_port {
        findings.push(port("tcp-port", "webrtc.tcpPort", (media, number), tcp));
    }
    findings
}

fn port(
    check: &'static str,
    option: &str,
    (ip, number): (IpAddr, u16),
    bind: impl Fn(SocketAddr) -> std::io::Result<()>,
) -> Finding {
    match bind((ip, number).into()) {
        Ok(()) if number == 0 => Finding::ok(check, "any free port is taken"),
        Ok(()) => Finding::ok(check, format!("port {number} is free")),
        Err(error) => Finding::bad(
            Severity::Problem,
            check,
            format!("port {number} of {ip} cannot be taken: {error}"),
            format!("choose another port or address ({option}), or end the program that has it"),
        ),
    }
}

fn machine_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

/// Whether anybody else reaches where media is bound.
fn addresses(listen: &[IpAddr], machine: &[IpAddr], config: &ServerConfig) -> Finding {
    const CHECK: &str = "addresses";
    let is_any = listen.is_empty() || listen.iter().all(IpAddr::is_unspecified);
    let bound = if is_any { machine } else { listen };
    let reach = |wanted: Reach| bound.iter().any(|ip| reach_of(*ip) == wanted);
    let asks_stun = (config.ice_servers.iter())
        .any(|server| server.urls.iter().any(|url| url.starts_with("stun")));
    if let Some(foreign) = listen
        .iter()
        .find(|ip| !ip.is_unspecified() && !machine.contains(ip))
    {
        return Finding::bad(
            Severity::Problem,
            CHECK,
            format!("{foreign} is no address of this machine: media cannot be bound to it"),
            format!(
                "put the address into webrtc.announcedIps instead; this machine has {}",
                list(machine)
            ),
        );
    }
    if reach(Reach::World) || (!config.announced_ips.is_empty() && reach(Reach::Network)) {
        return Finding::ok(CHECK, format!("media is bound to {}", list(bound)));
    }
    match reach(Reach::Network) {
        true if asks_stun => Finding::ok(
            CHECK,
            format!(
                "media is bound to {}; STUN tells how others get here",
                list(bound)
            ),
        ),
        true => Finding::bad(
            Severity::Warning,
            CHECK,
            format!(
                "media is reached within the own network only: {}",
                list(bound)
            ),
            "set webrtc.announcedIps to the public address that leads here, or give a STUN server in webrtc.iceServers",
        ),
        false => Finding::bad(
            Severity::Warning,
            CHECK,
            "media is reached from this machine only",
            "set webrtc.listenIps to an address that others reach, or leave it out",
        ),
    }
}

fn announced(config: &ServerConfig) -> Vec<Finding> {
    const CHECK: &str = "announced-addresses";
    let judge = |ip: &IpAddr| match reach_of(*ip) {
        Reach::World => Finding::ok(
            CHECK,
            format!("{ip} can be reached from anywhere, if the way to it is open"),
        ),
        Reach::Network => Finding::bad(
            Severity::Warning,
            CHECK,
            format!("{ip} means something within one network only"),
            "announce the public address that leads here, unless all viewers are in that network",
        ),
        Reach::Machine => Finding::bad(
            Severity::Warning,
            CHECK,
            format!("{ip} leads every browser to its own machine"),
            "announce the address by which browsers reach this machine",
        ),
        Reach::Nobody => Finding::bad(
            Severity::Problem,
            CHECK,
            format!("nobody can reach {ip}"),
            "announce the address by which browsers reach this machine",
        ),
    };
    let mut findings: Vec<Finding> = config.announced_ips.iter().map(judge).collect();
    if !config.announced_ips.is_empty() && config.udp_port == 0 {
        findings.push(Finding::bad(
            Severity::Warning,
            CHECK,
            "addresses are announced, but the UDP port is another one at each start",
            "set webrtc.udpPort, and forward that port to this machine",
        ));
    }
    findings
}

/// From where an address leads anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    World,
    Network,
    Machine,
    Nobody,
}

fn reach_of(ip: IpAddr) -> Reach {
    let ip = ip.to_canonical();
    if ip.is_loopback() {
        return Reach::Machine;
    }
    match ip {
        _ if ip.is_unspecified() || ip.is_multicast() => Reach::Nobody,
        IpAddr::V4(v4) if v4.is_documentation() || v4.is_broadcast() => Reach::Nobody,
        IpAddr::V6(v6) if v6.segments().starts_with(&[0x2001, 0xdb8]) => Reach::Nobody,
        // RFC 6598: shared by a provider's customers.
        IpAddr::V4(v4) if matches!(v4.octets(), [100, 64..=127, ..]) => Reach::Network,
        IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() => Reach::Network,
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Reach::Network,
        _ => Reach::World,
    }
}

fn ice_server(server: &IceServer, url: &str) -> Finding {
    let Some(read) = IceUrl::parse(url) else {
        return Finding::bad(
            Severity::Problem,
            "stun",
            format!("{url} is not a URL of a STUN or TURN server"),
            "write it as stun:host:port or turn:host:port?transport=udp",
        );
    };
    let check = if read.is_turn { "turn" } else { "stun" };
    if read.is_tcp {
        return over_tcp(check, url, &read.host);
    }
    if read.is_turn {
        let (Some(username), Some(password)) = (&server.username, &server.credential) else {
            return Finding::bad(
                Severity::Problem,
                check,
                format!("{url} has no username and credential"),
                "give both, or let webrtc.turn make them from the server's secret",
            );
        };
        return match ask_turn(&read.host, username, password) {
            Ok(relayed) => Finding::ok(check, format!("{url} relays by {relayed}")),
            Err(error @ SurveyError::Refused(_)) => Finding::bad(
                Severity::Problem,
                check,
                format!("{url}: {error}"),
                "see that the credentials, or the secret that is shared with it, are the server's own, and that both clocks are right",
            ),
            Err(error) => unreachable(Severity::Problem, check, url, &error),
        };
    }
    match ask_stun(&read.host) {
        Ok(seen) => Finding::ok(check, format!("{url} sees us as {seen}")),
        // Nothing waits for it.
        Err(error) => unreachable(Severity::Warning, check, url, &error),
    }
}

fn unreachable(severity: Severity, check: &'static str, url: &str, error: &SurveyError) -> Finding {
    let remedy = "see that the address is right and that UDP gets there and back";
    Finding::bad(severity, check, format!("{url}: {error}"), remedy)
}

/// Whether somebody listens there; what is said over TLS is for browsers.
fn over_tcp(check: &'static str, url: &str, host: &str) -> Finding {
    use std::net::{TcpStream, ToSocketAddrs};
    let connected = host.to_socket_addrs().and_then(|mut addresses| {
        let address = addresses.next().ok_or(std::io::ErrorKind::NotFound)?;
        TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))
    });
    match connected {
        Ok(_) => Finding::ok(
            check,
            format!("{url} takes connections; its credentials were not tried"),
        ),
        Err(error) => Finding::bad(
            Severity::Problem,
            check,
            format!("{url} cannot be reached: {error}"),
            "see that the address is right and that the server runs",
        ),
    }
}

fn encoder() -> Finding {
    match env!("AVATAR_ASSEMBLER") {
        "yes" => Finding::ok("encoder", "built with its assembler code"),
        _ => Finding::bad(
            Severity::Warning,
            "encoder",
            "built without its assembler code: a frame takes two to three times as long",
            "install nasm and build again",
        ),
    }
}

fn list(ips: &[IpAddr]) -> String {
    let words: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(options: serde_json::Value) -> ServerConfig {
        ServerConfig::from_json(&options).unwrap()
    }

    fn of(findings: &[Finding], check: &str) -> Vec<Severity> {
        let of = findings.iter().filter(|finding| finding.check == check);
        of.map(|finding| finding.severity).collect()
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_port_that_another_program_has_is_a_problem_and_a_free_one_is_not() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let options =
            json!({"signalingHost": "127.0.0.1", "signalingPort": port, "iceServers": []});
        let config = config(options);
        let findings = examine(&config, None);
        assert_eq!(of(&findings, "signalling-port"), [Severity::Problem]);
        assert_eq!(of(&findings, "media-port"), [Severity::Ok]);
        drop(taken);
        assert_eq!(
            of(&examine(&config, None), "signalling-port"),
            [Severity::Ok]
        );
        let running = Some(Ports {
            signalling: port,
            udp: 5,
            tcp: Some(6),
        });
        assert_eq!(of(&examine(&config, running), "tcp-port"), [Severity::Ok]);
    }

    #[test]
    fn announced_addresses_that_nobody_can_reach_are_named() {
        let severities = |announced: &[&str]| {
            let config = config(json!({"announcedIps": announced, "udpPort": 5000}));
            of(&announced_of(&config), "announced-addresses")
        };
        fn announced_of(config: &ServerConfig) -> Vec<Finding> {
            super::announced(config)
        }
        use Severity::{Ok, Problem, Warning};
        assert_eq!(severities(&["8.8.8.8", "2a00::1"]), [Ok, Ok]);
        assert_eq!(
            severities(&["10.0.0.1", "100.64.0.1", "fd00::1"]),
            [Warning; 3]
        );
        assert_eq!(severities(&["127.0.0.1"]), [Warning]);
        assert_eq!(
            severities(&["0.0.0.0", "192.0.2.1", "224.0.0.1", "2001:db8::1"]),
            [Problem; 4]
        );
        let any_port = config(json!({"announcedIps": ["8.8.8.8"]}));
        assert_eq!(announced_of(&any_port).len(), 2);
    }

    #[test]
    fn where_media_is_bound_is_judged_by_who_gets_there() {
        let machine = ips(&["127.0.0.1", "10.0.0.5"]);
        let judge =
            |listen: &[&str], options| addresses(&ips(listen), &machine, &config(options)).severity;
        let alone = || json!({"iceServers": []});
        assert_eq!(judge(&[], alone()), Severity::Warning);
        assert_eq!(judge(&[], json!({})), Severity::Ok, "STUN");
        assert_eq!(judge(&["127.0.0.1"], json!({})), Severity::Warning);
        assert_eq!(judge(&["203.0.113.7"], alone()), Severity::Problem);
        let announced = json!({"iceServers": [], "announcedIps": ["8.8.8.8"]});
        assert_eq!(judge(&[], announced), Severity::Ok);
    }

    #[test]
    fn stun_and_turn_servers_that_do_not_answer_are_told_of() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let turn = format!("turn:127.0.0.1:{port}");
        let config = config(json!({
            "iceServers": [
                {"urls": format!("stun:127.0.0.1:{port}")},
                {"urls": turn},
                {"urls": "turn:127.0.0.1:1?transport=tcp", "username": "a", "credential": "b"},
            ],
        }));
        let findings = examine(&config, None);
        assert_eq!(of(&findings, "stun"), [Severity::Warning]);
        assert_eq!(of(&findings, "turn"), [Severity::Problem; 2]);
        assert!(
            findings
                .iter()
                .all(|f| (f.severity == Severity::Ok) == f.remedy.is_none())
        );
    }
}
