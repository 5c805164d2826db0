//! `register`: distinct names registered on one node as fast as it goes.

use super::figures::{Figures, per_second};
use super::fleet::{Fleet, Ground};
use super::{Settings, names};
use crate::failure::Failure;

/// Runs it once.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let loaded = names::load(&mut fleet, settings.names).await?;
    fleet.end().await;
    let rate = |until_ns: u64| per_second(settings.names, until_ns.saturating_sub(loaded.began_ns));
    Ok(vec![("accepted_per_s", rate(loaded.accepted_ns)), ("converged_per_s", rate(loaded.seen_ns))])
}
