//! Known defects as switches, compiled only for the simulator's tests: a laboratory that catches nothing proves nothing.
//!
//! Each is a fault that a system of this kind has shipped, or one of our own; where it is put back, the line that does so
//! asks [`is_present`]. Without the feature `defects` every such question is answered "no" by the compiler. The switches
//! live in the lowest crate, so that all three cores can ask them.

/// A defect that can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    // ---- tables
    /// A delta completes a wider interval than the events it carries: keys vanish when a sync is split into parts.
    WideContext,
    /// A removal travels without what it covers, and removes nothing where it arrives.
    BareRemoval,
    /// A push that is cut short by number closes the interval up to its last event, over events whose superseders come
    /// later: for a while the receiver holds neither.
    OmittedSuperseder,
    /// A push of a shared table leaves out what others wrote over our events: their keys are empty at the receiver, and
    /// its clock says that this is so.
    SilentSuperseder,
    /// State reconciliation adds what was released meanwhile: "present there, absent here, seen here" is taken for news.
    StaleSnapshot,
    /// What left a log before a peer had heard of its removal is not looked for at the peer, which keeps it.
    UnfoundRemovals,
    /// Adopting a peer's context replaces our own instead of joining it: what we had seen of others comes as news again.
    ClearedContext,
    /// The answer to a pull, on the slow lane, moves the push cursor, and the receiver does not look where an interval
    /// begins: a push on the fast lane closes one over events that have not arrived, and perhaps never will.
    AnswerMovesCursor,
    /// A relay vouches for all that its origin wrote, and not only for what it passes on: who lacks something from before
    /// believes that it lacks nothing.
    RelayVouches,
    /// Earlier incarnations of a name are not retired: their claims and their slots in every clock stay for ever.
    OriginsPileUp,
    /// Retiring an incarnation drops what it wrote in shared tables too: the restart of the node that was typed at loses
    /// the children.
    RetireDropsDesired,
    // ---- identities, clocks, members
    /// Nothing random tells two first boots apart: a node that lost its disk is taken for its former self, and spends dots
    /// twice.
    DotReuse,
    /// Stamps of others are not followed: with wall clocks that differ, a later activation has the lesser fence.
    SkewDecides,
    /// Stamps are read from the wall clock alone, and fall when it is set back.
    ClockFalls,
    /// Of two living nodes of one name the newcomer always wins: each retires the other, for ever.
    NameDuel,
    /// Nobody probes on behalf of others: where A hears B and B does not hear A, both flap, and so do their children.
    OneWayFlaps,
    /// A suspect that contradicts is not heard: who is out of reach for a blink is as good as dead.
    SuspectIsDown,
    /// A node that was paused blames the others for its own absence, and holds everybody as down.
    PauseBlamesOthers,
    /// That a port is closed is taken as proof, whoever says so: a firewall between two makes them hold each other as
    /// down.
    HintIsProof,
    /// That a port is closed is not heard: a killed process is missed only when it does not answer.
    HintUnheard,
    /// A suspect is given less time than a starved node needs: who stands still for a second is as good as dead.
    StarvedIsDead,
    // ---- names
    /// The loser of a name conflict is not stopped.
    LoserLives,
    /// Conflicts compare when each name was registered rather than one rank a process: two processes that hold two names
    /// each lose one, and the names end with nobody.
    RankPerName,
    /// A claim that is marked as losing still beats others: a chain of conflicts empties a name.
    LosingClaimCounts,
    /// What is remembered of a member that returns decides conflicts before it was heard: a process stops for one that has
    /// ended meanwhile.
    OldNewsDecides,
    /// A member that was down once stays hidden: after a pause its living processes have lost their names.
    HiddenIsGone,
    /// The latest process wins: at the heal a cut-off node's fresh copies beat everyone's long-running ones.
    FreshWins,
    /// A winner's fence stays below the losers': a database that saw the loser refuses the survivor.
    FenceStays,
    // ---- children
    /// A node starts children without having heard the others: one child becomes many when a node is removed and added.
    BlindStart,
    /// A conflict exit counts as a failure: conflicts use up the restarts and end in back-off.
    ConflictIsRestart,
    /// A child is not registered under its id and its copies are not compared: a duplicate lives for ever.
    NamelessChild,
    /// What is asked for while a child's init runs is noted, and never done.
    SlowInitDeadlock,
    /// That a child is in quarantine is known to the node that holds it alone: when that dies the crash loop begins anew.
    QuarantineForgotten,
    /// A caller is told before the disk holds what he is told: all nodes fail at once, and it is forgotten.
    AnswersBeforeDisk,
    /// A node takes children before it has met those that it is told to expect: the first one back takes every child.
    ExpectsNobody,
    /// A planned move starts the child at its destination before it has ended here.
    EarlyHandoff,
    /// A child is started at its destination before what it left at its last node is there.
    MovesEmptyHanded,
    /// What a child has left with other nodes while it ran is not looked for: after a crash it begins with nothing.
    CrashForgets,
    /// Who has some checkpoint of a child goes by it: the latest, which another has, is not looked for.
    StaleCheckpoint,
    /// What the loser of a conflict leaves does not go to the winner.
    LoserForgets,
    /// What a loser left is sent again after a session broke, and taken again.
    MergesTwice,
    /// A child that is to be started elsewhere before it stops here stops when that begins.
    SuccessorTooSoon,
    /// A child is started before most members have granted it.
    StartsUngranted,
    /// A member grants a child to a second node while the first may still run it.
    GrantsTwice,
    /// A member that comes back grants at once what it may have granted in its life before.
    ForgetsGrants,
    /// A node that has lost its quorum goes on with its children.
    RunsWithoutQuorum,
    /// What a silent node has is granted to others before it must have stopped there.
    TakesOverEarly,
    /// A node that is full says so, and takes what comes to it until everybody has heard.
    OneTooMany,
    /// A node that was full does not say that it has a place again: what found all nodes full never runs.
    FullForGood,
    /// A child that was assigned to a node is left to it, though that has gone or never answers: it never runs.
    AssignmentStands,
    /// Two children that meet on a node where they must not both be stay there.
    CrowdStays,
    /// A failed start leaves its entry behind.
    FailedStartStays,
    /// A failed start takes the starts of others along.
    FailedStartTakesAll,
    /// A restart writes the start again, and so brings back a child that was terminated meanwhile.
    RestartRevives,
    /// That a temporary child had its one run is not noted: after a takeover it runs again.
    RunsTwice,
    /// A caller is told "done" when nobody but the node that says so knows of it.
    HastyAnswer,
}

