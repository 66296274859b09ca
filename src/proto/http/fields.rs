//! The header fields of a head, where they stand in it.

use std::error::Error as StdError;

use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{FieldError, HeadError, MAX_HEADERS, is_token_byte, line_len};

/// How many fields there is room for at first; browsers send about a dozen.
const USUAL: usize = 12;

/// Longest name of a field, in bytes, as [`HeaderName`] has it.
const MAX_NAME: usize = 0xffff;

/// The header fields of a head: names and values in their order, borrowed from it.
///
/// A handshake looks at some six of them, once. A [`HeaderMap`] costs it an allocation each, and a hash; whoever wants
/// one is [given it](Self::to_map).
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<Field<'a>>);

/// Name and value, without the white space around it.
type Field<'a> = (&'a [u8], &'a [u8]);

impl<'a> Fields<'a> {
    /// Takes the lines of a head apart, as the scanner found them, the empty one at their end included.
    pub(super) fn parse(lines: &'a [u8]) -> Result<Self, HeadError> {
        let mut fields = Vec::with_capacity(USUAL);
        let mut rest = lines;
        while rest != b"\r\n" {
            if fields.len() == MAX_HEADERS {
                return Err(HeadError::TooManyFields);
            }
            let (field, after) = split_field(rest).ok_or_else(|| malformed(lines))?;
            fields.push(field);
            rest = after;
        }
        Ok(Fields(fields))
    }

    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        self.0.iter().filter(move |(other, _)| is_called(other, name)).map(|(_, value)| *value)
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of the one field of this name.
    pub(crate) fn one(&self, name: HeaderName) -> Result<&'a [u8], FieldError> {
        let first_two = {
            let mut values = self.all(&name);
            (values.next(), values.next())
        };
        match first_two {
            (Some(value), None) => Ok(value),
            (None, _) => Err(FieldError::Missing(name)),
            _ => Err(FieldError::Repeated(name)),
        }
    }

    /// All of them, for those outside.
    pub(crate) fn to_map(&self) -> Result<HeaderMap, HeadError> {
        let parse = |name: &[u8], value: &[u8]| -> Result<_, Box<dyn StdError + Send + Sync>> {
            Ok((HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?))
        };
        let mut map = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            let (name, value) = parse(name, value).map_err(|error| HeadError::Field(Some(error)))?;
            map.append(name, value);
        }
        Ok(map)
    }
}

/// Whether this is `name`, which is in lower case, in whatever case; without a branch, so that bytes are compared together.
fn is_called(field: &[u8], name: &[u8]) -> bool {
    let differences = || field.iter().zip(name).fold(0, |all, (byte, lower)| all | (byte.to_ascii_lowercase() ^ lower));
    field.len() == name.len() && differences() == 0
}

/// The first field, and what comes after its line (RFC 9112 §5).
fn split_field(lines: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (name, rest) = lines.split_at_checked(lines.iter().position(|&byte| !is_token_byte(byte))?)?;
    let rest = rest.strip_prefix(b":")?;
    let (value, rest) = rest.split_at_checked(line_len(rest))?;
    let after = rest.strip_prefix(b"\r\n")?;
    (1..=MAX_NAME).contains(&name.len()).then_some(((name, trim(value)), after))
}

/// Without the white space around it, which is no part of a value (RFC 9110 §5.5).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Some field is malformed: what a parser says that tells why.
fn malformed(lines: &[u8]) -> HeadError {
    HeadError::Field(HeaderMap::try_parse(lines).err().map(|error| Box::new(error) as _))
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_tungstenite::tungstenite::http::header;

    #[test]
    fn fields_are_found_in_their_order_by_names_of_any_case() {
        let fields = Fields::parse(b"Upgrade:a\r\nHOST: \t b c \t\r\nupgrade:\r\n\r\n").expect("good");
        assert_eq!(fields.all(&header::UPGRADE).collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(fields.one(header::UPGRADE), Err(FieldError::Repeated(header::UPGRADE)));
        assert_eq!(fields.one(header::HOST), Ok(&b"b c"[..]));
        assert_eq!(fields.one(header::ORIGIN), Err(FieldError::Missing(header::ORIGIN)));
        let map = fields.to_map().expect("good");
        assert_eq!(map.get_all(header::UPGRADE).iter().collect::<Vec<_>>(), ["a", ""]);
    }

    #[test]
    fn a_malformed_field_is_refused_with_the_reason_of_a_parser() {
        for lines in [&b"a\r\n\r\n"[..], b": b\r\n\r\n", b"a : b\r\n\r\n", b"a(b): c\r\n\r\n"] {
            let error = Fields::parse(lines).expect_err("malformed");
            assert!(matches!(error, HeadError::Field(Some(_))), "{lines:?}: {error:?}");
        }
        for cut in [&b""[..], b"a: b\r\n", b"a: b", b"\r\na: b\r\n\r\n"] {
            assert!(matches!(Fields::parse(cut), Err(HeadError::Field(_))), "{cut:?}");
        }
        let long = [&vec![b'a'; MAX_NAME + 1][..], b": b\r\n\r\n"].concat();
        assert!(Fields::parse(&long).is_err() && Fields::parse(&long[1..]).is_ok());
    }
}
