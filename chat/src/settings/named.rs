//! Which registries a run uses, in words, and whether somebody said so.

use super::{Registries, Settings, Source};

impl Registries {
    /// As `hello` names them.
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Named(names) => Some(names.join(",")),
            Self::Default(name) => Some(name.clone()),
            Self::None => None,
        }
    }
}

impl Settings {
    /// Whether it was said which registries or peers to use.
    pub fn names_registries(&self) -> bool {
        let said = |name: &str, source: &Source| ["registry", "peer"].contains(&name) && *source != Source::Default;
        self.rows.iter().any(|(name, _, source)| said(name, source))
    }
}
