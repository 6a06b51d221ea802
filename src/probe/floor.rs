//! Free memory of one machine over one open stream, `floor.sh`.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use crate::host::{EventStream, Program, Transport, Unreachable};

const DEADLINE: Duration = Duration::from_secs(10);
/// A sample comes every two seconds; a machine that has sent none for so long is silent.
const SILENCE: Duration = Duration::from_secs(20);
/// A figure has at most that many letters; more is no figure.
const MAX_LINE: usize = 64;

/// Bytes that are available there, again and again. The stream ends when the machine does not answer any more.
///
/// # Errors
/// When it does not answer at all.
pub async fn samples(transport: &dyn Transport) -> Result<impl Stream<Item = u64> + Unpin, Unreachable> {
    let program = Program::new("floor", include_str!("floor.sh"));
    let stream = transport.run_stream(&program, DEADLINE).await?;
    Ok(Box::pin(stream::unfold((stream, Vec::new()), next)))
}

async fn next((mut stream, mut rest): (EventStream, Vec<u8>)) -> Option<(u64, (EventStream, Vec<u8>))> {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(bytes) = figure(&line) {
                return Some((bytes, (stream, rest)));
            }
            continue;
        }
        if rest.len() > MAX_LINE {
            return None;
        }
        let more = tokio::time::timeout(SILENCE, stream.next()).await.ok()??;
        rest.extend_from_slice(&more.ok()?);
    }
}

/// A figure in KiB; anything else is none.
pub fn figure(line: &[u8]) -> Option<u64> {
    let kib: u64 = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a figure that comes in two pieces would be read as two, and the smaller one be a shortage.
    #[tokio::test]
    async fn figures_are_whole_whatever_pieces_they_come_in() {
        let pieces = ["1024\n20", "48\n", "garbage\n", "\n99999999999999999999\n3\n", "4"];
        let pieces = pieces.map(|piece| Ok(bytes::Bytes::from(piece)));
        let stream: EventStream = Box::pin(stream::iter(pieces));
        let read = stream::unfold((stream, Vec::new()), next);
        let read: Vec<u64> = Box::pin(read).collect().await;
        assert_eq!(read, [1024 * 1024, 2048 * 1024, 3 * 1024]);
    }
}
