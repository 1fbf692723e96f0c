//! Answers to questions: a line of `***` and what belongs to it, without a time.

use multicast::{Clock, Dot};

use super::{Page, count};
use crate::app::clean;
use crate::app::line::{
    Body, ClockNow, Elsewhere, Help, History, Info, Missing, Peers, Rooms, Status, Topic, Waiting, Who, Why, WhyState,
};

mod peers;

/// `#ops  2 members  on call`
fn elsewhere(other: &Elsewhere) -> String {
    let members = match other.members {
        0 => "nobody there".to_owned(),
        n => count(n, "member"),
    };
    let row = format!(
        "#{}  {members}  {}",
        clean::line(&other.room),
        clean::line(&other.topic)
    );
    row.trim_end().to_owned()
}

impl Page<'_> {
    pub(super) fn answer(&self, body: &Body) -> String {
        match body {
            Body::Who(who) => self.who(who),
            Body::Clock(clock) => self.clock(clock),
            Body::Waiting(waiting) => self.waiting(waiting),
            Body::Why(why) => self.why(why),
            Body::Info(info) => self.info(info),
            Body::Peers(peers) => self.peers(peers),
            Body::Status(status) => self.status(status),
            Body::Rooms(rooms) => self.rooms(rooms),
            Body::History(history) => self.history(history),
            Body::Ping(ping) => self.ping(ping),
            Body::Export(export) => {
                let (messages, room) = (count(export.messages, "message"), export.place.place());
                let file = clean::line(&export.file);
                self.star(&format!("wrote {messages} of {room} into {file}"))
            }
            Body::Ignored(ignored) => self.ignored(ignored),
            Body::Chaos(chaos) => self.chaos(chaos),
            Body::Topic(topic) => self.topic(topic),
            Body::Stamp(stamp) => self.star(&format!("the stamp is {}", stamp.mode.name())),
            Body::Help(help) => self.help(help),
            other => self.star(other.name()),
        }
    }

    fn history(&self, history: &History) -> String {
        let head = format!(
            "{} of {}",
            count(history.messages.len() as u64, "message"),
            history.place.place()
        );
        let mut text = self.star(&head);
        for message in &history.messages {
            text += &format!("\n  {}", self.message(message).replace('\n', "\n  "));
        }
        text
    }

    fn who(&self, who: &Who) -> String {
        let listeners = match who.listeners {
            0 => String::new(),
            n => format!(", {}", count(n, "listener")),
        };
        let members = count(who.members.len() as u64, "member");
        let head = format!("{members} in {}{listeners}", who.place.place());
        let rows = who.members.iter().map(|member| {
            let mut row = self.name(member.member);
            let notes = [
                member.own.then(|| "you".to_owned()),
                member.joined.map(|time| format!("joined at {time}")),
                member.addr.clone(),
                member.profile.as_ref().map(|profile| format!("profile {profile}")),
                member.silent.then(|| "not answering".to_owned()),
                member.lagging.then(|| "slow".to_owned()),
            ];
            for note in notes.into_iter().flatten() {
                row += "  ";
                row += &note;
            }
            row
        });
        self.list(&head, rows)
    }

    fn clock(&self, now: &ClockNow) -> String {
        let rows = [
            format!("you have delivered  {}", self.vector(&now.clock.clock)),
            format!("everyone has        {}", self.vector(&now.stable.clock)),
        ];
        self.list(&format!("logical time {}", now.lamport), rows)
    }

    fn waiting(&self, waiting: &Waiting) -> String {
        if waiting.held == 0 {
            return self.star("nothing is held");
        }
        let rows = waiting.messages.iter().map(|message| {
            let needs: Vec<_> = message.needs.iter().map(|id| self.dot(id.dot)).collect();
            format!(
                "{} waits for {} since {:.1} s",
                self.dot(message.id.dot),
                needs.join(" "),
                message.held_ms as f64 / 1000.0
            )
        });
        let verb = if waiting.held == 1 { "is" } else { "are" };
        self.list(&format!("{} {verb} held", count(waiting.held, "message")), rows)
    }

    fn why(&self, why: &Why) -> String {
        let id = self.dot(why.id.dot);
        match why.state {
            WhyState::Held => self.why_held(why),
            WhyState::Delivered => self.star(&format!(
                "{id} is delivered, at logical time {}",
                why.lamport.unwrap_or(0)
            )),
            WhyState::Past => self.star(&format!(
                "{id} was delivered, or was before your join; it is not kept any more"
            )),
            WhyState::Awaited => self.star(&format!("{id} has not arrived; another member has it")),
            WhyState::Unknown => self.star(&format!("nobody who can be asked knows of {id}")),
        }
    }

    fn why_held(&self, why: &Why) -> String {
        let dot = why.id.dot;
        let id = self.dot(dot);
        let missing: u64 = why.missing.iter().map(|span| span.to - span.from + 1).sum();
        let nothing = Clock::new();
        let clock_of = |vector: &Option<crate::app::line::Vector>| {
            self.vector(vector.as_ref().map_or(&nothing, |vector| &vector.clock))
        };
        let written = format!("{id} was written after seeing");
        let delivered = "you have delivered";
        let width = written.chars().count().max(delivered.len());
        let mut rows = vec![
            format!("{written:width$}  {}", clock_of(&why.written_after)),
            format!("{delivered:width$}  {}", clock_of(&why.delivered)),
        ];
        let spans: Vec<_> = why
            .missing
            .iter()
            .map(|cause| self.span(cause.member, cause.from, cause.to))
            .collect();
        let span_width = spans.iter().map(|span| span.chars().count()).max().unwrap_or(0);
        for (nth, (cause, span)) in why.missing.iter().zip(&spans).enumerate() {
            let label = if nth == 0 { "missing" } else { "" };
            rows.push(format!("{label:width$}  {span:span_width$}    {}", self.search(cause)));
        }
        self.list(&format!("{id} is waiting for {}", count(missing, "message")), rows)
    }

    /// `asked bob (no answer), cyd (has it, sending)`
    fn search(&self, cause: &Missing) -> String {
        let mut parts: Vec<_> = cause
            .asked_members
            .iter()
            .map(|member| {
                let answer = if cause.holding_members.contains(member) {
                    "has it, sending"
                } else {
                    "no answer"
                };
                format!("{} ({answer})", self.people.shown(*member))
            })
            .collect();
        if parts.is_empty() {
            parts.push("nobody yet".to_owned());
        }
        let mut text = format!("asked {}", parts.join(", "));
        let others: Vec<_> = cause
            .holding_members
            .iter()
            .filter(|member| !cause.asked_members.contains(member))
            .map(|member| self.people.shown(*member))
            .collect();
        if !others.is_empty() {
            let verb = if others.len() == 1 { "has" } else { "have" };
            text += &format!("; {} {verb} it", others.join(", "));
        }
        if cause.held > 0 {
            text += &format!("; {} here, waiting too", cause.held);
        }
        text
    }

    fn info(&self, info: &Info) -> String {
        let Dot { origin, .. } = info.id.dot;
        let mut rows = vec![
            format!("from          {}", clean::line(&self.people.id(origin))),
            format!("sent at       {} (its sender's clock)", info.sent_at),
            format!("logical time  {}", info.lamport),
            format!("clock         {}", self.vector(&info.clock.clock)),
        ];
        if let Some(ms) = info.held_ms {
            rows.push(format!("held for      {ms} ms"));
        }
        if let Some(text) = &info.text {
            rows.push(format!("text          {}", clean::line(text)));
        }
        self.list(&clean::line(&info.id.text), rows)
    }

    fn peers(&self, peers: &Peers) -> String {
        let rows = peers.peers.iter().map(|peer| {
            let who = peer.peer.as_deref().map(clean::line).unwrap_or_default();
            let how = match (&peer.trouble, peer.up) {
                (_, true) => "up".to_owned(),
                (Some(trouble), false) => clean::line(trouble),
                (None, false) => "not yet".to_owned(),
            };
            format!("{}  {how}  {who}", peer.addr).trim_end().to_owned()
        });
        self.list(&format!("{} dialled", count(peers.peers.len() as u64, "peer")), rows)
    }

    fn status(&self, status: &Status) -> String {
        let registries: Vec<_> = status
            .registries
            .iter()
            .map(|registry| format!("{} ({})", clean::line(&registry.registry), clean::line(&registry.state)))
            .collect();
        let registries = match registries.as_slice() {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        let room = match &status.place {
            Some(place) => format!("{} in {}", status.members, place.place()),
            None => "in no room".to_owned(),
        };
        let rows = [
            format!("address       {}", status.addr),
            format!("registry      {registries}"),
            format!("members       {room}"),
            format!(
                "messages      {} delivered, {} held, {} not confirmed",
                status.delivered, status.held, status.unconfirmed
            ),
            format!(
                "log           {} in {} bytes",
                count(status.logged, "message"),
                status.log_bytes
            ),
            format!("logical time  {}", status.lamport),
        ];
        let head = format!("{}, chat {}", clean::line(&status.own.id), status.version);
        self.list(&head, rows)
    }

    fn rooms(&self, rooms: &Rooms) -> String {
        let rows = rooms.rooms.iter().map(|row| {
            let mut text = format!("#{}  {}", clean::line(&row.room), count(row.members, "member"));
            if row.unread > 0 {
                text += &format!("  {} unread", row.unread);
            }
            if row.current {
                text += "  you type here";
            }
            text
        });
        let head = match rooms.rooms.len() {
            0 => "you are in no room; /join ROOM".to_owned(),
            n => format!("you are in {}", count(n as u64, "room")),
        };
        let mut text = self.list(&head, rows);
        if !rooms.others.is_empty() {
            let others = rooms.others.iter().map(elsewhere);
            text.push('\n');
            text += &self.list("others, to /join", others);
        }
        text
    }

    fn topic(&self, topic: &Topic) -> String {
        let room = topic.place.place();
        self.star(&match topic.member {
            Some(by) => {
                let by = self.people.shown(by);
                format!("The topic of {room}: {} (set by {by})", clean::line(&topic.topic))
            }
            None => format!("{room} has no topic; /topic TEXT sets one"),
        })
    }

    fn help(&self, help: &Help) -> String {
        let width = help.commands.iter().map(|row| row.command.len()).max().unwrap_or(0);
        let rows = help
            .commands
            .iter()
            .map(|row| format!("{:width$}  {}", row.command, row.does));
        self.list("commands; unique prefixes are enough", rows)
    }

    fn list(&self, head: &str, rows: impl IntoIterator<Item = String>) -> String {
        let mut text = self.star(head);
        for row in rows {
            text += "\n  ";
            text += &row;
        }
        text
    }
}
