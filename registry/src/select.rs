//! Listing names without holding writers up.

use ordu_transport::core::Pid;

use crate::core::{Entry, Name};
use crate::registry::Registry;

impl Registry {
    /// What the names that begin with `prefix` and that `pick` likes show, by name.
    ///
    /// Looks at all names, [`SELECT_LOOK_MAX`](crate::core::select::SELECT_LOOK_MAX) at a time; writers go on between
    /// looks, and `pick` runs while nobody waits. A name that is shown all the while is listed once; one that comes or goes
    /// meanwhile may be or not. [`Registry::entries`] lists one moment, while writers wait.
    ///
    /// ```no_run
    /// # use ordu_registry::Registry;
    /// # fn example(registry: &Registry) {
    /// let ready = registry.select("workers/", |entry| &entry.value()[..] == b"ready");
    /// println!("{} of {} workers are ready", ready.len(), registry.count_prefix("workers/"));
    /// # }
    /// ```
    pub fn select(&self, prefix: &str, pick: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut picked = Vec::new();
        self.walk(prefix, |entries| picked.extend(entries.into_iter().filter(&pick)));
        sort(&mut picked);
        picked
    }

    /// The first `limit` of what [`Registry::select`] would list after the name `after`. Each page looks at all names, but
    /// keeps no more than twice its length.
    ///
    /// ```no_run
    /// # use ordu_registry::{Registry, core::Name};
    /// # fn example(registry: &Registry) {
    /// let mut last: Option<Name> = None;
    /// loop {
    ///     let page = registry.select_page("", last.as_ref(), 100, |_| true);
    ///     let Some(entry) = page.last() else { break };
    ///     last = Some(entry.name().clone());
    ///     page.iter().for_each(|entry| println!("{} {}", entry.name(), entry.pid()));
    /// }
    /// # }
    /// ```
    pub fn select_page(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        pick: impl Fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        let mut picked: Vec<Entry> = Vec::new();
        self.walk(prefix, |entries| {
            let later = |entry: &Entry| after.is_none_or(|after| entry.name() > after) && pick(entry);
            picked.extend(entries.into_iter().filter(later));
            if picked.len() > limit.saturating_mul(2) {
                sort(&mut picked);
                picked.truncate(limit);
            }
        });
        sort(&mut picked);
        picked.truncate(limit);
        picked
    }

    /// How many names that begin with `prefix` show a process. Looks at all names, as [`Registry::select`] does;
    /// [`Registry::count`] costs nothing.
    pub fn count_prefix(&self, prefix: &str) -> usize {
        let mut count = 0;
        self.walk(prefix, |entries| count += entries.len());
        count
    }

    /// The names that a process claims, on whichever node it runs, in order; none while its node is down. Of a process of
    /// another node it costs a look at all claims of that node, and writers wait meanwhile.
    pub fn keys(&self, pid: &Pid) -> Vec<Name> {
        self.look(|registry, _| registry.keys(pid))
    }

    fn walk(&self, prefix: &str, mut take: impl FnMut(Vec<Entry>)) {
        let mut place = Some(0);
        while let Some(from) = place {
            let found = self.look(|registry, _| registry.look_from(from, prefix));
            take(found.entries);
            place = found.next;
        }
    }
}

fn sort(entries: &mut [Entry]) {
    entries.sort_unstable_by(|one, other| one.name().cmp(other.name()));
}
