//! A piece's bytes as its message has them: compressed where the asker can unpack that, and base64.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tasuki_schemas::command::Piece;

/// The fastest level: the sender's loop signs and sends what comes out, and every byte less is time won.
const LEVEL: i32 = 1;
/// A piece holds no more than this, whoever sent it.
const LARGEST: usize = 1 << 20;

/// A piece of these bytes; `may_pack` if the asker can unpack it.
///
/// # Errors
/// The compressor's.
pub(super) fn pack(number: u64, bytes: &[u8], may_pack: bool) -> io::Result<Piece> {
    let packed = if may_pack { Some(zstd::bulk::compress(bytes, LEVEL)?) } else { None };
    let packed = packed.filter(|packed| packed.len() < bytes.len());
    let content = STANDARD.encode(packed.as_deref().unwrap_or(bytes));
    Ok(Piece { number, content, packed: packed.is_some(), tail: None })
}

/// A piece's bytes.
///
/// # Errors
/// That it is not what a sender makes of bytes, or larger than a piece may be.
pub fn unpack(piece: &Piece) -> io::Result<Vec<u8>> {
    let bytes = STANDARD.decode(&piece.content).map_err(io::Error::other)?;
    if piece.packed { zstd::bulk::decompress(&bytes, LARGEST) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_only_who_can_unpack_gets_it_so() {
        let bytes = b"insert into t values ('same', 'same', 'same')".repeat(2000);
        let packed = pack(3, &bytes, true).unwrap();
        assert!(packed.packed && packed.content.len() < bytes.len() / 10, "{}", packed.content.len());
        let plain = pack(3, &bytes, false).unwrap();
        assert_eq!((plain.packed, plain.number, &plain.tail), (false, 3, &None));
        for piece in [packed, plain] {
            assert_eq!(unpack(&piece).unwrap(), bytes);
        }
        for short in [b"".as_slice(), b"short"] {
            assert_eq!(unpack(&pack(4, short, true).unwrap()).unwrap(), short);
        }
    }

    #[test]
    fn a_hostile_piece_is_an_error_and_takes_no_memory() {
        let huge = zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
        for content in [STANDARD.encode(huge), STANDARD.encode("no compressed bytes"), "not base64!".to_owned()] {
            unpack(&Piece { number: 0, content, packed: true, tail: None }).unwrap_err();
        }
    }
}
