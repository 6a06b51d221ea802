//! Reading what a Spark says, and no more of it than anything here has a use for.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Unreachable;

/// What one program prints. The longest is an audit log of 4 MB.
pub const MAX_STDOUT: usize = 8 << 20;
/// Of what it complains of, the rest is read and thrown away.
const KEPT_STDERR: usize = 64 << 10;

/// All of it.
///
/// # Errors
/// [`Unreachable::TooMuch`] when it is more than `most` bytes; what breaks in the middle.
pub async fn read_whole(
    mut from: impl AsyncRead + Unpin,
    most: usize,
    lost: impl Fn(io::Error) -> Unreachable,
) -> Result<Vec<u8>, Unreachable> {
    let mut read = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    (&mut from).take(limit).read_to_end(&mut read).await.map_err(lost)?;
    if read.len() > most { Err(Unreachable::TooMuch(most)) } else { Ok(read) }
}

/// The beginning of it, for a message.
///
/// # Errors
/// What breaks in the middle.
pub async fn read_complaint(
    mut from: impl AsyncRead + Unpin,
    lost: impl Fn(io::Error) -> Unreachable,
) -> Result<Vec<u8>, Unreachable> {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece).await.map_err(&lost)? {
            0 => return Ok(kept),
            length => kept.extend_from_slice(&piece[..length.min(KEPT_STDERR.saturating_sub(kept.len()))]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(error: io::Error) -> Unreachable {
        Unreachable::Connection(error.to_string())
    }

    /// If this failed, one Spark that does not stop talking would fill the controller's memory.
    #[tokio::test]
    async fn an_endless_answer_is_none() {
        let endless = tokio::io::repeat(b'x');
        assert_eq!(read_whole(endless, 1 << 20, lost).await, Err(Unreachable::TooMuch(1 << 20)));
        assert_eq!(read_whole(&[b'x'; 10][..], 10, lost).await.map(|read| read.len()), Ok(10));
        let complaint = read_complaint(&vec![b'x'; 1 << 20][..], lost).await.unwrap();
        assert_eq!(complaint.len(), KEPT_STDERR);
    }
}
