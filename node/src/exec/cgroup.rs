//! A cgroup (version 2) for each child, where the node may make them: no process leaves its child's, so all are killed
//! by one write, and limits hold for all of them together.
//!
//! A node makes one tree, `ordu-PID-N`, below the cgroup that it is in itself, and its keeper a cgroup in it for each child.
//! For killing that is all. A cgroup limits its children only while no process is in itself, so where limits are asked for,
//! node and keeper first move into a cgroup of the tree, unless theirs is the root; somebody else's processes are not moved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::limits::Limits;

/// What the names of trees begin with; the node's process id follows, and a number that nobody else in it has.
const PREFIX: &str = "ordu-";
/// More nodes than one process has.
const TREES_MAX: u32 = 1000;
/// The cgroup of a tree in which the node is.
const NODE: &str = "node";

/// A node's tree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The cgroup that it is below.
    base: PathBuf,
    path: PathBuf,
}

impl Tree {
    /// Makes the tree of this process.
    ///
    /// # Errors
    /// One sentence on why there can be none; nothing is left then.
    pub(super) fn make() -> Result<Tree, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let base = locate(&own, &mounts).ok_or("this host has no cgroups of version 2 that this node is in")?;
        Self::make_below(base, std::process::id())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn make_below(base: PathBuf, pid: u32) -> Result<Tree, String> {
        sweep(&base);
        let mut paths = (0..TREES_MAX).map(|number| base.join(format!("{PREFIX}{pid}-{number}")));
        let made = paths.find_map(|path| match fs::create_dir(&path) {
            Ok(()) => Some(Ok(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Err(error) => Some(Err(format!("this node may not make cgroups below {}: {error}", base.display()))),
        });
        let path = made.ok_or("there are too many already")??;
        let tree = Tree { base, path };
        if !tree.path.join("cgroup.kill").exists() {
            tree.remove();
            return Err("this kernel cannot kill a cgroup at once".into());
        }
        Ok(tree)
    }

    /// Makes the cgroup of a child, with its limits.
    ///
    /// # Errors
    /// One sentence; nothing is left then.
    pub(super) fn add(&self, key: u64, limits: &Limits) -> Result<PathBuf, String> {
        let files = limits.of_cgroup()?;
        for (file, _) in &files {
            self.enable(file.split_once('.').map_or(*file, |(controller, _)| controller))?;
        }
        let path = self.path.join(format!("c{key}"));
        fs::create_dir_all(&path).map_err(|error| format!("a cgroup for it cannot be made: {error}"))?;
        for (file, text) in files {
            if let Err(error) = fs::write(path.join(file), &text) {
                let _ = fs::remove_dir(&path);
                return Err(format!("the limit {file} cannot be set to {text}: {error}"));
            }
            if file == "memory.max" {
                // A child that lost one of its processes to the limit is no whole child: it ends, and is told as that.
                let _ = fs::write(path.join("memory.oom.group"), "1");
            }
        }
        Ok(path)
    }

    /// Makes a controller available to the cgroups of children.
    fn enable(&self, controller: &str) -> Result<(), String> {
        let has = |path: &Path, file: &str| {
            fs::read_to_string(path.join(file)).is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
        };
        if has(&self.path, "cgroup.subtree_control") {
            return Ok(());
        }
        if !has(&self.base, "cgroup.controllers") {
            return Err(format!(
                "limits of {controller} for a whole child are not possible here: {} has no cgroup controller {controller}",
                self.base.display()
            ));
        }
        let turn_on = |path: &Path| fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
        let turned_on = if has(&self.base, "cgroup.subtree_control") {
            Ok(())
        } else {
            turn_on(&self.base).or_else(|_| self.make_room().and_then(|()| turn_on(&self.base)))
        };
        turned_on.and_then(|()| turn_on(&self.path)).map_err(|error| {
            format!(
                "limits of {controller} for a whole child are not possible here: the cgroup {} gives them to nobody \
                 below it: {error}",
                self.base.display()
            )
        })
    }

    /// Moves node and keeper out of the base, which must hold nobody to give limits.
    fn make_room(&self) -> io::Result<()> {
        let inside = fs::read_to_string(self.base.join("cgroup.procs"))?;
        let ours = [std::process::id(), std::os::unix::process::parent_id()].map(|pid| pid.to_string());
        if let Some(other) = inside.lines().find(|pid| !ours.contains(&(*pid).to_owned())) {
            return Err(io::Error::other(format!("process {other} is in it too")));
        }
        let room = self.path.join(NODE);
        fs::create_dir_all(&room)?;
        inside.lines().try_for_each(|pid| fs::write(room.join("cgroup.procs"), pid))
    }

    /// Kills everything that children have left; the node itself not.
    pub(super) fn kill_all(&self) {
        self.children().iter().for_each(|child| kill(child));
    }

    /// Removes the tree, once nobody is in it.
    pub(super) fn remove(&self) {
        for path in self.children() {
            remove_below(&path);
            let _ = fs::remove_dir(path);
        }
        let _ = fs::remove_dir(self.path.join(NODE));
        let _ = fs::remove_dir(&self.path);
    }

    fn children(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter(|entry| entry.file_name() != NODE).map(|entry| entry.path()).collect()
    }
}

/// Kills every process of a cgroup and of those below it.
pub(super) fn kill(path: &Path) {
    let _ = fs::write(path.join("cgroup.kill"), "1");
}

/// Kills what is left in a child's cgroup and removes it; whether it is gone.
pub(super) fn clear(path: &Path) -> bool {
    kill(path);
    // A program may have made cgroups of its own below.
    remove_below(path);
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove_below(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path());
        let _ = fs::remove_dir(entry.path());
    }
}

/// How many processes of a cgroup the kernel killed because they used more than `memory.max`.
pub(super) fn out_of_memory(path: &Path) -> bool {
    let events = fs::read_to_string(path.join("memory.events")).unwrap_or_default();
    let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok());
    killed.is_some_and(|killed| killed > 0)
}

