//! `join`: a new node joins a cluster that has the names, until it sees all of them.

use super::clock::now_ns;
use super::figures::{Figures, ms_between};
use super::fleet::{Fleet, Ground, Patience};
use super::names::AwaitNames;
use super::{Settings, names};
use crate::failure::Failure;

/// Runs it once. The clock starts when the new node's process, which is there already, is told to join.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let count = settings.names;
    names::load(&mut fleet, count).await?;
    fleet.converge().await?;
    let join = fleet.dialled();
    let new = fleet.add()?;
    let began_ns = now_ns().map_err(Failure::refused)?;
    new.up(None, join).await?;
    let seen_ns = new.ask(AwaitNames { count }, Patience::of_many("the new node to see every name", count)).await?;
    fleet.end().await;
    Ok(vec![("total_ms", ms_between(began_ns, seen_ns))])
}
