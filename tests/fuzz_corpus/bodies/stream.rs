//! The byte stream over a hostile pipe: any operations of ours and any bytes of the peer, against a model.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use std::sync::Arc;
use ws_transport::proto::{CloseFrame, Decoder, Event, OpCode, Role, Violation};
use ws_transport::{StreamConfig, TextFrames, WsStream};

use super::common::pipe::{End, Manner, pipe};
use super::common::wire::{Sent, fragment, frame, other};
use super::common::{Woken, pattern};

/// Most operations of a run.
const MAX_STEPS: usize = 200;

/// Empty data frames in a row that a stream takes.
const MAX_EMPTY: usize = 1024;

/// Polls within which a stream has to come to rest when nothing hinders it any more.
const MAX_POLLS: usize = 100_000;

/// An `Arbitrary` scenario.
pub fn run(data: &[u8]) {
    if let Ok(scenario) = Scenario::arbitrary(&mut Unstructured::new(data)) {
        let mut bench = Bench::new(&scenario);
        for step in scenario.steps.iter().take(MAX_STEPS) {
            bench.step(step);
        }
        bench.settle();
    }
}

#[derive(Arbitrary, Debug)]
struct Scenario {
    client: bool,
    read_buffer: u16,
    write_buffer: u16,
    coalesce: bool,
    text: bool,
    early: bool,
    habits: Habits,
    steps: Vec<Step>,
}

/// How the pipe behaves.
#[derive(Arbitrary, Debug)]
struct Habits {
    capacity: u16,
    chunk: u8,
    stutter: bool,
    until_flush: bool,
    vectored: bool,
}

