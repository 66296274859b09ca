//! Network namespaces, and TUN devices in them.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::{io, thread};

use rustix::fs::OFlags;
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::{Claim, Why};

/// A network namespace of this process; it is gone when nothing uses it any more.
pub(super) struct Namespace(File);

impl Namespace {
    /// A new one, whose loopback interface is up.
    pub(super) fn new() -> Result<Self, Why> {
        let make = || {
            // SAFETY: no descriptor and no memory is unshared, only the network of a thread that ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
            File::open("/proc/thread-self/ns/net")
        };
        let made = thread::spawn(make).join().map_err(|_| "a thread panicked")?;
        let namespace = Namespace(made?);
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Works on a thread in there: its sockets, and those of the processes it starts, are of this namespace.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Why> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            inside.join().map_err(|_| Why::from("a thread panicked"))?
        })
    }

    /// Runs the program `ip` in there.
    pub(super) fn ip(&self, arguments: &str) -> Claim {
        let output = self.enter(|| Command::new("ip").args(arguments.split(' ')).output())??;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// A TUN device `tun0` in there, up, with this address of a network of 256.
    ///
    /// What is sent to that network is read from the file, one IP packet a read; what is written to it is received.
    pub(super) fn tun(&self, address: &str) -> Result<File, Why> {
        let device = self.enter(open_tun)??;
        self.ip(&format!("address add {address}/24 dev tun0"))?;
        self.ip(&format!("link set tun0 txqueuelen {QUEUE} up"))?;
        Ok(device)
    }
}

/// Packets that wait in a device for the relay, when that has no CPU, before the device drops any.
///
/// All that some transfers can have under way, 6 MiB each at most: what is lost, the relay has lost. The usual 500 overflow on
/// a busy machine, and a retransmission that is lost like this after an outage is one too many for a short keepalive.
const QUEUE: u32 = 50_000;

/// The kernel's `struct ifreq`, as far as TUN devices use it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// TUN, and IP packets without anything before them (`IFF_TUN | IFF_NO_PI`).
const PLAIN_TUN: u16 = 0x0001 | 0x1000;

/// `TUNSETIFF`.
const SET_INTERFACE: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);

fn open_tun() -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let device = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open("/dev/net/tun")?;
    let mut request = InterfaceRequest { name: [0; 16], flags: PLAIN_TUN, rest: [0; 22] };
    request.name[..4].copy_from_slice(b"tun0");
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which has 40 bytes.
    unsafe { ioctl(&device, Setter::<SET_INTERFACE, InterfaceRequest>::new(request))? };
    Ok(device)
}
