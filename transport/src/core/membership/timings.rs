//! How long membership waits for what.

use std::time::Duration;

/// Membership's periods. The defaults are for a LAN: a silent node is down after about 1.5 s, and after 0.3 s where the
/// kernel tells that its port is closed. One that stands still is not down before `probe_period + suspect_to_down`,
/// which leaves it more than a second.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timings {
    /// How often one member is probed; also how long a probe, direct and indirect, may take.
    pub probe_period: Duration,
    /// How long a direct probe may take before others are asked to probe as well.
    pub probe_rtt: Duration,
    /// How long a suspect may take to say that it lives.
    pub suspect_to_down: Duration,
    /// How often the port of the watched member is looked at.
    pub port_check: Duration,
    /// How long a suspect may take whose port the kernels of two nodes report as closed, and two round trips more.
    pub refused_to_down: Duration,
    /// How often news of members are gossiped while there are any.
    pub gossip: Duration,
    /// How often a member is asked for all members.
    pub announce: Duration,
    /// How often members that are down are spoken to, where a session with them exists.
    pub announce_to_down: Duration,
    /// Shortest time between two dials of one address.
    pub dial_min: Duration,
    /// Longest time between two dials of one address.
    pub dial_max: Duration,
    /// How long the higher NodeId of a pair leaves the first dial to the lower.
    pub dial_yield: Duration,
    /// The same for a seed, where the higher address leaves the first dial to the lower.
    pub seed_yield: Duration,
    /// How soon to ask again after [`Refusal::Checking`](crate::core::message::Refusal::Checking).
    pub checking_retry: Duration,
    /// Time between two dials of an address whose node is of another cluster.
    pub stranger_retry: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(400),
            probe_rtt: Duration::from_millis(200),
            suspect_to_down: Duration::from_millis(850),
            port_check: Duration::from_millis(100),
            refused_to_down: Duration::from_millis(80),
            gossip: Duration::from_millis(200),
            announce: Duration::from_secs(10),
            announce_to_down: Duration::from_millis(500),
            dial_min: Duration::from_millis(500),
            dial_max: Duration::from_millis(1000),
            dial_yield: Duration::from_millis(150),
            seed_yield: Duration::from_millis(50),
            checking_retry: Duration::from_millis(250),
            stranger_retry: Duration::from_secs(10),
        }
    }
}
