//! A bank-transfer worker that may run twice, and a bank that notices.
//!
//! A worker moves money between the three accounts of its ledger, one numbered transfer after the other: it reads the
//! balances, thinks, and writes the two that change. A partition or a pause gives it a second copy, and then one of them
//! writes what it computed from balances that are no longer so: a transfer is applied twice, or one is undone.
//!
//! The remedy is the fence that Ordu gives each activation of a child. The bank keeps the highest one that it has seen
//! per worker and refuses older ones. The laboratory shows that this is enough, and that two cheaper ways are not:
//!
//!     cargo run -p ordu-sim --release --example bank_transfer                # all three
//!     cargo run -p ordu-sim --release --example bank_transfer -- --no-fence  # only the bank that does not look
#![allow(dead_code, reason = "sim/tests/bank.rs uses this file too, all but its main")]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ordu_sim::{
    Behaviour, Broken, Caller, ChildId, Context, Exit, External, Failure, FaultKind, Fence, Lab, Layer, Moment,
    Observation, OpKind, Options, Scenario, Script,
};

const ACCOUNTS: usize = 3;
const DEPOSIT: u64 = 100;
/// A worker that was refused so often in a row ends, and comes back with a fence above the one that the bank has seen.
const REFUSED_MAX: u32 = 3;

/// How worker and bank use fences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// The bank refuses older fences; what was read under a fence is written under the same.
    Fenced,
    /// The bank refuses older fences; a worker writes under the fence that it has by then.
    FreshFence,
    /// The bank does not look at fences.
    NoFence,
}

// ---- the bank

/// The external world: a ledger for each worker.
pub(crate) struct Bank {
    care: Care,
    ledgers: BTreeMap<ChildId, Ledger>,
    counts: Arc<Counts>,
}

struct Ledger {
    balances: [u64; ACCOUNTS],
    highest: Fence,
    /// The transfers that were applied, in order, each with the fence that it came under.
    applied: Vec<(u64, Fence)>,
}

/// What all banks of a lab came to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) applied: AtomicU64,
    pub(crate) refused: AtomicU64,
}

#[derive(Debug)]
pub(crate) enum Request {
    Read,
    /// Two accounts and what is in them after this transfer.
    Write {
        transfer: u64,
        debit: (usize, u64),
        credit: (usize, u64),
    },
}

#[derive(Debug)]
pub(crate) enum Reply {
    Balances {
        next: u64,
        balances: [u64; ACCOUNTS],
    },
    Written,
    /// A later fence was seen: this one.
    Refused(Fence),
}

impl External for Bank {
    type Request = Request;
    type Reply = Reply;

    fn handle(&mut self, _now_us: u64, from: &Caller, request: Request) -> Reply {
        let opened = || Ledger { balances: [DEPOSIT; ACCOUNTS], highest: from.fence, applied: Vec::new() };
        let ledger = self.ledgers.entry(from.id.clone()).or_insert_with(opened);
        if from.fence < ledger.highest && self.care != Care::NoFence {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Reply::Refused(ledger.highest);
        }
        ledger.highest = ledger.highest.max(from.fence);
        match request {
            Request::Read => {
                let next = ledger.applied.last().map_or(1, |(transfer, _)| transfer + 1);
                Reply::Balances { next, balances: ledger.balances }
            }
            Request::Write { transfer, debit, credit } => {
                self.counts.applied.fetch_add(1, Ordering::Relaxed);
                ledger.balances[debit.0] = debit.1;
                ledger.balances[credit.0] = credit.1;
                ledger.applied.push((transfer, from.fence));
                Reply::Written
            }
        }
    }
}

// ---- the worker

const THOUGHT: u64 = 1;
const AGAIN: u64 = 2;

/// The behaviour of every child.
pub(crate) struct Worker {
    care: Care,
    /// What it read, and under which fence.
    read: Option<(u64, [u64; ACCOUNTS], Fence)>,
    asked_under: Option<Fence>,
    refused: u32,
}

impl Worker {
    fn new(care: Care) -> Self {
        Self { care, read: None, asked_under: None, refused: 0 }
    }

    fn read(&mut self, context: &mut Context<'_, Bank>) {
        self.asked_under = Some(context.fence());
        context.ask(Request::Read);
    }

    fn write(&mut self, context: &mut Context<'_, Bank>) {
        let Some((transfer, balances, fence)) = self.read.take() else { return };
        let (from, to) = (transfer as usize % ACCOUNTS, (transfer as usize + 1) % ACCOUNTS);
        let amount = (1 + transfer % 7).min(balances[from]);
        let request =
            Request::Write { transfer, debit: (from, balances[from] - amount), credit: (to, balances[to] + amount) };
        match self.care {
            Care::Fenced => context.ask_under(fence, request),
            Care::FreshFence | Care::NoFence => context.ask(request),
        }
    }
}

impl Behaviour<Bank> for Worker {
    fn started(&mut self, context: &mut Context<'_, Bank>) {
        self.read(context);
    }

