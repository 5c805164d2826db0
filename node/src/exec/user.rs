//! As whom a child runs: `NAME|UID[:GROUP|GID]`, looked up on the node that runs it.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

/// The longest name of a user or group.
const NAME_BYTES_MAX: usize = 256;

/// The variables that a login sets.
pub(super) const LOGIN: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// A user, and a group where that is not the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunAs {
    user: String,
    group: Option<String>,
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// All of its groups: looked up early, for that takes files that its limits may not allow.
    groups: Vec<Gid>,
    /// Name and home, unless the host knows only a number.
    entry: Option<(String, PathBuf)>,
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.len() <= NAME_BYTES_MAX
                && !name.contains([':', '/', '\0'])
                && !name.starts_with('-')
        };
        if !is_name(user) || !group.is_none_or(is_name) {
            return Err(format!("{text:?} is not of the form USER or USER:GROUP, each a name or a number"));
        }
        Ok(Self { user: user.into(), group: group.map(Into::into) })
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(formatter, ":{group}"))
    }
}

impl TryFrom<String> for RunAs {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RunAs> for String {
    fn from(run_as: RunAs) -> Self {
        run_as.to_string()
    }
}

impl RunAs {
    /// Who that is on this host. The error is one sentence.
    pub(super) fn look_up(&self) -> Result<Account, String> {
        let failed = |error: nix::Error| format!("the user {self} cannot be looked up: {}", error.desc());
        let by_name = User::from_name(&self.user).map_err(failed)?;
        let number = self.user.parse().ok().map(Uid::from_raw);
        let found = match (by_name, number) {
            (None, Some(uid)) => User::from_uid(uid).map_err(failed)?,
            (found, _) => found,
        };
        let group = self.group.as_deref().map(|group| group_of(group, &failed)).transpose()?;
        match (found, number, group) {
            (Some(user), _, group) => {
                let gid = group.unwrap_or(user.gid);
                let name = CString::new(&*user.name).map_err(|_| format!("the user {self} has no usable name"))?;
                let groups = getgrouplist(&name, gid).map_err(failed)?;
                Ok(Account { uid: user.uid, gid, groups, entry: Some((user.name, user.dir)) })
            }
            (None, Some(uid), Some(gid)) => Ok(Account { uid, gid, groups: vec![gid], entry: None }),
            (None, Some(uid), None) => Err(format!("the user {uid} is not known here, so its group must be given too")),
            (None, None, _) => Err(format!("user not found: {}", self.user)),
        }
    }
}

fn group_of(group: &str, failed: &impl Fn(nix::Error) -> String) -> Result<Gid, String> {
    match (Group::from_name(group).map_err(failed)?, group.parse()) {
        (Some(found), _) => Ok(found.gid),
        (None, Ok(gid)) => Ok(Gid::from_raw(gid)),
        (None, Err(_)) => Err(format!("group not found: {group}")),
    }
}

impl Account {
    /// Makes this process that user for good: its groups first, for a plain user may not change them any more.
    pub(super) fn become_it(&self) -> Result<(), String> {
        if self.uid == geteuid() && self.gid == getegid() && !geteuid().is_root() {
            return Ok(());
        }
        let become_it = setgroups(&self.groups).and_then(|()| setgid(self.gid)).and_then(|()| setuid(self.uid));
        become_it.map_err(|error| match error {
            nix::Error::EPERM => {
                format!("the child cannot run as user {}: this node may not change users", self.uid)
            }
            error => format!("the child cannot run as user {}: {}", self.uid, error.desc()),
        })
    }

    /// What a login would set in the environment.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let Some((name, home)) = &self.entry else { return Vec::new() };
        LOGIN.into_iter().zip([home.to_string_lossy().into_owned(), name.clone(), name.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_read_and_written() {
        for text in ["root", "0", "root:0", "nobody:nogroup"] {
            assert_eq!(text.parse::<RunAs>().unwrap().to_string(), text);
        }
        for text in ["", ":", "root:", ":root", "a:b:c", "-x", "a/b"] {
            assert!(text.parse::<RunAs>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_user_is_looked_up_by_name_or_number() {
        let look_up = |text: &str| text.parse::<RunAs>().unwrap().look_up();
        let root = look_up("root").unwrap();
        assert_eq!((root.uid, look_up("0").as_ref()), (Uid::from_raw(0), Ok(&root)));
        assert!(root.environment().contains(&("USER", "root".into())));
        assert_eq!(look_up("root:7").unwrap().gid, Gid::from_raw(7));
        assert_eq!(look_up("no-such-user"), Err("user not found: no-such-user".into()));
        assert_eq!(look_up("root:no-such-group"), Err("group not found: no-such-group".into()));
        assert!(look_up("3999999999").unwrap_err().contains("its group must be given"));
        let unknown = look_up("3999999999:7").unwrap();
        assert_eq!((unknown.uid, unknown.gid), (Uid::from_raw(3_999_999_999), Gid::from_raw(7)));
        assert_eq!(unknown.environment(), []);
    }
}
