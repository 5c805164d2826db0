//! The registry's core by its public face: a few of them, and what they say to one another.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "shared between modules of one test")]

mod groups;
mod ranks;
mod select;
mod trio;
mod visible;
