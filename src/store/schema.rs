//! The tables. Their names and columns are never changed: stores of before are opened with them.

/// Raised when what is kept changes its form. An older program refuses a newer store and leaves it as it is.
pub(super) const VERSION: i64 = 3;

/// Every table that is not there yet, and the version.
pub(super) fn tables() -> String {
    format!(
        "BEGIN;
         CREATE TABLE IF NOT EXISTS revision (number INTEGER PRIMARY KEY, at TEXT NOT NULL, text TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS value (key TEXT PRIMARY KEY, json TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS journal (
             token TEXT PRIMARY KEY, at TEXT NOT NULL, step TEXT NOT NULL, ended TEXT, outcome TEXT);
         CREATE TABLE IF NOT EXISTS plan (
             id TEXT PRIMARY KEY, number INTEGER NOT NULL, at TEXT NOT NULL, json TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS outbox (
             number INTEGER PRIMARY KEY, target TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL,
             not_before TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS event (
             number INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, object TEXT NOT NULL, message TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS spell (
             number INTEGER PRIMARY KEY, object TEXT NOT NULL, link TEXT NOT NULL, since TEXT NOT NULL, until TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS token (
             id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, hash TEXT NOT NULL, made TEXT NOT NULL,
             used TEXT);
         CREATE TABLE IF NOT EXISTS session (
             id TEXT PRIMARY KEY, token TEXT NOT NULL REFERENCES token (id), hash TEXT NOT NULL, until TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS answer (
             key TEXT PRIMARY KEY, request TEXT NOT NULL, at TEXT NOT NULL, status INTEGER NOT NULL, kind TEXT NOT NULL,
             tag TEXT, body BLOB NOT NULL);
         PRAGMA user_version = {VERSION};
         COMMIT;"
    )
}
