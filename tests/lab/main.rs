//! The program against real sshd and real Docker engines. See `lab` for how the Sparks are made.

mod lab;
mod swap;
