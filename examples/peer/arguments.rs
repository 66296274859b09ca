//! The command line.

use std::time::Duration;

use ws_transport::multiaddr::Multiaddr;

use crate::failure::Result;

const USAGE: &str = "usage: peer listen <multiaddr>... [--tls CHAIN.pem KEY.pem]
       peer dial <multiaddr> [--ca CA.pem] [--mib N] [--streams N] [--pings N] [--timeout S] [--late-close]
                 [--perf UP_MIB,DOWN_MIB] [--first-byte]";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Listen,
    Dial,
}

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    /// Never empty, and one to dial.
    pub(crate) addresses: Vec<Multiaddr>,
    /// Files of a certificate chain and its key.
    pub(crate) tls: Option<(String, String)>,
    pub(crate) ca: Option<String>,
    /// Size of an echo, in MiB.
    pub(crate) mib: u32,
    pub(crate) streams: u32,
    pub(crate) pings: u32,
    pub(crate) timeout: Duration,
    pub(crate) late_close: bool,
    /// MiB up and down.
    pub(crate) perf: Option<(u32, u32)>,
    pub(crate) first_byte: bool,
}

impl Arguments {
    pub(crate) fn parse(words: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let mut words = words.into_iter().map(Into::into);
        let command = match words.next().as_deref() {
            Some("listen") => Command::Listen,
            Some("dial") => Command::Dial,
            _ => return Err(USAGE.into()),
        };
        let mut arguments = Arguments {
            command,
            addresses: Vec::new(),
            tls: None,
            ca: None,
            mib: 1,
            streams: 1,
            pings: 3,
            timeout: Duration::from_secs(60),
            late_close: false,
            perf: None,
            first_byte: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} lacks its value"));
            match word.as_str() {
                "--tls" => arguments.tls = Some((value()?, value()?)),
                "--ca" => arguments.ca = Some(value()?),
                "--mib" => arguments.mib = number(&word, &value()?)?,
                "--streams" => arguments.streams = number(&word, &value()?)?,
                "--pings" => arguments.pings = number(&word, &value()?)?,
                "--timeout" => arguments.timeout = Duration::from_secs(number(&word, &value()?)?.into()),
                "--late-close" => arguments.late_close = true,
                "--perf" => {
                    let value = value()?;
                    let (up, down) = value.split_once(',').ok_or("--perf wants UP_MIB,DOWN_MIB")?;
                    arguments.perf = Some((number(&word, up)?, number(&word, down)?));
                }
                "--first-byte" => arguments.first_byte = true,
                option if option.starts_with("--") => return Err(format!("unknown option {option}\n{USAGE}").into()),
                address => arguments.addresses.push(address.parse().map_err(|error| format!("{address}: {error}"))?),
            }
        }
        match (command, arguments.addresses.len()) {
            (_, 0) | (Command::Dial, 2..) => Err(USAGE.into()),
            _ => Ok(arguments),
        }
    }

    /// Whether a dial ends with the first byte.
    pub(crate) fn only_first_byte(&self) -> bool {
        self.first_byte && self.streams == 0 && self.pings == 0 && self.perf.is_none()
    }
}

fn number(option: &str, value: &str) -> Result<u32> {
    Ok(value.parse().map_err(|error| format!("{option} {value}: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace())
    }

    #[test]
    fn options_may_come_in_any_order() {
        let line = "dial --mib 16 /ip4/127.0.0.1/tcp/1/ws --perf 64,0 --streams 8 --late-close --timeout 5";
        let arguments = parse(line).unwrap();
        assert_eq!((arguments.mib, arguments.streams, arguments.pings), (16, 8, 3));
        assert_eq!((arguments.perf, arguments.late_close), (Some((64, 0)), true));
        assert_eq!(arguments.timeout, Duration::from_secs(5));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lines = ["", "talk", "listen", "dial", "dial /ip4/1.2.3.4/tcp/1/ws /ip4/1.2.3.4/tcp/2/ws", "dial nowhere"];
        let options = ["--mib -1", "--mib", "--perf 1", "--streams x", "--what"];
        let options = options.map(|option| format!("dial /ip4/1.2.3.4/tcp/1/ws {option}"));
        for line in lines.into_iter().chain(options.iter().map(String::as_str)) {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
