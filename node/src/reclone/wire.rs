//! What two nodes say to each other on a connection for bulk: frames of a length (u32, big endian) and so many bytes. First
//! the question, then the offer, then the backup in pieces, a frame of length zero, and the end. A stream that is cut has no
//! end, and so is never taken for whole.

use std::io::{self, ErrorKind};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// A piece is no longer than this.
pub(super) const PIECE: usize = 256 << 10;
/// Nor is anything else that is said.
const SAID: usize = 1 << 20;
/// A peer that neither sends nor takes anything for so long is gone: longer than a donor waits for its own backup, whose
/// reason would otherwise never be heard.
const SILENCE: Duration = Duration::from_secs(150);

/// Says one thing.
pub(super) async fn say(stream: &mut (impl AsyncWrite + Unpin), what: &impl Serialize) -> io::Result<()> {
    write(stream, &serde_json::to_vec(what)?).await
}

/// Hears one thing.
pub(super) async fn hear<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    Ok(serde_json::from_slice(&read(stream, SAID).await?)?)
}

/// Sends a piece; an empty one ends the pieces.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let written = async {
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    timeout(SILENCE, written).await.map_err(|_| ErrorKind::TimedOut)?
}

/// The next piece; an empty one ends them.
pub(super) async fn piece(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    read(stream, PIECE).await
}

async fn read(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let whole = async {
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > most {
            return Err(io::Error::new(ErrorKind::InvalidData, "a piece is longer than any may be"));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    };
    timeout(SILENCE, whole).await.map_err(|_| ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::reclone::DonorAsk;

    use super::*;

    #[tokio::test]
    async fn what_is_said_is_heard_and_a_cut_stream_has_no_end() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let talk = async {
            say(&mut near, &DonorAsk::Backup).await.unwrap();
            write(&mut near, &[7; 1000]).await.unwrap();
            write(&mut near, &[]).await.unwrap();
            near.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
            drop(near);
        };
        let listen = async {
            assert_eq!(hear::<DonorAsk>(&mut far).await.unwrap(), DonorAsk::Backup);
            assert_eq!(piece(&mut far).await.unwrap(), [7; 1000]);
            assert!(piece(&mut far).await.unwrap().is_empty());
            assert_eq!(piece(&mut far).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        };
        tokio::join!(talk, listen);
    }

    #[tokio::test]
    async fn a_peer_cannot_ask_for_more_memory_than_a_piece_has() {
        let mut hostile: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        assert_eq!(piece(&mut hostile).await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
