//! The wire format of Protocol Buffers, as much of it as the request path needs: a reader that borrows from the
//! message, so that keys and values are bytes and nothing is copied, and a writer into one buffer.

/// Why bytes are no message. Everything else, unknown fields and unexpected types too, is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message ends inside a field.
    #[error("it ends inside a field")]
    Truncated,
    /// A number of more than ten bytes.
    #[error("it has a number of more than 64 bits")]
    LongNumber,
    /// A field number of zero, or beyond 2^29 - 1.
    #[error("it has a field number that does not exist")]
    FieldNumber,
    /// A wire type that does not exist, or the end of a group that did not begin.
    #[error("it has a field of a type that does not exist")]
    WireType,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// A number of eight bytes, such as the bits of a double.
    Fixed64(u64),
    /// A number of four bytes or a group; no message read here has any.
    Other,
}

/// Reads the fields of one message in their order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over the bytes of one message.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Number(self.number()?),
            2 => Value::Bytes(self.bytes()?),
            1 => {
                let bytes = self.take(8)?.first_chunk().ok_or(Malformed::Truncated)?;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            3 => {
                self.skip_group()?;
                Value::Other
            }
            fixed => {
                self.skip_fixed(fixed)?;
                Value::Other
            }
        };
        Ok(Some((number, value)))
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = self.number()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed::FieldNumber)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Malformed::FieldNumber);
        }
        Ok((number, (tag & 7) as u8))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (position, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                self.rest = &self.rest[position + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Malformed::Truncated } else { Malformed::LongNumber })
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed::Truncated)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip_fixed(&mut self, wire_type: u8) -> Result<(), Malformed> {
        match wire_type {
            1 => self.take(8).map(drop),
            5 => self.take(4).map(drop),
            _ => Err(Malformed::WireType),
        }
    }

    /// Skips to the end of a group that has begun. Counts instead of recursing: nesting costs the sender, not us.
    fn skip_group(&mut self) -> Result<(), Malformed> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.tag()?.1 {
                0 => drop(self.number()?),
                2 => drop(self.bytes()?),
                3 => depth += 1,
                4 => depth -= 1,
                fixed => self.skip_fixed(fixed)?,
            }
        }
        Ok(())
    }
}

/// An entry of a map from texts to texts or messages: its key and its value, empty where they are missing.
///
/// # Errors
/// [`Malformed`].
pub fn pair(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Writes a message into one buffer. Fields with their default value are left out, as proto3 does, except where a
/// method says otherwise.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// Goes on after what `buffer` already holds.
    #[must_use]
    pub const fn after(buffer: Vec<u8>) -> Self {
        Self { buffer }
    }

    /// What was written.
    #[must_use]
    pub fn into_inner(self) -> Vec<u8> {
        self.buffer
    }

    /// A number, also of an enumeration or a truth value.
    pub fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value);
        }
    }

    /// A double, written even when it is zero (it stands in a oneof).
    pub fn double(&mut self, field: u32, value: f64) {
        self.tag(field, 1);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A truth value, written even when it is false (it stands in a oneof).
    pub fn boolean(&mut self, field: u32, value: bool) {
        self.tag(field, 0);
        self.buffer.push(u8::from(value));
    }

    /// Bytes or a text.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_always(field, value);
        }
    }

    /// Bytes or a text, written even when empty (it stands in a oneof).
    pub fn bytes_always(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    /// A message, present even when it has no fields. The length stands before the content and is known only after
    /// it: one byte is kept free, and the rare long content moves.
    pub fn message(&mut self, field: u32, content: impl FnOnce(&mut Self)) {
        self.tag(field, 2);
        let start = self.buffer.len();
        self.buffer.push(0);
        content(self);
        let length = self.buffer.len() - start - 1;
        if length < 0x80 {
            self.buffer[start] = length as u8;
            return;
        }
        let mut encoded = [0; 10];
        let used = encode_varint(length as u64, &mut encoded);
        let end = self.buffer.len();
        self.buffer.resize(end + used - 1, 0);
        self.buffer.copy_within(start + 1..end, start + used);
        self.buffer[start..start + used].copy_from_slice(&encoded[..used]);
    }

    fn tag(&mut self, field: u32, wire_type: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire_type));
    }

    fn varint(&mut self, value: u64) {
        if value < 0x80 {
            self.buffer.push(value as u8);
            return;
        }
        let mut encoded = [0; 10];
        let used = encode_varint(value, &mut encoded);
        self.buffer.extend_from_slice(&encoded[..used]);
    }
}

