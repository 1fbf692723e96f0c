//! The list of a private group, as its members, its node and its connections share it, and what members say of it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::circle::{Act, Circle, MAX_LISTED};
use crate::group::{SendError, Sender};
use crate::id::MemberId;
use crate::identity::{Identity, Profile};
use crate::message::Kind;
use crate::receipt::Receipt;

/// Who may be in a private group, now.
#[derive(Clone, Debug)]
pub(crate) struct Listing(Arc<watch::Sender<Circle>>);

impl Listing {
    pub(crate) fn new(circle: Circle) -> Self {
        Self(Arc::new(watch::Sender::new(circle)))
    }

    pub(crate) fn now(&self) -> Circle {
        self.0.borrow().clone()
    }

    pub(crate) fn admits(&self, profile: Option<&Profile>) -> bool {
        profile.is_some_and(|profile| self.0.borrow().admits(profile))
    }

    /// Takes in what another member knows. False, if that changes nothing.
    pub(crate) fn merge(&self, other: &Circle) -> bool {
        self.0.send_if_modified(|circle| circle.merge(other))
    }

    /// Takes in what was said in the group. False, if that changes nothing.
    pub(crate) fn hear(&self, act: &Act, at: (MemberId, u64)) -> bool {
        self.0.send_if_modified(|circle| circle.hear(act, at))
    }
}

/// What a member of a private group says things of its list with.
#[derive(Clone, Debug)]
pub(crate) struct Private {
    pub(crate) listing: Listing,
    pub(crate) identity: Identity,
    /// Which join of the group by this node it is.
    pub(crate) nth: u64,
}

/// Why nobody was let in, or thrown out. Nothing was said, and nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircleError {
    /// The group is public, or of two profiles: its members are not to be chosen.
    #[error("nobody can be let into this group, or thrown out of it")]
    Fixed,
    /// Only its founder's profile throws out of a group; and never itself.
    #[error("only the founder of a group throws out, and never itself")]
    NotTheFounder,
    /// So many profiles have been spoken of.
    #[error("the group's list has {MAX_LISTED} profiles, and takes no more")]
    Full,
    /// As for `send`.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Sender {
    /// Who may be in this group, as far as known here; nothing, if it is public.
    pub fn circle(&self) -> Option<Circle> {
        Some(self.private.as_ref()?.listing.now())
    }

    /// Lets a profile into this private group, by a message to all; any member may. Its processes learn of it when they
    /// are connected to one of this member's, and then join as [`Node::offers`](crate::Node::offers) says.
    ///
    /// Whom the founder has thrown out only the founder lets in again; of others that changes nothing.
    ///
    /// # Errors
    /// [`CircleError`]: nothing was said.
    pub async fn admit(&self, profile: Profile) -> Result<Receipt, CircleError> {
        self.say_of(profile, true).await
    }

    /// Throws a profile out of this private group, by a message to all; the founder may. Whoever has delivered it says
    /// nothing more to its members, and hears nothing of them; they are closed like those whose process is gone.
    ///
    /// # Errors
    /// [`CircleError`]: nothing was said.
    pub async fn exclude(&self, profile: Profile) -> Result<Receipt, CircleError> {
        self.say_of(profile, false).await
    }

    async fn say_of(&self, profile: Profile, admits: bool) -> Result<Receipt, CircleError> {
        let private = self.private.as_ref().ok_or(CircleError::Fixed)?;
        let circle = private.listing.now();
        let founder = circle.founder().ok_or(CircleError::Fixed)?;
        let act = Act::new((profile, admits), &private.identity, private.nth, &circle);
        if !admits && (!act.is_the_founder_s() || profile == founder) {
            return Err(CircleError::NotTheFounder);
        }
        if !circle.has_room(&profile) {
            return Err(CircleError::Full);
        }
        Ok(self.send_as(Kind::List, act.encode().into()).await?)
    }
}
