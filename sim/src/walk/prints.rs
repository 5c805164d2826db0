//! A set of fingerprints: open addressing over one block of memory. A walk keeps tens of millions.

/// A set of 64-bit fingerprints, whose bits are taken as evenly spread already.
#[derive(Debug)]
pub(super) struct Prints {
    /// 0 is a free place; a fingerprint of 0 is kept as 1.
    places: Vec<u64>,
    len: usize,
}

const PLACES_MIN: usize = 1 << 10;

impl Default for Prints {
    fn default() -> Self {
        Self { places: vec![0; PLACES_MIN], len: 0 }
    }
}

impl Prints {
    /// Returns whether it is new.
    pub(super) fn insert(&mut self, print: u64) -> bool {
        if self.len * 3 > self.places.len() * 2 {
            self.grow();
        }
        let (place, known) = self.find(print.max(1));
        if !known {
            self.places[place] = print.max(1);
            self.len += 1;
        }
        !known
    }

    pub(super) fn contains(&self, print: u64) -> bool {
        self.find(print.max(1)).1
    }

    /// Its place, or the free one where it belongs; and whether it is there.
    fn find(&self, print: u64) -> (usize, bool) {
        let mask = self.places.len() - 1;
        // The low bits suffice; which part of the number is used does not matter.
        let mut place = usize::try_from(print & mask as u64).unwrap_or(0);
        loop {
            match self.places[place] {
                0 => return (place, false),
                other if other == print => return (place, true),
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let larger = vec![0; self.places.len() * 2];
        let old = std::mem::replace(&mut self.places, larger);
        for print in old.into_iter().filter(|print| *print != 0) {
            let (place, _) = self.find(print);
            self.places[place] = print;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_was_given() {
        let mut prints = Prints::default();
        let scattered = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 0..10_000 {
            assert!(!prints.contains(scattered(number)));
            assert!(prints.insert(scattered(number)));
            assert!(!prints.insert(scattered(number)));
        }
        assert!((0..10_000).all(|number| prints.contains(scattered(number))));
        assert!(!prints.contains(scattered(10_000)));
    }
}
