//! What `docs/fences.md` says, against real databases: an older activation's writes are refused, whoever made it older.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod page;
mod postgres;
mod refused;
mod sqlite;
mod writer;
