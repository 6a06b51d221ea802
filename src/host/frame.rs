//! Where an answer begins and ends in what a Spark prints: login shells print as well, before it, after it, without a line
//! break, and some of them every time.

use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::unreachable::{EventStream, Unreachable};
use crate::core::model::visible;

/// What may come before an answer of which the end is not known. More is no greeting.
const MAX_GREETING: usize = 64 << 10;
/// What is kept of what stands outside, to be told.
const KEPT_OUTSIDE: usize = 300;

/// The marks of one answer: nobody else prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(String);

/// What was printed, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Framed {
    pub inside: String,
    /// Both marks were there.
    pub is_whole: bool,
    /// The last of what stands outside.
    pub outside: String,
}

impl Frame {
    /// Others than those of every answer before.
    #[allow(clippy::new_without_default)] // no two are alike
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos());
        Self(format!("=spark-control={}-{number}-{now:x}", process::id()))
    }

    pub fn begin(&self) -> String {
        format!("{}>", self.0)
    }

    pub fn end(&self) -> String {
        format!("<{}", self.0)
    }

    /// Take apart what was printed.
    pub fn split(&self, said: &str) -> Framed {
        let (before, rest) = match said.split_once(&format!("{}\n", self.begin())) {
            Some((before, rest)) => (before, rest),
            None => (said, ""),
        };
        let end = self.end();
        let (inside, after) = match rest.split_once(&end) {
            // What was printed without a line break at its end got one.
            Some((inside, after)) => (inside.strip_suffix('\n').unwrap_or(inside), Some(after)),
            None => (rest, None),
        };
        Framed {
            inside: inside.to_owned(),
            is_whole: after.is_some(),
            outside: last_of(&format!("{before} {}", after.unwrap_or_default())),
        }
    }

    /// An answer that goes on: what stands before it is left out.
    pub fn skip(&self, said: EventStream) -> EventStream {
        let mark = format!("{}\n", self.begin());
        let waiting = Some((said, BytesMut::new(), mark));
        Box::pin(stream::unfold(FrameState::Before(waiting), FrameState::next))
    }
}

/// The last of a text, on one line.
fn last_of(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let surplus = text.chars().count().saturating_sub(KEPT_OUTSIDE);
    visible::visible_line(&text.chars().skip(surplus).collect::<String>()).into_owned()
}

enum FrameState {
    Before(Option<(EventStream, BytesMut, String)>),
    Inside(EventStream),
}

impl FrameState {
    async fn next(self) -> Option<(Result<Bytes, Unreachable>, Self)> {
        match self {
            Self::Inside(mut said) => Some((said.next().await?, Self::Inside(said))),
            Self::Before(waiting) => {
                let (mut said, mut seen, mark) = waiting?;
                loop {
                    if let Some(at) = find(&seen, mark.as_bytes()) {
                        let rest = seen.split_off(at + mark.len()).freeze();
                        return Some((Ok(rest), Self::Inside(said)));
                    }
                    if seen.len() > MAX_GREETING {
                        let outside = last_of(&String::from_utf8_lossy(&seen));
                        return Some((Err(Unreachable::NoAnswer(outside)), Self::Before(None)));
                    }
                    match said.next().await? {
                        Ok(more) => seen.extend_from_slice(&more),
                        Err(error) => return Some((Err(error), Self::Before(None))),
                    }
                }
            }
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a Spark whose shell greets people would be taken for one that does not answer.
    #[test]
    fn what_a_shell_prints_is_no_part_of_an_answer() {
        let frame = Frame::new();
        let (begin, end) = (frame.begin(), frame.end());
        for (said, inside, is_whole, outside) in [
            (format!("\n{begin}\nboot 1\nend\n\n{end} 0\n"), "boot 1\nend\n", true, "0"),
            (
                format!("\u{1b}]0;spark1\u{7}\n{begin}\nx\n\n{end} 0\n"),
                "x\n",
                true,
                "\\u{1b}]0;spark1\\u{7} 0",
            ),
            (format!("Loading conda… \n{begin}\nx\n{end} 0\n"), "x", true, "Loading conda… 0"),
            (format!("uptime 5 days\n\n{begin}\nx\n\n{end} 0\nbye\n"), "x\n", true, "uptime 5 days 0 bye"),
            (format!("hello\n\n{begin}\nboot 1\n"), "boot 1\n", false, "hello"),
            ("This account is not available.\n".into(), "", false, "This account is not available."),
        ] {
            let framed = frame.split(&said);
            let expected = Framed { inside: inside.into(), is_whole, outside: outside.into() };
            assert_eq!(framed, expected, "{said:?}");
        }
        assert_ne!(Frame::new(), Frame::new());
        assert_eq!(last_of(&"ä".repeat(400)).chars().count(), KEPT_OUTSIDE);
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_begins_after_the_greeting() {
        let frame = Frame::new();
        let text = format!("hello\n{}\n1\n2\n", frame.begin());
        // In whatever pieces it comes.
        for size in [1, 7, 1000] {
            let pieces: Vec<_> =
                text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let read: Vec<_> = frame.skip(Box::pin(stream::iter(pieces))).collect().await;
            let read: Vec<u8> = read.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
            assert_eq!(String::from_utf8(read).unwrap(), "1\n2\n");
        }
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 4096])));
        let read: Vec<_> = frame.skip(Box::pin(endless)).collect().await;
        assert!(matches!(read[..], [Err(Unreachable::NoAnswer(_))]));
    }
}