impl Habits {
    fn manner(&self) -> Manner {
        Manner {
            capacity: usize::from(self.capacity) + 1,
            chunk: if self.chunk == 0 { usize::MAX } else { usize::from(self.chunk) },
            stutter: self.stutter,
            until_flush: self.until_flush,
            vectored: self.vectored,
            ..Manner::GOOD
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read(u16),
    Fill(u16),
    Write(u16),
    WriteVectored([u16; 3]),
    Flush,
    Close,
    /// The peer sends a data frame.
    Frame {
        start: bool,
        text: bool,
        fin: bool,
        len: u16,
    },
    Empties(u16),
    Pings(u8),
    Pong(u8),
    PeerClose(u16),
    /// The peer sends anything.
    Raw(Vec<u8>),
    /// The peer shuts its half down.
    Shut,
    /// The peer reads all there is.
    Take,
    Habits(Habits),
}

/// A stream, its peer, and what is known about both.
struct Bench {
    role: Role,
    text: bool,
    stream: WsStream<End>,
    peer: End,
    /// What the peer has sent, and shut behind it.
    wire: Vec<u8>,
    shut: bool,
    /// What the peer has received.
    received: Vec<u8>,
    /// What was read from and written to the stream.
    read: Vec<u8>,
    written: Vec<u8>,
    /// The end that a read has come to.
    ended: Option<Result<(), io::ErrorKind>>,
    closed: bool,
    /// Whether that was before the stream knew of a Close or a mistake of the peer.
    closed_first: bool,
    /// Whether one flush may be put off.
    put_off: bool,
    reader: Parked,
    writer: Parked,
}

/// A task that waits, or not.
struct Parked {
    woken: Arc<Woken>,
    waker: Waker,
    /// How often it had been woken when it was polled last, if that was `Pending`.
    since: Option<usize>,
}

impl Parked {
    fn new() -> Self {
        let (woken, waker) = Woken::new();
        Parked { woken, waker, since: None }
    }

    fn poll<T>(&mut self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let before = self.woken.count();
        let polled = poll(&mut Context::from_waker(&self.waker));
        self.since = polled.is_pending().then_some(before);
        polled
    }

    /// Whether it does not wait, or was woken since.
    fn is_woken(&self) -> bool {
        self.since.is_none_or(|since| self.woken.count() > since)
    }

    fn assert_woken(&self, why: &str) {
        assert!(self.is_woken(), "nobody woke the task: {why}");
    }
}

/// What the peer's bytes mean to a stream.
struct Meaning {
    payload: Vec<u8>,
    pings: Vec<Vec<u8>>,
    end: MeantEnd,
}

#[derive(Debug)]
enum MeantEnd {
    None,
    Closed(Option<CloseFrame>),
    Violated(Violation),
}

fn meaning(role: Role, text: bool, wire: &[u8]) -> Meaning {
    let mut decoder = Decoder::new(role);
    let (mut wire, mut at, mut empties) = (wire.to_vec(), 0, 0);
    let mut meaning = Meaning { payload: Vec::new(), pings: Vec::new(), end: MeantEnd::None };
    loop {
        let (used, event) = match decoder.decode(&wire[at..]) {
            Ok(next) => next,
            Err(violation) => {
                meaning.end = MeantEnd::Violated(violation);
                return meaning;
            }
        };
        at += used;
        match event {
            None => return meaning,
            Some(Event::Frame(header)) => {
                if header.opcode == OpCode::Text && !text {
                    meaning.end = MeantEnd::Violated(Violation::Text);
                    return meaning;
                }
                empties += usize::from(header.len == 0);
                if empties > MAX_EMPTY {
                    meaning.end = MeantEnd::Violated(Violation::EmptyFrames);
                    return meaning;
                }
            }
            Some(Event::Payload(len)) => {
                decoder.unmask(&mut wire[at..at + len]);
                meaning.payload.extend_from_slice(&wire[at..at + len]);
                at += len;
                empties = 0;
            }
            Some(Event::Ping(payload)) => meaning.pings.push(payload),
            Some(Event::Pong(_)) => {}
            Some(Event::Close(frame)) => {
                meaning.end = MeantEnd::Closed(frame);
                return meaning;
            }
        }
    }
}

impl Bench {
    fn new(scenario: &Scenario) -> Self {
        let role = if scenario.client { Role::Client } else { Role::Server };
        let (ours, peer) = pipe(scenario.habits.manner(), Manner::GOOD);
        let text = if scenario.text { TextFrames::Bytes } else { TextFrames::Refuse };
        // No field of its own in the scenario: the seeds would mean something else.
        let put_off = scenario.read_buffer % 2 == 1;
        let config = StreamConfig::new()
            .with_read_buffer(usize::from(scenario.read_buffer))
            .with_write_buffer(usize::from(scenario.write_buffer))
            .with_coalescing(scenario.coalesce)
            .with_flushes_put_off(put_off)
            .with_text_frames(text)
            .with_close_timeout(Duration::MAX);
        let early = if scenario.early { frame(other(role), OpCode::Binary, b"early") } else { Vec::new() };
        Bench {
            role,
            text: scenario.text,
            stream: WsStream::new(ours, role, early.clone(), config),
            peer,
            wire: early,
            shut: false,
            received: Vec::new(),
            read: Vec::new(),
            written: Vec::new(),
            ended: None,
            closed: false,
            closed_first: false,
            put_off,
            reader: Parked::new(),
            writer: Parked::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read(len) => drop(self.read(usize::from(*len))),
            Step::Fill(len) => self.fill(usize::from(*len)),
            Step::Write(len) => self.write(&[usize::from(*len) * 3]),
            Step::WriteVectored(lens) => self.write(&lens.map(usize::from)),
            Step::Flush => drop(self.flush()),
            Step::Close => drop(self.close()),
            Step::Frame { start, text, fin, len } => {
                let opcode = match (start, text) {
                    (true, true) => OpCode::Text,
                    (true, false) => OpCode::Binary,
                    (false, _) => OpCode::Continuation,
                };
                self.put(&fragment(other(self.role), *fin, opcode, &pattern(usize::from(*len))));
            }
            Step::Empties(count) => {
                let empty = frame(other(self.role), OpCode::Binary, b"");
                self.put(&empty.repeat(usize::from(*count) % 2000));
            }
            Step::Pings(count) => {
                let pings: Vec<u8> = (0..*count).flat_map(|i| frame(other(self.role), OpCode::Ping, &[i])).collect();
                self.put(&pings);
            }
            Step::Pong(len) => self.put(&frame(other(self.role), OpCode::Pong, &pattern(usize::from(*len % 126)))),
            Step::PeerClose(code) => self.put(&frame(other(self.role), OpCode::Close, &code.to_be_bytes())),
            Step::Raw(bytes) => self.put(bytes),
            Step::Shut => self.shut(),
            Step::Take => self.take(),
            Step::Habits(habits) => {
                self.stream.get_mut().set_manner(habits.manner());
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.shut {
            return;
        }
        self.wire.extend_from_slice(bytes);
        self.peer.put(bytes);
        self.reader.assert_woken("there is something to read");
    }

    fn shut(&mut self) {
        self.shut = true;
        let _ = Pin::new(&mut self.peer).poll_close(&mut Context::from_waker(Waker::noop()));
        self.reader.assert_woken("the peer has shut its half down");
    }

    fn take(&mut self) {
        let bytes = self.peer.take_all();
        if !bytes.is_empty() {
            self.received.extend_from_slice(&bytes);
            // After a violation closing waits for the end of the input, also where ours was the first Close.
            let violated = || matches!(meaning(self.role, self.text, &self.wire).end, MeantEnd::Violated(_));
            if !(self.closed && violated()) {
                self.writer.assert_woken("there is room");
            }
        }
        let sent = Sent::parse(self.role, &self.received);
        assert!(self.written.starts_with(&sent.data), "what arrives is what was written");
    }

    fn read(&mut self, len: usize) -> Poll<()> {
        let mut buf = vec![0xEE; len * 2];
        let polled = self.reader.poll(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut buf));
        let Poll::Ready(result) = polled else { return Poll::Pending };
        match result {
            Ok(0) if buf.is_empty() => {}
            Ok(0) => self.end(Ok(())),
            Ok(len) => {
                assert!(self.ended.is_none(), "data after the end");
                self.read.extend_from_slice(&buf[..len]);
            }
            Err(error) => self.end(Err(error.kind())),
        }
        Poll::Ready(())
    }

    fn fill(&mut self, consume: usize) {
        let stream = &mut self.stream;
        let polled = self.reader.poll(|cx| {
            Pin::new(&mut *stream)
                .poll_fill_buf(cx)
                .map_ok(|bytes| (bytes.len(), bytes[..bytes.len().min(consume)].to_vec()))
        });
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok((0, _))) => self.end(Ok(())),
            Poll::Ready(Ok((_, bytes))) => {
                assert!(self.ended.is_none(), "data after the end");
                Pin::new(&mut self.stream).consume(bytes.len());
                self.read.extend(bytes);
            }
            Poll::Ready(Err(error)) => self.end(Err(error.kind())),
        }
    }

    fn end(&mut self, end: Result<(), io::ErrorKind>) {
        assert_eq!(*self.ended.get_or_insert(end), end, "the end stays the same");
    }

    fn write(&mut self, lens: &[usize]) {
        // Goes on where the last write stopped, so that a loss or a repetition shows.
        let bytes = pattern(self.written.len() % 251 + lens.iter().sum::<usize>()).split_off(self.written.len() % 251);
        let (mut slices, mut rest) = (Vec::new(), &bytes[..]);
        for len in lens {
            let (slice, after) = rest.split_at(*len);
            slices.push(io::IoSlice::new(slice));
            rest = after;
        }
        let stream = Pin::new(&mut self.stream);
        let polled = self.writer.poll(|cx| match &slices[..] {
            [slice] => stream.poll_write(cx, slice),
            slices => stream.poll_write_vectored(cx, slices),
        });
        match polled {
            Poll::Ready(Ok(0)) => assert!(bytes.is_empty(), "a write of something takes something"),
            Poll::Ready(Ok(len)) => {
                assert!(!self.closed, "taken after close");
                self.written.extend_from_slice(&bytes[..len]);
            }
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}"),
            Poll::Pending => {}
        }
    }

