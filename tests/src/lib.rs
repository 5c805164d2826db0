//! Scenarios with real Ordu nodes.
