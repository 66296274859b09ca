//! Rules of the HTTP/1.1 heads of the opening handshake (RFC 6455 §4, RFC 9112), without IO.
