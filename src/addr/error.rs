//! Why an address is refused.

use std::error::Error as StdError;
use std::fmt;

use multiaddr::Protocol;

/// Why a text or a multiaddr is no address of this transport.
///
/// Every variant names the component at fault, as text for people to read: what a terminal or a log could misread is
/// escaped, and beyond 100 characters it is cut. The one cause behind [`source`](StdError::source) is the
/// [`multiaddr::Error`] of a text that is no multiaddr.
#[derive(Debug)]
#[non_exhaustive]
pub enum AddrError {
    /// The text is no multiaddr.
    Malformed {
        /// The first component that cannot be read; the whole text if it does not begin with `/`.
        component: String,
        /// What the multiaddr crate says about it.
        source: multiaddr::Error,
    },
    /// A component that does not belong there: unknown to this transport, superfluous or misplaced.
    Unexpected {
        /// The component.
        component: String,
        /// The component before it; `None` at the start.
        after: Option<String>,
        /// What could stand there instead.
        expected: &'static str,
    },
    /// The address ends before it is complete.
    Missing {
        /// The last component; `None` if there is none at all.
        after: Option<String>,
        /// What would have to follow.
        expected: &'static str,
    },
    /// A component in its place with a value that cannot be used.
    Invalid {
        /// The component.
        component: String,
        /// What is wrong with the value.
        reason: &'static str,
    },
    /// A component that could stand there, but that this transport does not support.
    Unsupported {
        /// The component.
        component: String,
        /// What to do instead.
        instead: &'static str,
    },
}

impl AddrError {
    /// The component at fault; for [`Missing`](AddrError::Missing), the last one before the gap.
    pub fn component(&self) -> Option<&str> {
        match self {
            AddrError::Malformed { component, .. }
            | AddrError::Unexpected { component, .. }
            | AddrError::Invalid { component, .. }
            | AddrError::Unsupported { component, .. } => Some(component),
            AddrError::Missing { after, .. } => after.as_deref(),
        }
    }

    pub(super) fn malformed(text: &str, source: multiaddr::Error) -> Self {
        AddrError::Malformed { component: legible(&culprit(text)), source }
    }

    pub(super) fn invalid(component: &Protocol<'_>, reason: &'static str) -> Self {
        AddrError::Invalid { component: legible(&component.to_string()), reason }
    }

    pub(super) fn unsupported(component: &Protocol<'_>, instead: &'static str) -> Self {
        AddrError::Unsupported { component: legible(&component.to_string()), instead }
    }

    pub(super) fn unexpected(component: &Protocol<'_>, after: Option<&Protocol<'_>>, expected: &'static str) -> Self {
        let after = after.map(|component| legible(&component.to_string()));
        AddrError::Unexpected { component: legible(&component.to_string()), after, expected }
    }

    pub(super) fn missing(after: Option<&Protocol<'_>>, expected: &'static str) -> Self {
        AddrError::Missing { after: after.map(|component| legible(&component.to_string())), expected }
    }
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddrError::Malformed { component, source } => {
                // The source quotes the text, too.
                write!(f, "malformed component {component}: {}", legible(&source.to_string()))
            }
            AddrError::Unexpected { component, after: Some(after), expected } => {
                write!(f, "unexpected component {component} after {after} (expected {expected})")
            }
            AddrError::Unexpected { component, after: None, expected } => {
                write!(f, "unexpected component {component} at the start (expected {expected})")
            }
            AddrError::Missing { after: Some(after), expected } => {
                write!(f, "the address ends after {after} (expected {expected})")
            }
            AddrError::Missing { after: None, expected } => write!(f, "the address is empty (expected {expected})"),
            AddrError::Invalid { component, reason } => write!(f, "invalid component {component}: {reason}"),
            AddrError::Unsupported { component, instead } => {
                write!(f, "unsupported component {component}: {instead}")
            }
        }
    }
}

