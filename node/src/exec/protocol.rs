//! What a node and its keeper say to one another: length-prefixed JSON over the keeper's standard input and output.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Tree;
use super::limits::Limits;
use super::signals;
use super::user::RunAs;

/// Longest frame, in bytes without its four-byte length. A spec's args have at most 1 MiB, which JSON may escape sixfold.
pub const FRAME_BYTES_MAX: usize = 8 << 20;

/// What the node wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Run a program. Answered by `Started` or `SpawnFailed`.
    Spawn {
        /// What later orders and reports call it; never given twice.
        key: u64,
        /// What to run, and how.
        job: Job,
    },
    /// Give each child a cgroup in this tree; or why there is none. Told before any child.
    Cgroups {
        /// Which.
        tree: Result<Tree, String>,
    },
    /// When all is over, remove this directory too. Not an argument of the keeper: its command line shall not name ordu.
    Remove {
        /// Which.
        directory: PathBuf,
    },
    /// At this time kill every child, unless told otherwise before: then the node may not be heard of, and others may start
    /// them elsewhere.
    Lease {
        /// By the clock of the time since boot, in microseconds; `None`: never.
        until_us: Option<u64>,
    },
    /// Send a signal to the whole group, if it still is there.
    Signal {
        /// Which.
        key: u64,
        /// The signal's number.
        signal: i32,
    },
}

/// A program to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments, at least the program.
    pub cmd: Vec<String>,
    /// Set on top of the keeper's own environment.
    pub env: Vec<(String, String)>,
    /// Where it runs; the keeper's own directory if absent.
    pub cwd: Option<PathBuf>,
    /// As whom it runs; as the keeper if absent.
    pub user: Option<RunAs>,
    /// What it may use.
    pub limits: Limits,
    /// What its standard output and error are appended to.
    pub log: PathBuf,
    /// The value of `ORDU_FENCE` by which processes that left the group are still known as its own.
    pub mark: Option<String>,
}

/// What the keeper tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The program was executed.
    Started {
        /// Which.
        key: u64,
        /// Its process id, which is its group's too.
        os_pid: u32,
    },
    /// It could not be executed; nothing of it is left.
    SpawnFailed {
        /// Which.
        key: u64,
        /// One sentence.
        why: String,
    },
    /// It ended, and what was left of its group was killed.
    Exited {
        /// Which.
        key: u64,
        /// How.
        ended: Ended,
    },
    /// Something that people should know.
    Complaint {
        /// One sentence.
        what: String,
    },
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It exited with this status.
    Code(i32),
    /// A signal killed it.
    Signal {
        /// Which.
        number: i32,
        /// It left a core dump.
        is_dumped: bool,
    },
    /// The kernel killed it, because it used more memory than its cgroup may have.
    OutOfMemory,
    /// The keeper died and took the knowledge along; the program was killed.
    Lost,
}

impl Ended {
    /// A signal without a core dump.
    pub fn by(signal: Signal) -> Self {
        Self::Signal { number: signal as i32, is_dumped: false }
    }

    /// What people are told: nothing, if it ended as programs should.
    pub fn reason(self) -> Option<String> {
        match self {
            Self::Code(0) => None,
            Self::Code(code) => Some(format!("exit status {code}")),
            Self::Signal { number, is_dumped: false } => Some(format!("killed by {}", signals::name(number))),
            Self::Signal { number, is_dumped: true } => {
                Some(format!("killed by {}, core dumped", signals::name(number)))
            }
            Self::OutOfMemory => Some("killed by SIGKILL: it used more memory than its limit memory.max".into()),
            Self::Lost => Some("killed because its node's keeper died".into()),
        }
    }
}

/// Writes one frame.
pub fn write_frame<T: Serialize>(to: &mut impl Write, body: &T) -> io::Result<()> {
    let body = serde_json::to_vec(body)?;
    let length = u32::try_from(body.len()).ok().filter(|&length| length as usize <= FRAME_BYTES_MAX);
    let Some(length) = length else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame of {} bytes is too long", body.len()),
        ));
    };
    to.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
    to.flush()
}

/// Reads one frame; `None` at the end of the stream, also where that cuts a frame short.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let Some(()) = read_all(from, &mut length)? else { return Ok(None) };
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes is too long")));
    }
    let mut body = vec![0; length];
    let Some(()) = read_all(from, &mut body)? else { return Ok(None) };
    Ok(Some(serde_json::from_slice(&body)?))
}

fn read_all(from: &mut impl Read, into: &mut [u8]) -> io::Result<Option<()>> {
    match from.read_exact(into) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        for (ended, expected) in [
            (Ended::Code(0), None),
            (Ended::Code(3), Some("exit status 3")),
            (Ended::by(Signal::SIGTERM), Some("killed by SIGTERM")),
            (Ended::Signal { number: 11, is_dumped: true }, Some("killed by SIGSEGV, core dumped")),
            (Ended::Signal { number: 40, is_dumped: false }, Some("killed by SIGRTMIN+6")),
        ] {
            assert_eq!(ended.reason().as_deref(), expected);
        }
    }

    #[test]
    fn frames_go_both_ways_and_end_quietly() {
        let mut bytes = Vec::new();
        let first = Report::Exited { key: 1, ended: Ended::by(Signal::SIGKILL) };
        let second = Order::Signal { key: 2, signal: 15 };
        write_frame(&mut bytes, &first).unwrap();
        write_frame(&mut bytes, &second).unwrap();
        let mut reader = &bytes[..];
        assert_eq!(read_frame::<Report>(&mut reader).unwrap(), Some(first));
        assert_eq!(read_frame::<Order>(&mut reader).unwrap(), Some(second));
        assert_eq!(read_frame::<Order>(&mut reader).unwrap(), None);
        let mut cut = &bytes[..10];
        assert_eq!(read_frame::<Report>(&mut cut).unwrap(), None);
        let mut lying = &[0xff_u8; 8][..];
        assert!(read_frame::<Report>(&mut lying).is_err());
    }
}
