//! Figures: what a run of a piece of work yields, and what several runs come to.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// What one run of a piece of work yields: fields by name, in the order in which they are shown.
pub(super) type Figures = Vec<(&'static str, f64)>;

/// How single measurements of one kind are spread, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// Half of them took no longer.
    pub(super) p50_ns: u64,
    /// 99 of 100 took no longer.
    pub(super) p99_ns: u64,
    /// 999 of 1000 took no longer; of fewer than that, the longest.
    pub(super) p999_ns: u64,
}

impl Spread {
    /// Of these measurements. Without any, all are 0.
    pub(super) fn of(mut samples_ns: Vec<u64>) -> Self {
        samples_ns.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (samples_ns.len() * per_mille).div_ceil(1000).max(1);
            samples_ns.get(rank - 1).copied().unwrap_or_default()
        };
        Self { p50_ns: at(500), p99_ns: at(990), p999_ns: at(999) }
    }
}

/// Nanoseconds as microseconds.
pub(super) fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// From one moment to a later one, in milliseconds.
pub(super) fn ms_between(began_ns: u64, ended_ns: u64) -> f64 {
    ended_ns.saturating_sub(began_ns) as f64 / 1e6
}

/// How many a second: `count` of them in this many nanoseconds.
pub(super) fn per_second(count: u32, ns: u64) -> f64 {
    f64::from(count) * 1e9 / ns.max(1) as f64
}

/// One measure as a multiple of another.
pub(super) fn ratio(measured_ns: u64, floor_ns: u64) -> f64 {
    measured_ns as f64 / floor_ns.max(1) as f64
}

/// What the runs of all pieces of work came to, in the order in which they were first recorded.
#[derive(Debug, Default)]
pub(super) struct Results {
    works: Vec<(&'static str, Fields)>,
}

type Fields = Vec<(&'static str, Vec<f64>)>;

/// The extremes of one figure over the runs, and its middle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    #[serde(serialize_with = "short")]
    pub(super) min: f64,
    #[serde(serialize_with = "short")]
    pub(super) median: f64,
    #[serde(serialize_with = "short")]
    pub(super) max: f64,
}

impl Results {
    /// Adds one run's figures.
    pub(super) fn record(&mut self, work: &'static str, figures: Figures) {
        for (field, value) in figures {
            place(place(&mut self.works, work), field).push(value);
        }
    }

    /// Every figure: its work, its field, its summary.
    pub(super) fn summaries(&self) -> impl Iterator<Item = (&'static str, &'static str, Summary)> {
        let works = self.works.iter();
        works.flat_map(|(work, fields)| fields.iter().map(|(field, runs)| (*work, *field, Summary::of(runs))))
    }
}

/// The value under a key of a short list, which is made if it is not there.
fn place<'a, T: Default>(list: &'a mut Vec<(&'static str, T)>, key: &'static str) -> &'a mut T {
    let at = list.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        list.push((key, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

impl Summary {
    /// Of the runs' values. Without any, all are 0.
    fn of(runs: &[f64]) -> Self {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Self { min: at(0), median: f64::midpoint(low, high), max: at(sorted.len().saturating_sub(1)) }
    }
}

impl Serialize for Results {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Work<'a>(&'a Fields);
        impl Serialize for Work<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(field, runs)| (field, Summary::of(runs))))
            }
        }
        let mut map = serializer.serialize_map(Some(self.works.len()))?;
        for (work, fields) in &self.works {
            map.serialize_entry(work, &Work(fields))?;
        }
        map.end()
    }
}

/// A figure with the digits that mean something: whole from 1000 on, four significant digits below.
pub(super) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 9);
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn short<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = rounded(*value);
    // Whole numbers that a double holds exactly look like ones.
    if value.fract() == 0.0 && value.abs() < 9e15 {
        serializer.serialize_i64(value as i64)
    } else {
        serializer.serialize_f64(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let spread = Spread::of((1..=1000).rev().collect());
        assert_eq!(spread, Spread { p50_ns: 500, p99_ns: 990, p999_ns: 999 });
        assert_eq!(Spread::of(vec![7]), Spread { p50_ns: 7, p99_ns: 7, p999_ns: 7 });
        assert_eq!(Spread::of(Vec::new()).p50_ns, 0);
    }

    #[test]
    fn runs_become_summaries_in_order() {
        let mut results = Results::default();
        for value in [3.0, 1.0, 2.00004] {
            results.record("lookup", vec![("ns_per_lookup", value), ("a", 12345.6)]);
        }
        results.record("idle", vec![("cpu_ms_per_s", 0.123456), ("bytes_per_s", 0.0)]);
        results.record("idle", vec![("cpu_ms_per_s", 0.2), ("bytes_per_s", 1.0)]);
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(
            text,
            r#"{"lookup":{"ns_per_lookup":{"min":1,"median":2,"max":3},"a":{"min":12346,"median":12346,"max":12346}},"#
                .to_owned()
                + r#""idle":{"cpu_ms_per_s":{"min":0.1235,"median":0.1617,"max":0.2},"#
                + r#""bytes_per_s":{"min":0,"median":0.5,"max":1}}}"#
        );
        assert_eq!(results.summaries().count(), 4);
    }
}