    fn answered(&mut self, context: &mut Context<'_, Bank>, reply: Reply) {
        match reply {
            Reply::Balances { next, balances } => {
                self.refused = 0;
                self.read = self.asked_under.map(|fence| (next, balances, fence));
                let after_us = context.draw(10_000..300_000);
                context.wake_in(after_us, THOUGHT);
            }
            Reply::Written => self.read(context),
            Reply::Refused(seen) => {
                self.refused += 1;
                if self.refused >= REFUSED_MAX {
                    return context.exit(Exit::Fenced(seen));
                }
                context.wake_in(1_000_000, AGAIN);
            }
        }
    }

    fn woken(&mut self, context: &mut Context<'_, Bank>, timer: u64) {
        match timer {
            THOUGHT => self.write(context),
            _ => self.read(context),
        }
    }
}

// ---- what must hold

fn money_is_conserved(seen: &Observation<'_, Bank>) -> Option<Broken> {
    let all = DEPOSIT * ACCOUNTS as u64;
    let (id, ledger) = seen.external().ledgers.iter().find(|(_, ledger)| ledger.balances.iter().sum::<u64>() != all)?;
    Some(Broken::Safety(format!("{id} has {:?}, together not {all}", ledger.balances)))
}

fn each_transfer_is_applied_once(seen: &Observation<'_, Bank>) -> Option<Broken> {
    seen.external().ledgers.iter().find_map(|(id, ledger)| {
        let pair = ledger.applied.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1)?;
        let [(one, under), (other, then)] = [pair[0], pair[1]];
        Some(Broken::Safety(format!(
            "{id}: transfer {one}, applied under {under}, is followed by {other} under {then}"
        )))
    })
}

fn fences_never_fall(seen: &Observation<'_, Bank>) -> Option<Broken> {
    seen.external().ledgers.iter().find_map(|(id, ledger)| {
        let pair = ledger.applied.windows(2).find(|pair| pair[1].1 < pair[0].1)?;
        let [(one, newer), (other, older)] = [pair[0], pair[1]];
        Some(Broken::Safety(format!("{id}: transfer {other} came under {older}, after {one} under {newer}")))
    })
}

/// Once all is quiet, a worker that runs is one that the bank listens to.
fn nobody_is_locked_out(seen: &Observation<'_, Bank>) -> Option<Broken> {
    if seen.moment() == Moment::Any {
        return None;
    }
    let refused = |id: &ChildId, fence: Fence| seen.external().ledgers.get(id).is_some_and(|l| fence < l.highest);
    let child = seen.children().into_iter().find(|child| child.is_running && refused(&child.id, child.fence))?;
    Some(Broken::NotYet(format!("{} runs at n{} under an older fence than the bank has seen", child.id, child.node)))
}

/// The laboratory.
pub(crate) fn lab(care: Care, counts: Arc<Counts>) -> Lab<Bank> {
    Lab::new(move || Bank { care, ledgers: BTreeMap::new(), counts: counts.clone() })
        .children(move |_| Worker::new(care))
        .external_delay_us(1_000..300_000)
        .invariant("money-is-conserved", money_is_conserved)
        .invariant("applied-once", each_transfer_is_applied_once)
        .invariant("fences-never-fall", fences_never_fall)
        .invariant("nobody-locked-out", nobody_is_locked_out)
}

/// Workers are started, stopped and restarted while nodes are cut off, stand still, and die.
pub(crate) fn options() -> Options {
    let ops = vec![(OpKind::Start, 6), (OpKind::Ensure, 2), (OpKind::Terminate, 1), (OpKind::Restart, 1)];
    let faults = vec![
        (FaultKind::Split, 3),
        (FaultKind::Isolate, 3),
        (FaultKind::OneWay, 1),
        (FaultKind::Pause, 2),
        (FaultKind::CrashKeepDisk, 1),
    ];
    let scenario = Scenario {
        name: "bank".into(),
        about: "bank-transfer workers under partitions, pauses and crashes".into(),
        layer: Layer::Children,
        ops: ops.into(),
        faults: faults.into(),
        ..Scenario::default()
    };
    Options { nodes: 4, ops: 60, scenario }
}

const SEEDS: u64 = 40;

fn tell(care: Care, out: &mut impl Write) -> io::Result<()> {
    let counts = Arc::new(Counts::default());
    match lab(care, counts.clone()).hunt(&options(), 1, SEEDS) {
        Ok(()) => writeln!(
            out,
            "{care:?}: {SEEDS} clusters held. {} transfers were applied, each once; {} requests came under an older \
             fence and were refused.",
            counts.applied.load(Ordering::Relaxed),
            counts.refused.load(Ordering::Relaxed),
        ),
        Err(Failure { violation, script }) => {
            let drawn = Script::draw(script.plan.seed, &options()).steps.len();
            writeln!(out, "{care:?}: found with seed {}, and shortened from {drawn} steps.", script.plan.seed)?;
            writeln!(out, "{}", Failure { violation, script })
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    let told = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => [Care::Fenced, Care::FreshFence, Care::NoFence].into_iter().try_for_each(|care| tell(care, &mut out)),
        ["--no-fence"] => tell(Care::NoFence, &mut out),
        _ => Err(io::Error::other("usage: bank_transfer [--no-fence]")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads no further has seen what he wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}
