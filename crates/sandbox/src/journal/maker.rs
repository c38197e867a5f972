//! Seeded events: who got which email, and what became of it.

use std::collections::HashSet;

use serde::Deserialize;

use super::mail_log::{Book, DELIVERIES, Entry, MailKind, MailLog, Recipient, URLS};
use crate::prng::Prng;

/// Most events of a kind at once.
const MOST: usize = 2_000_000;
/// An event is delivered three times at most.
const MOST_COPIES: u8 = 3;
const HOUR: i64 = 3_600_000;

/// How many events of which kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MailPlan {
    pub(crate) send: usize,
    pub(crate) open: usize,
    pub(crate) click: usize,
    /// Hard bounces.
    pub(crate) bounce: usize,
    pub(crate) soft_bounce: usize,
    /// Events, of the four kinds in turn, of contacts that Dynamics does not have.
    pub(crate) unknown_contact: usize,
    /// Events, of the four kinds in turn, of profiles without an external id.
    pub(crate) no_external_id: usize,
    /// Deliveries in the journal beyond the first of each event.
    pub(crate) duplicates: usize,
    /// Events of which the journal says nothing.
    pub(crate) lost: usize,
    /// The journal has no order.
    pub(crate) shuffle: bool,
    pub(crate) seed: u64,
}

/// What a plan led to.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Events.
    pub(crate) events: usize,
    /// Numbers of the events in the order of their deliveries.
    pub(super) deliveries: Vec<u32>,
    /// Contacts that Dynamics does not have.
    pub(crate) unknown: Vec<String>,
}

impl MailLog {
    /// Makes events of the given contacts, `(id, email)`, that happened in the day before `now`.
    ///
    /// # Errors
    /// Nobody to send to, more than two million of a kind, more duplicates or losses than the events allow. Nothing is made then.
    pub(crate) fn make(&self, plan: &MailPlan, contacts: &[(u128, String)], now: i64) -> Result<Made, String> {
        let known = plan.send + plan.open + plan.click + plan.bounce + plan.soft_bounce;
        let all = known + plan.unknown_contact + plan.no_external_id;
        let counts = [plan.send, plan.open, plan.click, plan.bounce, plan.soft_bounce];
        if counts.into_iter().chain([plan.unknown_contact, plan.no_external_id]).any(|count| count > MOST) {
            return Err(format!("more than {MOST} events of a kind at once"));
        }
        if known > 0 && contacts.is_empty() {
            return Err("there are no contacts to send to".to_owned());
        }
        if plan.lost > all {
            return Err("more events are to be lost than made".to_owned());
        }
        if plan.duplicates > (all - plan.lost) * usize::from(MOST_COPIES - 1) {
            return Err(format!("an event is delivered at most {MOST_COPIES} times"));
        }
        let mut book = self.book();
        // The same seed a second time makes other events.
        let draws = Prng::stream(plan.seed ^ (book.entries.len() as u64).rotate_left(32), "mail");
        let mut maker = Maker { first: book.entries.len(), book: &mut book, draws, now, bounces: HashSet::new() };
        maker.happen(plan, contacts);
        let unknown = maker.strangers(plan, contacts);
        let deliveries = maker.deliveries(plan);
        Ok(Made { events: all, deliveries, unknown })
    }
}

struct Maker<'a> {
    book: &'a mut Book,
    draws: Prng,
    now: i64,
    /// Number of the first event of this plan.
    first: usize,
    /// Two bounces of one email do not come in the same millisecond.
    bounces: HashSet<(u32, i64)>,
}

