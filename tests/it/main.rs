//! Tests that need nothing but this program: simulated Sparks, files, text.

mod cluster;
mod demo;
mod simulation;
