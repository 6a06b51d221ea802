//! Spark Control keeps a small cluster of DGX Sparks in the state that one file describes.
//!
//! ```text
//! cluster.yaml ──load/check──▶ Desired ──┐
//! Sparks ────────probe───────▶ Observed ─┼─▶ diff ─▶ Drift ─▶ plan ─▶ Plan ─▶ apply ─▶ Outcomes ─▶ Ledger
//! what we did and were told ─▶ Ledger ───┘                                              │
//!      ▲                                                                                │
//!      └──────────────────────── next round probes and plans again ◀────────────────────┘
//! ```
//!
//! Decisions are values made in `core`; everything else carries values in and out. Modules stand below in reading
//! order. Imports go down only: `tests/it/tidy.rs` holds the table, `docs/architecture.md` explains it.

// 0: pure. Begin with `core::decide::planner`.
pub mod core;
// 1: the file, the store, ways to a Spark, Docker's wire, launchers.
pub mod docker;
pub mod host;
pub mod launcher;
pub mod manifest;
pub mod store;
// 2: look, act.
pub mod apply;
pub mod probe;
// 3: the loop, and a world to run it in.
pub mod controller;
pub mod sim;
// 4: what others read.
pub mod wire;
// 5 and 6: the faces.
pub mod cli;
pub mod web;
