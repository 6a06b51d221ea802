//! What others read: one family of JSON for the API, for `--output json` and for the control socket. Names in it are added to, and
//! never change; the core's own types may.

pub mod v1;
