//! `memory`: by how much the resident set of a node that runs none of the names rises when it comes to know them.

use super::figures::Figures;
use super::fleet::{Fleet, Ground, Patience};
use super::idle::{MEASURE_MAX, Measure};
use super::{Settings, names};
use crate::failure::Failure;

/// Runs it once. Of several such nodes the one that rises most is told of.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::form(ground, settings.nodes).await?;
    let patience = Patience::new("a node's memory", MEASURE_MAX);
    let before = Fleet::ask_each(fleet.split_first().1, || Measure {}, patience).await?;
    names::load(&mut fleet, settings.names).await?;
    fleet.converge().await?;
    let after = Fleet::ask_each(fleet.split_first().1, || Measure {}, patience).await?;
    fleet.end().await;
    let rises =
        before.iter().zip(&after).map(|(before, after)| after.resident_bytes.saturating_sub(before.resident_bytes));
    let rise = rises.max().unwrap_or_default();
    Ok(vec![("bytes_per_name", rise as f64 / f64::from(settings.names))])
}
