//! What a member with a store says: it leaves when everything of its own that it may mention is kept for sure.

/// Holds things back, in order, until everything of this member's own that existed when they were made is kept.
///
/// What is to be kept is handed to a store in batches, one at a time, and what comes up meanwhile is the next batch: so
/// many messages share one wait for the disk, and nobody waits while there is nothing of one's own to wait for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dam<T> {
    /// What the store has now.
    saving: Option<Reach<T>>,
    next: Reach<T>,
}

/// What waits for one batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Reach<T> {
    /// There is something in the batch.
    some: bool,
    /// There is something of this member's own in it.
    own: bool,
    held: Vec<T>,
}

impl<T> Dam<T> {
    /// Something goes into the next batch: a message of one's own, or something else.
    pub fn note(&mut self, own: bool) {
        self.next.some = true;
        self.next.own |= own;
    }

    /// Gives a thing back that may leave at once; else it is held.
    pub fn pass(&mut self, thing: T) -> Option<T> {
        let saving = self.saving.as_mut().filter(|saving| saving.own);
        match saving {
            _ if self.next.own => self.next.held.push(thing),
            Some(saving) => saving.held.push(thing),
            None => return Some(thing),
        }
        None
    }

    /// Whether a thing would be held.
    pub fn is_shut(&self) -> bool {
        self.next.own || self.saving.as_ref().is_some_and(|saving| saving.own)
    }

    /// Whether the store has a batch.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The next batch goes to the store, if there is something in it and the store has none.
    pub fn begin(&mut self) -> bool {
        let begins = self.next.some && self.saving.is_none();
        if begins {
            self.saving = Some(std::mem::take(&mut self.next));
        }
        begins
    }

    /// The store has kept its batch: what waited for that leaves now, in this order.
    pub fn done(&mut self) -> Vec<T> {
        self.saving.take().map_or(Vec::new(), |saving| saving.held)
    }

    /// How many things are held.
    pub fn held(&self) -> usize {
        self.next.held.len() + self.saving.as_ref().map_or(0, |saving| saving.held.len())
    }
}

impl<T> Default for Dam<T> {
    fn default() -> Self {
        Self {
            saving: None,
            next: Reach::default(),
        }
    }
}

impl<T> Default for Reach<T> {
    fn default() -> Self {
        Self {
            some: false,
            own: false,
            held: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_ones_own_leaves_at_once_and_the_rest_in_order() {
        let mut dam = Dam::default();
        dam.note(false);
        assert_eq!(dam.pass(1), Some(1));
        assert!(dam.begin() && !dam.begin());
        assert_eq!(dam.pass(2), Some(2), "nothing of one's own is being kept");
        dam.note(true);
        assert_eq!(dam.pass(3), None);
        assert_eq!(dam.done(), [0; 0]);
        assert!(dam.begin());
        assert_eq!(dam.pass(4), None);
        dam.note(false);
        assert_eq!(dam.pass(5), None);
        dam.note(true);
        assert_eq!(dam.pass(6), None);
        assert_eq!((dam.held(), dam.done()), (4, vec![3, 4, 5]));
        assert!(dam.is_shut() && dam.begin());
        assert_eq!(dam.done(), [6]);
        assert_eq!(dam.pass(7), Some(7));
        assert!(!dam.begin(), "there is nothing to keep");
    }
}
