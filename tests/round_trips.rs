//! Round trips until the first byte.
