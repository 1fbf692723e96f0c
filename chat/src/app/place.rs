//! Where something is said.

use std::fmt;

use super::clean;

/// Where something is said: one group of `multicast`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A room, by its name without `#`.
    Room(String),
}

impl Place {
    /// The room of that name, with or without its `#`.
    pub fn room(name: &str) -> Self {
        Self::Room(name.strip_prefix('#').unwrap_or(name).to_owned())
    }
}

/// As a screen shows it: `#lobby`. Whatever could steer a terminal is replaced.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(name) => write!(f, "#{}", clean::line(name)),
        }
    }
}