impl Defect {
    /// Every defect, in the order of the rooms.
    pub const ALL: [Defect; 56] = [
        Defect::WideContext,
        Defect::BareRemoval,
        Defect::OmittedSuperseder,
        Defect::SilentSuperseder,
        Defect::StaleSnapshot,
        Defect::UnfoundRemovals,
        Defect::ClearedContext,
        Defect::AnswerMovesCursor,
        Defect::RelayVouches,
        Defect::OriginsPileUp,
        Defect::RetireDropsDesired,
        Defect::DotReuse,
        Defect::SkewDecides,
        Defect::ClockFalls,
        Defect::NameDuel,
        Defect::OneWayFlaps,
        Defect::SuspectIsDown,
        Defect::PauseBlamesOthers,
        Defect::HintIsProof,
        Defect::HintUnheard,
        Defect::StarvedIsDead,
        Defect::LoserLives,
        Defect::RankPerName,
        Defect::LosingClaimCounts,
        Defect::OldNewsDecides,
        Defect::HiddenIsGone,
        Defect::FreshWins,
        Defect::FenceStays,
        Defect::BlindStart,
        Defect::ConflictIsRestart,
        Defect::NamelessChild,
        Defect::SlowInitDeadlock,
        Defect::QuarantineForgotten,
        Defect::AnswersBeforeDisk,
        Defect::ExpectsNobody,
        Defect::EarlyHandoff,
        Defect::MovesEmptyHanded,
        Defect::CrashForgets,
        Defect::StaleCheckpoint,
        Defect::LoserForgets,
        Defect::MergesTwice,
        Defect::SuccessorTooSoon,
        Defect::StartsUngranted,
        Defect::GrantsTwice,
        Defect::ForgetsGrants,
        Defect::RunsWithoutQuorum,
        Defect::TakesOverEarly,
        Defect::OneTooMany,
        Defect::FullForGood,
        Defect::AssignmentStands,
        Defect::CrowdStays,
        Defect::FailedStartStays,
        Defect::FailedStartTakesAll,
        Defect::RestartRevives,
        Defect::RunsTwice,
        Defect::HastyAnswer,
    ];
}

#[cfg(feature = "defects")]
thread_local! {
    static PRESENT: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Puts one defect back on this thread, or none.
#[cfg(feature = "defects")]
pub fn put_back(defect: Option<Defect>) {
    PRESENT.set(defect);
}

/// Whether this defect is put back.
#[cfg(feature = "defects")]
pub fn is_present(defect: Defect) -> bool {
    PRESENT.get() == Some(defect)
}

/// Whether this defect is put back.
#[cfg(not(feature = "defects"))]
pub const fn is_present(_: Defect) -> bool {
    false
}