fn encode_varint(mut value: u64, out: &mut [u8; 10]) -> usize {
    let mut used = 0;
    while value >= 0x80 {
        out[used] = value as u8 | 0x80;
        value >>= 7;
        used += 1;
    }
    out[used] = value as u8;
    used + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back() {
        for shift in 0..64 {
            let value = u64::MAX >> shift;
            let mut writer = Writer::default();
            writer.number(5, value);
            let bytes = writer.into_inner();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.field(), Ok(Some((5, Value::Number(value)))));
            assert_eq!(reader.field(), Ok(None));
        }
    }

    #[test]
    fn long_messages_move_behind_their_length() {
        for length in [0, 1, 125, 126, 127, 128, 129, 16_381, 16_384, 40_000] {
            let content = vec![7_u8; length];
            let mut writer = Writer::default();
            writer.message(1, |outer| {
                outer.message(2, |inner| inner.bytes(3, &content));
                outer.number(4, 9);
            });
            let bytes = writer.into_inner();
            let Ok(Some((1, Value::Bytes(outer)))) = Reader::new(&bytes).field() else { panic!("{length}") };
            let mut outer = Reader::new(outer);
            let Ok(Some((2, Value::Bytes(inner)))) = outer.field() else { panic!("{length}") };
            assert_eq!(outer.field(), Ok(Some((4, Value::Number(9)))));
            let expected = (length > 0).then_some((3, Value::Bytes(&content[..])));
            assert_eq!(Reader::new(inner).field(), Ok(expected));
        }
    }

    #[test]
    fn groups_and_fixed_numbers_are_skipped() {
        // A group 1 with a nested group 2, a number, a text and fixed numbers, then field 3 = 1.
        let bytes = [
            0x0b, 0x13, 0x08, 0x96, 0x01, 0x14, 0x12, 0x01, 0x61, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x0c,
            0x18, 1,
        ];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.field(), Ok(Some((1, Value::Other))));
        assert_eq!(reader.field(), Ok(Some((3, Value::Number(1)))));
        assert_eq!(reader.field(), Ok(None));
    }

    #[test]
    fn doubles_come_back() {
        let mut writer = Writer::default();
        writer.double(2, -0.25);
        let bytes = writer.into_inner();
        assert_eq!(Reader::new(&bytes).field(), Ok(Some((2, Value::Fixed64((-0.25_f64).to_bits())))));
        let cut = Reader::new(&bytes[..bytes.len() - 1]).field();
        assert_eq!(cut, Err(Malformed::Truncated));
    }

    #[test]
    fn nonsense_is_told_apart() {
        let read = |bytes: &[u8]| Reader::new(bytes).field().expect_err("malformed");
        assert_eq!(read(&[0x0a, 5, 1]), Malformed::Truncated);
        assert_eq!(read(&[0x08, 0x80]), Malformed::Truncated);
        assert_eq!(read(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Malformed::LongNumber);
        assert_eq!(read(&[0x00, 1]), Malformed::FieldNumber);
        assert_eq!(read(&[0x0f]), Malformed::WireType);
        assert_eq!(read(&[0x0c]), Malformed::WireType);
        assert_eq!(read(&[0x0b; 100]), Malformed::Truncated);
    }
}
