//! What an edit was made from: a text of the file, named so that no other is taken for it. A revision's number alone is not enough,
//! since a store that was restored gives numbers a second time.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::core::model::{id::RemovalId, spec_hash::hex};

/// Enough that nobody meets two texts of one.
const HASH_BYTES: usize = 8;

/// The text that an edit was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditBase {
    /// By the revision that it became: for forms and commands that come back within minutes.
    Revision(u64),
    /// One of those that these tags name.
    Tags(Vec<FileTag>),
}

/// Names one text of the file: the revision that it is, when it is one, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTag {
    pub revision: Option<u64>,
    /// Of the bytes; empty for a tag of before there were hashes in them, which names nothing any more.
    hash: String,
}

impl FileTag {
    pub fn of(revision: Option<u64>, bytes: &[u8]) -> Self {
        Self { revision, hash: hash(bytes) }
    }

    /// It names these bytes.
    pub fn names(&self, bytes: &[u8]) -> bool {
        !self.hash.is_empty() && self.hash == hash(bytes)
    }
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..HASH_BYTES])
}

/// `7-0123456789abcdef`, and `0-…` for a text that is no revision.
impl std::fmt::Display for FileTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.revision.unwrap_or(0), self.hash)
    }
}

impl std::str::FromStr for FileTag {
    type Err = ();
    /// Also what was one before: `7`. What a proxy put behind it (`-gzip`) is none of it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let number: u64 = parts.next().and_then(|number| number.parse().ok()).ok_or(())?;
        let hash = parts.next().filter(|hash| hash.len() == 2 * HASH_BYTES).unwrap_or_default();
        if !hash.chars().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(());
        }
        Ok(Self { revision: (number > 0).then_some(number), hash: hash.to_owned() })
    }
}

/// Names these very bytes.
pub(super) fn removal_id(text: &str) -> RemovalId {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(text.as_bytes())[..6]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, an edit that was made from another text would be taken for one of this.
    #[test]
    fn a_tag_names_its_own_text_and_no_other() {
        let tag = FileTag::of(Some(7), b"model: small\n");
        let read: FileTag = tag.to_string().parse().unwrap();
        assert_eq!(read, tag);
        assert!(read.names(b"model: small\n") && !read.names(b"model: large\n"));
        let of_a_proxy: FileTag = format!("{tag}-gzip").parse().unwrap();
        assert!(of_a_proxy.names(b"model: small\n"));
        let old: FileTag = "7".parse().unwrap();
        assert_eq!(old.revision, Some(7));
        assert!(!old.names(b""), "one of before names nothing");
        assert_eq!(FileTag::of(None, b"").to_string().split('-').next(), Some("0"));
        assert!("x".parse::<FileTag>().is_err() && "7-zzzzzzzzzzzzzzzz".parse::<FileTag>().is_err());
    }
}
