//! The command line, as the example `peer` has it.

use std::time::Duration;

use libp2p::Multiaddr;

type Error = Box<dyn std::error::Error + Send + Sync>;

pub struct Arguments {
    pub listen: bool,
    pub addresses: Vec<Multiaddr>,
    /// Files of a certificate chain and its key.
    pub tls: Option<(String, String)>,
    pub ca: Option<String>,
    pub mib: usize,
    pub streams: usize,
    pub pings: usize,
    pub timeout: Duration,
    pub late_close: bool,
    /// MiB up and down.
    pub perf: Option<(usize, usize)>,
    pub first_byte: bool,
    pub lazy: bool,
    pub yamux_streams: Option<usize>,
}

impl Arguments {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let listen = match words.next().as_deref() {
            Some("listen") => true,
            Some("dial") => false,
            _ => return Err("usage: listen <multiaddr>... | dial <multiaddr>".into()),
        };
        let mut arguments = Self {
            listen,
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
            lazy: false,
            yamux_streams: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| Error::from(format!("{word} lacks its value")));
            match word.as_str() {
                "--tls" => arguments.tls = Some((value()?, value()?)),
                "--ca" => arguments.ca = Some(value()?),
                "--mib" => arguments.mib = value()?.parse()?,
                "--streams" => arguments.streams = value()?.parse()?,
                "--pings" => arguments.pings = value()?.parse()?,
                "--timeout" => arguments.timeout = Duration::from_secs(value()?.parse()?),
                "--late-close" => arguments.late_close = true,
                "--perf" => {
                    let value = value()?;
                    let (up, down) = value.split_once(',').ok_or("--perf wants UP_MIB,DOWN_MIB")?;
                    arguments.perf = Some((up.parse()?, down.parse()?));
                }
                "--first-byte" => arguments.first_byte = true,
                "--lazy" => arguments.lazy = true,
                "--yamux-streams" => arguments.yamux_streams = Some(value()?.parse()?),
                option if option.starts_with("--") => return Err(format!("unknown option {option}").into()),
                address => arguments.addresses.push(address.parse()?),
            }
        }
        if arguments.addresses.is_empty() || (!listen && arguments.addresses.len() > 1) {
            return Err("which address?".into());
        }
        Ok(arguments)
    }
}
