//! What a dial is told by: one line of JSON.

use std::fmt::{self, Write};

/// What is known so far; what is `None` is left out, but for `rtt_ms` and `error`, which are `null`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) peer: Option<String>,
    pub(crate) agent: Option<String>,
    /// From the start of the dial to the first byte that was echoed.
    pub(crate) first_byte_ms: Option<f64>,
    /// Median of the pings.
    pub(crate) rtt_ms: Option<f64>,
    /// Of the echo streams that came back whole.
    pub(crate) bytes: u64,
    pub(crate) perf_up_s: Option<f64>,
    pub(crate) perf_down_s: Option<f64>,
    pub(crate) cpu_s: Option<f64>,
    pub(crate) error: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"ok\": {}", self.ok)?;
        for (name, text) in [("peer", &self.peer), ("agent", &self.agent)] {
            if let Some(text) = text {
                write!(f, ", \"{name}\": {}", Quoted(text))?;
            }
        }
        let numbers = [
            ("first_byte_ms", self.first_byte_ms),
            ("rtt_ms", self.rtt_ms),
            ("perf_up_s", self.perf_up_s),
            ("perf_down_s", self.perf_down_s),
            ("cpu_s", self.cpu_s),
        ];
        for (name, number) in numbers {
            match number {
                Some(number) => write!(f, ", \"{name}\": {number:.6}")?,
                None if name == "rtt_ms" => f.write_str(", \"rtt_ms\": null")?,
                None => {}
            }
        }
        write!(f, ", \"bytes\": {}, \"error\": ", self.bytes)?;
        match &self.error {
            Some(error) => write!(f, "{}}}", Quoted(error)),
            None => f.write_str("null}"),
        }
    }
}

/// A string of JSON (RFC 8259 §7).
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                // More than has to be: a peer's words must not move the cursor of a terminal.
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_stay_on_their_line() {
        assert_eq!(Quoted("a\"b\\c\n\u{1b}ü").to_string(), r#""a\"b\\c\u000a\u001bü""#);
    }

    #[test]
    fn a_report_without_a_ping_says_so() {
        let report = Report { error: Some("none".into()), ..Report::default() };
        assert_eq!(report.to_string(), r#"{"ok": false, "rtt_ms": null, "bytes": 0, "error": "none"}"#);
    }
}