impl StdError for AddrError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            AddrError::Malformed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The first component of `text` that the multiaddr crate cannot read: its own errors do not say which.
fn culprit(text: &str) -> String {
    let Some(components) = text.strip_prefix('/') else {
        return text.to_owned();
    };
    let parts: Vec<&str> = components.split('/').collect();
    let mut rest = parts.as_slice();
    while !rest.is_empty() {
        let mut taken = 0;
        let result = Protocol::from_str_parts(rest.iter().copied().inspect(|_| taken += 1));
        let (component, behind) = rest.split_at(taken.min(rest.len()));
        if result.is_err() || component.is_empty() {
            return format!("/{}", component.join("/"));
        }
        rest = behind;
    }
    text.to_owned()
}

/// Others wrote it and logs will show it: no control characters, and not without end.
fn legible(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut chars = text.chars();
    let mut legible: String = chars.by_ref().take(LONGEST).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        legible.push('…');
    }
    legible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::WsAddr;

    fn refusal(text: &str) -> String {
        text.parse::<WsAddr>().unwrap_err().to_string()
    }

    #[test]
    fn a_text_that_is_no_multiaddr_is_refused_naming_its_component_and_keeping_the_cause() {
        for (text, message) in [
            ("example.com", "malformed component example.com: invalid multiaddr"),
            ("/", "malformed component /: unknown protocol string: "),
            ("/ip4/192.0.2.0/ws/", "malformed component /: unknown protocol string: "),
            ("/ip4/300.0.2.0/ws", "malformed component /ip4/300.0.2.0: failed to parse: invalid IPv4 address syntax"),
            ("/ip4/192.0.2.0/tcp", "malformed component /tcp: invalid protocol string"),
            ("/ip4/192.0.2.0/websocket", "malformed component /websocket: unknown protocol string: websocket"),
        ] {
            let error = text.parse::<WsAddr>().unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
            let source = error.source().unwrap();
            assert!(source.is::<multiaddr::Error>(), "{text}");
        }
        assert!(refusal("/ip4/192.0.2.0/tcp/65536/ws").starts_with("malformed component /tcp/65536: "));
        assert!(refusal("/dns/a.example/ws/http-path/%ff").starts_with("malformed component /http-path/%ff: "));
        assert!(refusal("/ip4/192.0.2.0/ws/p2p/0OIl").starts_with("malformed component /p2p/0OIl: "));
    }

    #[test]
    fn what_others_wrote_is_escaped_and_cut_in_an_error() {
        let message = refusal("/dns/a\r\n\u{1b}[31m\u{202e}b/ws");
        assert!(message.starts_with(r"invalid component /dns/a\r\n\u{1b}[31m\u{202e}b: "), "{message}");
        let message = refusal(&format!("/dns/{}/ws", "a".repeat(1 << 20)));
        assert!(message.len() < 250 && message.contains("aaa…: "), "{message}");
    }

    #[test]
    fn unknown_components_are_escaped_and_cut_as_well() {
        let message = refusal(&format!("/ip4/192.0.2.0/\u{1b}[31m{}", "a".repeat(1 << 20)));
        assert!(message.starts_with(r"malformed component /\u{1b}[31ma"), "{message}");
        assert!(message.len() < 300 && !message.contains('\u{1b}'), "{message}");
    }

    #[test]
    fn an_error_gives_the_component_at_fault() {
        let component = |text: &str| text.parse::<WsAddr>().unwrap_err().component().map(str::to_owned);
        assert_eq!(component("/ip4/192.0.2.0/udp/443/quic-v1").as_deref(), Some("/udp/443"));
        assert_eq!(component("/ip4/192.0.2.0/tcp/443").as_deref(), Some("/tcp/443"));
        let empty = WsAddr::try_from(multiaddr::Multiaddr::empty()).unwrap_err();
        assert_eq!(empty.component(), None);
    }
}
