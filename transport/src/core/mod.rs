//! The pure half: everything here is a function of its inputs.
//!
//! A core is driven by three calls: `handle` takes an input, `handle_timeout` says that time has passed, and
//! `poll_timeout` tells when the core next wants to be called. Each pushes plain-data effects that the driver executes
//! in order. `now` is always an argument; randomness comes from a seed given at birth.

pub mod codec;
pub mod defects;
pub mod hash;
pub mod id;
pub mod lane;
pub mod membership;
pub mod message;
pub mod overlay;
pub mod time;
pub mod view;
pub mod ways;

pub use codec::{DecodeError, FRAME_BYTES_MAX, Kind};
pub use id::{InvalidName, NodeId, NodeName, Pid};
pub use lane::Lane;
pub use membership::{Membership, MembershipConfig, Timings};
pub use overlay::Overlay;
pub use time::{Hlc, HlcClock, Instant, Now, SKEW_MAX};
pub use view::{Addr, Member, Status, View};
pub use ways::Ways;
