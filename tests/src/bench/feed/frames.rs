//! As much of WebSocket as a viewer needs that must cost next to nothing.

/// Takes the next whole frame off the front: its opcode and what it carries; `None` if more bytes are needed. Servers
/// mask nothing.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((first & 0x0f, payload))
}

/// A text from a client, under a mask of zeros; it is shorter than 126 bytes.
///
/// # Panics
/// When it is longer.
#[must_use]
pub(super) fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_taken_off_and_torn_ones_wait() {
        let long = vec![b'x'; 70_000];
        let mut sent = vec![0x81, 2, b'h', b'i', 0x81, 126, 1, 44];
        sent.extend(&long[..300]);
        sent.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        sent.extend(&long);
        let mut bytes = &sent[..];
        assert_eq!(next(&mut bytes), Some((1, &b"hi"[..])));
        assert_eq!(next(&mut bytes), Some((1, &long[..300])));
        assert_eq!(next(&mut bytes), Some((2, &long[..])));
        assert_eq!(next(&mut bytes), None);
        for cut in [0, 1, 3, 5, 200] {
            let mut torn = &sent[4..][..cut];
            assert_eq!((next(&mut torn), torn.len()), (None, cut));
        }
    }
}
