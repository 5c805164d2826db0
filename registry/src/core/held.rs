//! The names that a process holds: most hold one, and some a hundred thousand.

use std::collections::BTreeSet;

use super::claim::Name;

/// A set of names that costs nothing but the name while there is only one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) enum Held {
    /// None.
    #[default]
    Nothing,
    /// Just this one.
    One(Name),
    /// Several, once there were.
    Many(BTreeSet<Name>),
}

impl Held {
    pub(super) fn len(&self) -> usize {
        match self {
            Held::Nothing => 0,
            Held::One(_) => 1,
            Held::Many(names) => names.len(),
        }
    }

    pub(super) fn contains(&self, name: &Name) -> bool {
        match self {
            Held::Nothing => false,
            Held::One(held) => held == name,
            Held::Many(names) => names.contains(name),
        }
    }

    pub(super) fn insert(&mut self, name: Name) {
        *self = match std::mem::take(self) {
            Held::Nothing => Held::One(name),
            Held::One(held) => Held::Many(BTreeSet::from([held, name])),
            Held::Many(mut names) => {
                names.insert(name);
                Held::Many(names)
            }
        };
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, name: &Name) -> bool {
        match self {
            Held::Nothing => false,
            Held::One(held) if held == name => {
                *self = Held::Nothing;
                true
            }
            Held::One(_) => false,
            Held::Many(names) => names.remove(name),
        }
    }

    /// The names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        let (one, many) = match self {
            Held::Nothing => (None, None),
            Held::One(name) => (Some(name), None),
            Held::Many(names) => (None, Some(names)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set_whatever_its_size() {
        let [a, b] = ["a", "b"].map(|name| Name::new(name).expect("a name"));
        let mut held = Held::default();
        assert!(!held.remove(&a) && !held.contains(&a));
        held.insert(b.clone());
        assert!(held.contains(&b) && !held.contains(&a) && !held.remove(&a));
        held.insert(b.clone());
        held.insert(a.clone());
        assert_eq!((held.len(), held.iter().collect::<Vec<_>>()), (2, vec![&a, &b]));
        assert!(held.remove(&b) && !held.remove(&b));
        assert_eq!((held.len(), held.iter().collect::<Vec<_>>()), (1, vec![&a]));
    }
}
