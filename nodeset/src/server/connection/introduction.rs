//! Who is at the other end, and what they may ask.

use super::{Desk, End, stopping};
use crate::peer::PeerId;
use crate::protocol::{Answer, Limited, Refusal, Request};
use crate::server::office::Badge;
use crate::server::operator;

impl Desk {
    /// Whether whoever is at the other end may ask this.
    pub(super) fn may(&self, request: &Request) -> Result<(), Refusal> {
        let own = |id: &PeerId| match self.badge.node() {
            Some(node) if node == *id => Ok(()),
            _ => Err(Refusal::NotYours),
        };
        match request {
            Request::Hello { .. } | Request::Health | Request::Prove { .. } => Ok(()),
            _ if !self.badge.is_known() => Err(Refusal::Unproven),
            Request::List | Request::Watch { .. } | Request::Enrol { .. } => Ok(()),
            Request::Register { claim, .. } => own(&claim.id),
            Request::Leave { id, .. } => own(id),
            Request::Evict { .. }
            | Request::Pardon { .. }
            | Request::Invite { .. }
            | Request::Invites
            | Request::Revoke { .. } => match self.badge.operator {
                true => Ok(()),
                false => Err(Refusal::NotOperator),
            },
        }
    }

    pub(super) async fn on_introduction(&mut self, id: u64, request: Request) -> Result<(), End> {
        let answer = match request {
            Request::Prove { proof, profile, name } => {
                let proven = self.house.office.prove(self.exported, proof, profile, name).await;
                proven.map(|(operator, by)| {
                    let by = Some(by);
                    let member = self.badge.member.take();
                    let badge = Badge { operator, by, member };
                    (badge, Answer::Proven { operator })
                })
            }
            Request::Enrol {
                public,
                name,
                possession,
            } => {
                let (office, badge) = (&self.house.office, self.badge.clone());
                let issued = office.enrol(self.exported, badge, public, name, possession).await;
                issued.map(|(badge, chain, life)| {
                    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
                    (badge, Answer::Issued { chain, life_ms })
                })
            }
            _ => Err(Refusal::Unproven), // is called with these only
        };
        match answer {
            Ok((badge, answer)) => {
                self.introduce(id, badge).await?;
                self.answer(id, answer).await
            }
            Err(refusal) => self.refuse(id, refusal).await,
        }
    }

    /// From now on it is known who this is.
    pub(super) async fn introduce(&mut self, id: u64, badge: Badge) -> Result<(), End> {
        if let Err(full) = self.pass.introduce() {
            self.house.stats.count_refused_connection();
            self.refuse(id, Refusal::Limit(Limited::Connections)).await?;
            return Err(End::Broken(full.to_string()));
        }
        self.badge = badge;
        self.check_badge()
    }

    pub(super) async fn on_operator(&mut self, id: u64, request: Request) -> Result<(), End> {
        let answer = operator::answer(request, &self.house.office, &self.house.mail).await;
        let answer = answer.ok_or_else(stopping)?;
        self.answer(id, answer.unwrap_or_else(Answer::Refused)).await
    }
}
