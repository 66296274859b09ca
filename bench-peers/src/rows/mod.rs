//! Ways to get two connected ends, in groups that are held against the same limits.

mod groups;

use futures_util::future::LocalBoxFuture;

pub use groups::GROUPS;

use crate::common::{self, Direction, Pair};
use crate::runtime::Runtime;
use crate::stack::{Ends, Stack};
use crate::work::Work;

/// Rows that are measured together: one after the other in every round.
pub struct Group {
    pub name: &'static str,
    /// What a row's two limits are called above their columns.
    pub limits: [&'static str; 2],
    pub works: fn() -> Vec<Work>,
    pub rows: fn() -> Vec<Row>,
}

/// A way to get two connected ends.
pub struct Row {
    pub name: &'static str,
    /// The rows whose figures its own are divided by.
    pub limits: [&'static str; 2],
    kind: Kind,
    opening: Opening,
}

/// What goes over a fresh connection first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// A request and a response, or more.
    Own,
    /// Nothing: where connecting is measured, a byte each way stands for it.
    Byte,
    /// Nothing, for the library leaves it to others: it cannot be compared in that.
    Missing,
}

enum Kind {
    /// Byte streams.
    Pairs { runtime: &'static Runtime, connect: Connect, prepare: Box<dyn Fn(usize)> },
    /// Streams of the full stack.
    Stack(Box<Stack>),
}

/// Connects two ends.
type Connect = Box<dyn Fn() -> LocalBoxFuture<'static, Pair>>;

impl Row {
    fn new<F: Future<Output = Pair> + 'static>(
        name: &'static str,
        limits: [&'static str; 2],
        runtime: &'static Runtime,
        connect: impl Fn() -> F + 'static,
    ) -> Self {
        let connect: Connect = Box::new(move || Box::pin(connect()));
        let kind = Kind::Pairs { runtime, connect, prepare: Box::new(|_| {}) };
        Row { name, limits, kind, opening: Opening::Own }
    }

    /// A limit, which sends no more than it is given.
    fn raw(self) -> Self {
        Row { opening: Opening::Byte, ..self }
    }

    fn without_opening(self) -> Self {
        Row { opening: Opening::Missing, ..self }
    }

    /// Whether it is worth connecting for its own sake.
    fn opens(&self) -> bool {
        self.opening != Opening::Missing && !self.name.ends_with("-buffered")
    }

    /// With something to be done before so many connections are made and measured.
    fn prepared_by(mut self, by: impl Fn(usize) + 'static) -> Self {
        if let Kind::Pairs { prepare, .. } = &mut self.kind {
            *prepare = Box::new(by);
        }
        self
    }

    /// So many connections at once; of the full stack one.
    pub fn connect(&self, connections: usize) -> Connected {
        match &self.kind {
            Kind::Pairs { runtime, connect, .. } => {
                let pairs = runtime.block_on(async {
                    let mut pairs = Vec::with_capacity(connections);
                    for _ in 0..connections {
                        pairs.push(connect().await);
                    }
                    pairs
                });
                Connected::Pairs(pairs, runtime)
            }
            Kind::Stack(stack) => Connected::Ends(stack.connect()),
        }
    }

    /// Does what goes before [`set_up`](Self::set_up) and is not part of it.
    pub fn prepare(&self, times: usize) {
        if let Kind::Pairs { prepare, .. } = &self.kind {
            prepare(times);
        }
    }

    /// Connects so many times, one after the other, and drops the connections.
    ///
    /// In one `block_on`, as in a program that runs: after each, async-io's own thread looks at the reactor for a while.
    pub fn set_up(&self, times: usize) {
        match &self.kind {
            Kind::Pairs { runtime, connect, .. } => runtime.block_on(async {
                for _ in 0..times {
                    let mut pair = connect().await;
                    if self.opening == Opening::Byte {
                        common::greet(&mut pair).await;
                    }
                }
            }),
            Kind::Stack(stack) => stack.set_up(times as u64),
        }
    }
}

/// Connected ends.
pub enum Connected {
    Pairs(Vec<Pair>, &'static Runtime),
    Ends(Ends),
}

impl Connected {
    pub fn connections(&self) -> usize {
        match self {
            Connected::Pairs(pairs, _) => pairs.len(),
            Connected::Ends(_) => 1,
        }
    }

    /// Moves `total` bytes over each connection in writes of `size` and says how many arrived.
    pub fn transfer(&mut self, direction: Direction, size: usize, total: u64) -> u64 {
        match self {
            Connected::Pairs(pairs, runtime) => runtime.block_on(common::transfer(pairs, direction, size, total)),
            Connected::Ends(ends) => ends.transfer(direction, size, total),
        }
    }

    /// Sends `size` bytes there and back over each connection, `times` times.
    pub fn ping_pong(&mut self, size: usize, times: u64) {
        match self {
            Connected::Pairs(pairs, runtime) => runtime.block_on(async {
                for pair in pairs {
                    common::ping_pong(pair, size, times).await;
                }
            }),
            Connected::Ends(ends) => ends.ping_pong(size, times),
        }
    }

    /// Lets what is under way arrive, and all ends wait for a byte, as idle ones do.
    ///
    /// One connection after the other: the tasks of one are gone before those of the next take their memory.
    pub fn settle(&mut self) {
        match self {
            Connected::Pairs(pairs, runtime) => runtime.block_on(async {
                for pair in pairs {
                    common::ping_pong(pair, 1, 4).await;
                    common::wait(pair);
                }
            }),
            Connected::Ends(ends) => ends.ping_pong(1, 4),
        }
    }
}