    fn flush(&mut self) -> Poll<()> {
        let polled = self.writer.poll(|cx| Pin::new(&mut self.stream).poll_flush(cx));
        polled.map(|result| {
            result.expect("the pipe does not fail");
            self.take();
            assert_eq!(Sent::parse(self.role, &self.received).data.len(), self.written.len(), "a flush sends all");
        })
    }

    fn close(&mut self) -> Poll<()> {
        self.closed_first |= !self.closed && self.stream.closed().is_none();
        self.closed = true;
        let polled = self.writer.poll(|cx| Pin::new(&mut self.stream).poll_close(cx));
        polled.map(|result| result.expect("the pipe does not fail"))
    }

    /// Lets everything through, and looks at what came of it.
    fn settle(&mut self) {
        self.stream.get_mut().set_manner(Manner::GOOD);
        let meant = meaning(self.role, self.text, &self.wire);
        for _ in 0..MAX_POLLS {
            if self.read(4096).is_pending() && !self.reader.is_woken() || self.ended.is_some() {
                break;
            }
        }
        let flushed = self.flush().is_ready() || self.put_off && self.flush().is_ready();
        assert!(flushed, "nothing is in the way");
        assert_eq!(self.read.len(), meant.payload.len());
        assert_eq!(self.read, meant.payload, "what is read is what the peer sent");

        let sent = Sent::parse(self.role, &self.received);
        let pongs: Vec<&Vec<u8>> = sent.control.iter().filter_map(as_pong).collect();
        let mut pings = meant.pings.iter();
        assert!(pongs.iter().all(|pong| pings.any(|ping| ping == *pong)), "every Pong answers a Ping, in order");

        match &meant.end {
            MeantEnd::None if self.shut => {
                assert_eq!(self.ended, Some(Err(io::ErrorKind::UnexpectedEof)));
            }
            MeantEnd::None => {
                assert_eq!(self.ended, None);
                if !self.closed {
                    assert_eq!(pongs.last().copied(), meant.pings.last(), "the last Ping is answered");
                    assert_eq!(sent.close_code(), None);
                }
            }
            MeantEnd::Closed(frame) => {
                let code = frame.as_ref().map(|frame| frame.code().get());
                let clean = matches!(code, None | Some(1000 | 1001)) || self.closed_first;
                assert_eq!(self.ended, Some(if clean { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted) }));
                if !self.closed_first {
                    assert_eq!(sent.close_code(), Some(code), "the Close is answered");
                }
            }
            MeantEnd::Violated(violation) => {
                assert_eq!(self.ended, Some(Err(io::ErrorKind::InvalidData)));
                if !self.closed_first {
                    assert_eq!(sent.close_code(), Some(Some(violation.close_code().get())), "the peer is told");
                }
            }
        }

        // A violation has the rest of the input thrown away, up to its end.
        self.shut();
        for _ in 0..MAX_POLLS {
            if self.close().is_ready() {
                break;
            }
        }
        assert!(self.close().is_ready(), "closing ends");
        assert!(self.peer.is_shut());
        self.take();
        let sent = Sent::parse(self.role, &self.received);
        assert!(sent.close_code().is_some(), "a Close was sent");
        assert_eq!(sent.data.len(), self.written.len(), "nothing was lost");
        self.write(&[1]);
    }
}

fn as_pong(event: &Event) -> Option<&Vec<u8>> {
    match event {
        Event::Pong(payload) => Some(payload),
        _ => None,
    }
}
