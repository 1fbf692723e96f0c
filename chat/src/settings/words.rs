//! What the words of one value mean: lengths of time, addresses, choices.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::{Format, Registries};
use crate::app::clean;

/// Where a registry is looked for, and served if nobody does, when none is named. The port of INTERFACE.
const DEFAULT_REGISTRY: &str = "127.0.0.1:7420";
/// Moves the default registry, so that tests of a chat without arguments do not meet each other.
const DEFAULT_REGISTRY_ENV: &str = "CHAT_DEFAULT_REGISTRY";
/// The port of a registry that was named without one.
const REGISTRY_PORT: u16 = 7420;
/// Longest time that can be asked for: what is added to the clock must not overflow it.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A length of time as people write it: `5s`, `250ms`, `1m 30s`.
pub fn duration(name: &str, text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| format!("--{name} is a length of time like 5s, 250ms or 1m, a year at most"))
}

pub(super) fn registries(named: Vec<String>, peers: &[String]) -> Result<Registries, String> {
    let named: Vec<_> = named.into_iter().filter(|registry| !registry.is_empty()).collect();
    if !named.is_empty() {
        let with_ports = named.iter().map(|registry| address(registry, Some(REGISTRY_PORT)));
        return Ok(Registries::Named(with_ports.collect::<Result<_, _>>()?));
    }
    if !peers.is_empty() {
        return Ok(Registries::None);
    }
    Ok(Registries::Default(default_registry()))
}

pub(super) fn default_registry() -> String {
    std::env::var(DEFAULT_REGISTRY_ENV).unwrap_or_else(|_| DEFAULT_REGISTRY.to_owned())
}

/// `host:port` of something to dial. Whether the name resolves is found out when it is dialled.
pub(super) fn address(text: &str, port: Option<u16>) -> Result<String, String> {
    let shown = clean::line(text);
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("an address is HOST:PORT, not {shown:?}"));
    }
    let bracketed = text.starts_with('[') && text.ends_with(']');
    match (text.rsplit_once(':'), port) {
        (Some((host, number)), _) if !bracketed && !host.is_empty() && number.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        (None, Some(port)) => Ok(format!("{text}:{port}")),
        (Some(_), Some(port)) if bracketed => Ok(format!("{text}:{port}")),
        _ => Err(format!(
            "an address is HOST:PORT with a port up to 65535, not {shown:?}"
        )),
    }
}

/// An address of this machine, which must resolve now.
pub(super) fn socket(name: &str, text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let shown = clean::line(text);
    text.to_socket_addrs()
        .ok()
        .and_then(|mut addrs| addrs.next())
        .ok_or_else(|| format!("--{name} is IP:PORT like 127.0.0.1:0, not {shown:?}"))
}

pub(super) fn format(name: &str, text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(one_of(name, "text or json")),
    }
}

pub(super) fn check_color(color: &str) -> Result<(), String> {
    match color {
        "auto" | "always" | "never" => Ok(()),
        _ => Err(one_of("color", "auto, always or never")),
    }
}

pub(super) fn check_ui(ui: &str) -> Result<(), String> {
    match ui {
        "auto" | "line" => Ok(()),
        "tui" => Err("this version has no full screen yet; use --ui line, which can do everything".to_owned()),
        _ => Err(one_of("ui", "auto or line")),
    }
}

pub(super) fn one_of(name: &str, values: &str) -> String {
    format!("{name} is {values}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("host:1", None).unwrap(), "host:1");
        assert_eq!(address("[::1]:1", None).unwrap(), "[::1]:1");
        assert_eq!(address("host", Some(7420)).unwrap(), "host:7420");
        assert_eq!(address("[::1]", Some(7420)).unwrap(), "[::1]:7420");
        for odd in ["", "host", "host:", "host:99999", ":1", "a b:1", "a\u{1b}:1"] {
            let refusal = address(odd, None).unwrap_err();
            assert!(refusal.chars().all(|c| !c.is_control()), "{refusal:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_written_with_units() {
        assert_eq!(duration("linger", "250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("linger", "0s"), Ok(Duration::ZERO));
        assert_eq!(duration("linger", "1m30s"), Ok(Duration::from_secs(90)));
        for odd in ["5", "", "-5s", "soon", "9000000h"] {
            let refusal = duration("linger", odd).unwrap_err();
            assert_eq!(
                refusal,
                "--linger is a length of time like 5s, 250ms or 1m, a year at most"
            );
        }
    }

    #[test]
    fn peers_alone_need_no_registry() {
        assert_eq!(registries(vec![], &["a:1".into()]), Ok(Registries::None));
        assert_eq!(
            registries(vec!["a".into()], &["a:1".into()]),
            Ok(Registries::Named(vec!["a:7420".into()]))
        );
        assert!(matches!(registries(vec![], &[]), Ok(Registries::Default(_))));
    }
}
