//! Ctrl-C during a sweep: what was found so far is still told. A second one ends at once.

#![allow(clippy::disallowed_methods, reason = "waits for a signal beside the sweep, on a thread of its own")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::signal::{SigSet, Signal};
use ordu_sim::sweep::Watch;

use super::inform;

/// Exit code of a process that was interrupted, as shells have it.
const INTERRUPTED: i32 = 130;

/// From now on the first interrupt stops the sweep that is watched. Called before the sweep's threads begin, which take
/// over that they do not hear interrupts themselves. Where this cannot be had an interrupt ends the process, as ever.
pub(super) fn stops(watch: &Arc<Watch>) {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    if signals.thread_block().is_err() {
        return;
    }
    let watch = watch.clone();
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            if watch.stop.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
            inform("interrupted: the seeds that are being run are brought to their end; once more ends at once");
        }
    });
}