/// Kills what is left in a tree of an earlier node, unless a node has that tree now.
pub(super) fn kill_earlier(path: &Path) {
    let (Some(base), Some(pid)) = (path.parent(), path.file_name().and_then(|name| pid_of(name.to_str()?))) else {
        return;
    };
    if !is_there(pid) && path.join("cgroup.kill").exists() {
        kill(path);
        Tree { base: base.to_owned(), path: path.to_owned() }.remove();
    }
}

/// Whose tree has this name.
fn pid_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn is_there(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Removes the trees of nodes that were killed together with their keepers; one with somebody in it cannot be removed.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(pid_of).is_some_and(|pid| !is_there(pid)) {
            Tree { base: base.to_owned(), path: entry.path() }.remove();
        }
    }
}

/// Where the cgroup of version 2 is that this process is in; for one that was moved into a node's tree, what that is below.
fn locate(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(own.lines().find_map(|line| line.strip_prefix("0::"))?);
    let is_tree =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let own = match own.parent() {
        Some(tree) if own.ends_with(NODE) && is_tree(tree) => tree.parent()?,
        _ => own,
    };
    mounts.lines().find_map(|line| {
        // ID PARENT DEVICE ROOT MOUNT OPTIONS ... - TYPE SOURCE OPTIONS
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then_some(())?;
        let mut fields = fields.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        // A namespace may show only a part of the tree, from `root` on.
        let below = own.strip_prefix(root).ok()?;
        Some(if below.as_os_str().is_empty() { mount.into() } else { Path::new(mount).join(below) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "25 1 0:22 / /proc rw - proc proc rw\n\
                          31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_cgroup_is_found() {
        let found = |own: &str, mounts: &str| locate(own, mounts).map(|path| path.display().to_string());
        let unit = "/sys/fs/cgroup/system.slice/ordu.service";
        assert_eq!(found("0::/system.slice/ordu.service\n", MOUNTS).as_deref(), Some(unit));
        assert_eq!(found("9:pids:/x\n0::/\n", MOUNTS).as_deref(), Some("/sys/fs/cgroup"));
        assert_eq!(found("0::/system.slice/ordu.service/ordu-77-0/node\n", MOUNTS).as_deref(), Some(unit));
        assert_eq!(found("0::/a/node\n", MOUNTS).as_deref(), Some("/sys/fs/cgroup/a/node"));
        let part = MOUNTS.replace(" / /sys/fs/cgroup", " /docker/7 /sys/fs/cgroup");
        assert_eq!(found("0::/docker/7/x\n", &part).as_deref(), Some("/sys/fs/cgroup/x"));
        assert_eq!(found("0::/elsewhere\n", &part), None);
        assert_eq!(found("9:pids:/x\n", MOUNTS), None);
        assert_eq!(found("0::/\n", ""), None);
    }

    /// The files are what a kernel would show; what it does with them is not shown here.
    #[test]
    fn limits_are_written_where_the_controllers_are() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("unit");
        let tree = Tree { path: base.join("ordu-7"), base: base.clone() };
        fs::create_dir_all(&tree.path).unwrap();
        fs::write(base.join("cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(base.join("cgroup.subtree_control"), "memory\n").unwrap();
        let limits = |pairs: &[(&str, &str)]| Limits::from_pairs(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())));
        let why = tree.add(1, &limits(&[("pids.max", "5")])).unwrap_err();
        assert!(why.contains("no cgroup controller pids"), "{why}");
        assert!(!tree.path.join("c1").exists());
        let path = tree.add(2, &limits(&[("memory.max", "1M"), ("nofile", "5")])).unwrap();
        assert_eq!(fs::read_to_string(path.join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(path.join("memory.oom.group")).unwrap(), "1");
        assert_eq!(fs::read_to_string(tree.path.join("cgroup.subtree_control")).unwrap(), "+memory");
        assert!(!out_of_memory(&path));
        fs::write(path.join("memory.events"), "low 0\noom 2\noom_kill 1\n").unwrap();
        assert!(out_of_memory(&path));
    }
}