impl Maker<'_> {
    fn happen(&mut self, plan: &MailPlan, contacts: &[(u128, String)]) {
        for _ in 0..plan.send {
            let recipient = self.someone(contacts);
            self.send(recipient);
        }
        let sends = self.first..self.book.entries.len();
        let kinds = [
            (MailKind::Open, plan.open),
            (MailKind::Click, plan.click),
            (MailKind::HardBounce, plan.bounce),
            (MailKind::SoftBounce, plan.soft_bounce),
        ];
        for (kind, count) in kinds {
            for _ in 0..count {
                let of = self.draws.below(sends.len() as u64);
                let of = sends.start + usize::try_from(of).unwrap_or(0);
                let send = match self.book.entries.get(of).filter(|_| !sends.is_empty()) {
                    Some(send) => send.clone(),
                    // What became of an email that was sent before the log begins.
                    None => {
                        let recipient = self.someone(contacts);
                        self.unsent(recipient)
                    }
                };
                self.follow(&send, kind);
            }
        }
    }

    /// Events of those whom Dynamics does not have, or not under an id. Gives the ids that it does not have.
    fn strangers(&mut self, plan: &MailPlan, contacts: &[(u128, String)]) -> Vec<String> {
        let taken: HashSet<u128> = contacts.iter().map(|(id, _)| *id).collect();
        let mut unknown = Vec::new();
        for number in 0..plan.unknown_contact + plan.no_external_id {
            let external = (number < plan.unknown_contact).then(|| {
                let mut id = self.draws.guid();
                while taken.contains(&id) {
                    id = self.draws.guid();
                }
                id
            });
            unknown.extend(external.map(|id| uuid::Uuid::from_u128(id).hyphenated().to_string()));
            let email = format!("stranger{}@example.org", self.book.recipients.len());
            let recipient = self.recipient(Recipient { external, email });
            let kinds = [MailKind::Send, MailKind::Open, MailKind::Click, MailKind::HardBounce];
            match kinds.get(number % 4) {
                Some(MailKind::Send) | None => self.send(recipient),
                Some(kind) => {
                    let send = self.unsent(recipient);
                    self.follow(&send, *kind);
                }
            }
        }
        unknown
    }

    fn someone(&mut self, contacts: &[(u128, String)]) -> u32 {
        let Some((id, email)) = self.draws.pick(contacts) else { return 0 };
        match self.book.by_external.get(id) {
            Some(known) => *known,
            None => self.recipient(Recipient { external: Some(*id), email: email.clone() }),
        }
    }

    fn recipient(&mut self, recipient: Recipient) -> u32 {
        let number = u32::try_from(self.book.recipients.len()).unwrap_or(u32::MAX);
        if let Some(id) = recipient.external {
            self.book.by_external.insert(id, number);
        }
        self.book.recipients.push(recipient);
        number
    }

    /// A send that is not in the log.
    fn unsent(&mut self, recipient: u32) -> Entry {
        self.book.broad_logs += 1;
        Entry {
            id: self.draws.guid(),
            at: self.now - HOUR - self.below(23 * HOUR),
            broad_log: self.book.broad_logs,
            tracking_log: 0,
            recipient,
            kind: MailKind::Send,
            delivery: u8::try_from(self.draws.below(DELIVERIES.len() as u64)).unwrap_or(0),
            url: 0,
            copies: 0,
        }
    }

    fn send(&mut self, recipient: u32) {
        let send = self.unsent(recipient);
        self.book.entries.push(send);
    }

    fn follow(&mut self, send: &Entry, kind: MailKind) {
        let mut at = send.at + self.below(self.now - send.at);
        let mut tracking_log = 0;
        if matches!(kind, MailKind::Open | MailKind::Click) {
            self.book.tracking_logs += 1;
            tracking_log = self.book.tracking_logs;
        } else {
            while !self.bounces.insert((send.broad_log, at)) {
                at += 1;
            }
        }
        let url = u8::try_from(self.draws.below(URLS.len() as u64)).unwrap_or(0);
        self.book.entries.push(Entry { id: self.draws.guid(), at, tracking_log, kind, url, ..send.clone() });
    }

    fn deliveries(&mut self, plan: &MailPlan) -> Vec<u32> {
        let mut order: Vec<u32> =
            (self.first..self.book.entries.len()).filter_map(|number| u32::try_from(number).ok()).collect();
        self.shuffle(&mut order);
        order.truncate(order.len() - plan.lost);
        if !plan.shuffle {
            order.sort_by_key(|number| self.book.entries.get(*number as usize).map(|entry| entry.at));
        }
        for number in &order {
            if let Some(entry) = self.book.entries.get_mut(*number as usize) {
                entry.copies = 1;
            }
        }
        let distinct = order.len();
        while order.len() < distinct + plan.duplicates {
            let at = usize::try_from(self.draws.below(distinct as u64)).unwrap_or(0);
            let Some(number) = order.get(at).copied() else { break };
            if let Some(entry) = self.book.entries.get_mut(number as usize).filter(|e| e.copies < MOST_COPIES) {
                entry.copies += 1;
                order.push(number);
            }
        }
        if plan.shuffle {
            self.shuffle(&mut order);
        }
        order
    }

    fn shuffle(&mut self, order: &mut [u32]) {
        for at in (1..order.len()).rev() {
            order.swap(at, usize::try_from(self.draws.below(at as u64 + 1)).unwrap_or(0));
        }
    }

    fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.draws.below(u64::try_from(bound).unwrap_or(0))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_771_667_217_584;

    fn contacts() -> Vec<(u128, String)> {
        (1..=20).map(|id| (id, format!("c{id}@example.org"))).collect()
    }

    #[test]
    fn a_plan_is_carried_out_to_the_number() {
        let log = MailLog::default();
        let plan = MailPlan {
            send: 50,
            open: 30,
            click: 20,
            bounce: 5,
            soft_bounce: 4,
            unknown_contact: 8,
            no_external_id: 4,
            duplicates: 60,
            lost: 10,
            shuffle: true,
            seed: 7,
        };
        let made = log.make(&plan, &contacts(), NOW).unwrap();
        let all = log.records(0..1000);
        assert_eq!((made.events, log.len(), all.len()), (121, 121, 121));
        assert_eq!(made.deliveries.len(), 121 - 10 + 60);
        let of = |kind| all.iter().filter(|event| event.kind == kind).count();
        // Of the twelve strangers three are of each kind.
        let counts =
            [MailKind::Send, MailKind::Open, MailKind::Click, MailKind::HardBounce, MailKind::SoftBounce].map(of);
        assert_eq!(counts, [53, 33, 23, 8, 4]);
        assert_eq!(all.iter().filter(|event| event.external_id.is_empty()).count(), 4);
        assert_eq!(all.iter().filter(|event| made.unknown.contains(&event.external_id)).count(), 8);
        assert_eq!(all.iter().filter(|event| event.copies == 0).count(), 10);
        assert_eq!(all.iter().map(|event| usize::from(event.copies)).sum::<usize>(), made.deliveries.len());
        let ids: HashSet<&str> = all.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids.len(), 121);
        assert!(all.iter().all(|event| event.at <= NOW && event.at > NOW - 25 * HOUR));
        let mut sorted = made.deliveries.clone();
        sorted.sort_unstable();
        assert_ne!(sorted, made.deliveries);
    }

    #[test]
    fn the_same_seed_makes_the_same_and_a_second_time_something_else() {
        let plan = MailPlan { send: 10, open: 10, seed: 3, ..MailPlan::default() };
        let run = |log: &MailLog| {
            log.make(&plan, &contacts(), NOW).unwrap();
            log.records(0..100).into_iter().map(|event| event.id).collect::<Vec<_>>()
        };
        let (one, other) = (MailLog::default(), MailLog::default());
        assert_eq!(run(&one), run(&other));
        let both: HashSet<String> = run(&one).into_iter().collect();
        assert_eq!(both.len(), 40);
    }

    #[test]
    fn what_cannot_be_made_is_refused_and_nothing_is_made() {
        let log = MailLog::default();
        let plan = MailPlan { send: 2, duplicates: 5, ..MailPlan::default() };
        assert!(log.make(&plan, &contacts(), NOW).is_err());
        assert!(log.make(&MailPlan { duplicates: 0, ..plan.clone() }, &[], NOW).is_err());
        assert!(log.make(&MailPlan { duplicates: 0, lost: 3, ..plan }, &contacts(), NOW).is_err());
        assert!(log.make(&MailPlan { click: MOST + 1, ..MailPlan::default() }, &contacts(), NOW).is_err());
        assert_eq!(log.len(), 0);
    }
}
