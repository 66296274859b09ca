//! The face of a backend that is not compiled in: its values cannot exist.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use super::name::ServerName;
use super::stream::{LendingSession, Session};
use super::{ClientBuilder, ServerBuilder, TlsError};

pub(super) const COMPILED_IN: bool = false;

#[derive(Clone)]
pub(super) enum Connector {}

impl Connector {
    pub(super) fn new(_: &ClientBuilder) -> Result<Self, TlsError> {
        Err(TlsError::Unavailable)
    }

    pub(super) async fn connect<IO>(&self, _: ServerName, _: IO) -> Result<Stream<IO>, TlsError> {
        match *self {}
    }
}

#[derive(Clone)]
pub(super) enum Acceptor {}

impl Acceptor {
    pub(super) fn new(_: &ServerBuilder) -> Result<Self, TlsError> {
        Err(TlsError::Unavailable)
    }

    pub(super) fn replace(&self, _: &[u8], _: &[u8]) -> Result<(), TlsError> {
        match *self {}
    }

    pub(super) async fn accept<IO>(&self, _: IO) -> Result<Stream<IO>, TlsError> {
        match *self {}
    }
}

pub(super) struct Stream<IO>(Infallible, PhantomData<IO>);

impl<IO> LendingSession for Stream<IO> {
    fn poll_lend(&mut self, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self.0 {}
    }
    fn consume(&mut self, _: usize) {
        match self.0 {}
    }
}

impl<IO> Session<IO> for Stream<IO> {
    fn io(&self) -> &IO {
        match self.0 {}
    }
    fn io_mut(&mut self) -> &mut IO {
        match self.0 {}
    }
    fn alpn(&self) -> Option<Vec<u8>> {
        match self.0 {}
    }
    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        match self.0 {}
    }
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }
    fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }
    fn poll_write_vectored(&mut self, _: &mut Context<'_>, _: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
    fn poll_close_notify(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
