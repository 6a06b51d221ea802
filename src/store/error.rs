//! Why the store cannot be used.

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store in `{0}` was made by a newer Spark Control; use that one, or another data directory")]
    Newer(String),
    #[error(
        "{0} is damaged: {1}. Move it away and put a backup in its place; without one a new store begins, and takes over what serves \
         (docs/operating.md, \"A damaged store\")"
    )]
    Damaged(String, String),
    /// Its text has its cause.
    #[error("the store: {0}")]
    Sqlite(rusqlite::Error),
    #[error("the store holds something that cannot be read: {0}")]
    Json(serde_json::Error),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error("the store's thread has ended; start Spark Control anew")]
    Ended,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let damaged = matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
        );
        let what = || error.to_string();
        match &error {
            _ if !damaged => Self::Sqlite(error),
            _ => Self::Damaged("spark-control.db".into(), what()),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}
