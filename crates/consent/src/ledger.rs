//! The ledger: every decision, durable before its first byte is sent; the last known state of both sides; erasure marks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use record::Key;
use rusqlite::Connection;
use timing::SharedClock;

use crate::chain::{self, Broken, Ending, Entry, Event, Head, Source, unsigned};
use crate::error::LedgerError;
use crate::feed::{self, Followed, Party};
use crate::file::{self, Writer};
use crate::keyed::{Hash, Hashes, HostKey};
use crate::known::{self, Known, Pending, Seen};
use crate::{Agreed, Direction, Policy, Side, Verdict, decide};

/// The ledger of one pair of services, in a SQLite file of its own.
///
/// Several processes may have the file open, also for writing: every write is one transaction that reads the end of the chain first.
/// Memory does not grow with the file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    key: Option<HostKey>,
    hashes: Hashes,
    writer: Option<Writer>,
    reader: Mutex<Connection>,
    clock: SharedClock,
}

/// One opt-out as it was just read from both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The Campaign attribute, by its name on the wire (`blackListEmail`).
    pub attribute: String,
    /// What Dynamics 365 holds; `None` when no column is paired with the attribute, or the contact is not there.
    pub d365: Option<Side>,
    /// What Campaign holds; `None` when the profile is not there.
    pub campaign: Option<Side>,
}

/// Both sides of one contact, read afresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When the first of the two reads began, in milliseconds since 1970.
    pub began_ms: i64,
    /// What led to it.
    pub source: Source,
    /// Every opt-out that was read.
    pub readings: Vec<Reading>,
}

/// What was decided about one opt-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The Campaign attribute.
    pub attribute: String,
    /// What is to be done.
    pub verdict: Verdict,
    /// The number under which it is recorded, to conclude it by; `None` when nothing is to be written.
    pub decision: Option<u64>,
}

impl Ledger {
    /// The usual place: beside the store, with `.consent` appended to its name.
    pub fn beside(store: &Path) -> PathBuf {
        let mut name = store.as_os_str().to_owned();
        name.push(".consent");
        PathBuf::from(name)
    }

    /// Opens or makes the file.
    ///
    /// # Errors
    /// When it cannot be opened or written, is of another program or a newer version, or has another key.
    pub fn open(path: &Path, key: Option<HostKey>, clock: SharedClock) -> Result<Self, LedgerError> {
        let (connection, hashes) = file::open(path, key.as_ref())?;
        let (reader, _) = file::open_read_only(path, key.as_ref())?;
        let writer = Some(Writer::start(connection)?);
        Ok(Self { path: path.to_owned(), key, hashes, writer, reader: Mutex::new(reader), clock })
    }

    /// Opens an existing file to look at. Every write is refused.
    ///
    /// # Errors
    /// As [`Ledger::open`]; also when there is no file.
    pub fn open_read_only(path: &Path, key: Option<HostKey>, clock: SharedClock) -> Result<Self, LedgerError> {
        let (reader, hashes) = file::open_read_only(path, key.as_ref())?;
        Ok(Self { path: path.to_owned(), key, hashes, writer: None, reader: Mutex::new(reader), clock })
    }

    /// Decides every opt-out that was read from both sides, and records what it says: decisions that write, and looks at which a side
    /// holds another value than last time. What was under way of the same opt-out counts as overtaken. Once this returns, all of
    /// it is durable, and the writes may be sent.
    ///
    /// A side that was not read keeps its last known state, and nothing is decided. The same holds for an erased contact, of whom
    /// nothing is noted at all.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable. Nothing may be sent then.
    pub async fn decide(
        &self,
        contact: &Key,
        policy: Policy,
        direction: Direction,
        look: Look,
    ) -> Result<Vec<Decided>, LedgerError> {
        let (hashes, contact, now_ms) = (self.hashes.clone(), self.hashes.contact(contact), self.now_ms());
        self.write(move |connection| {
            let file = File { connection, hashes: &hashes, contact: &contact, now_ms };
            if chain::is_erased(connection, &contact)? {
                return Ok(Vec::new());
            }
            let mut decided = Vec::new();
            for reading in &look.readings {
                decided.extend(file.decide(policy, direction, &look, reading)?);
            }
            Ok(decided)
        })
        .await
    }

    /// Records how the writes of decisions ended. After [`Ending::Written`] the sides that were written are known to hold the value; after
    /// every other ending the decision stays open, and the gate closed, until the contact is looked at again.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable. The contact must then be looked at again.
    pub async fn conclude(&self, contact: &Key, ended: Vec<(Decided, Ending)>) -> Result<(), LedgerError> {
        let (hashes, contact, now_ms) = (self.hashes.clone(), self.hashes.contact(contact), self.now_ms());
        self.write(move |connection| {
            let file = File { connection, hashes: &hashes, contact: &contact, now_ms };
            ended.iter().try_for_each(|(decided, ending)| file.conclude(decided, *ending))
        })
        .await
    }

    /// What is known of every opt-out of a contact, by the Campaign attribute.
    ///
    /// # Errors
    /// When the file cannot be read, or what it says was not written by this program.
    pub fn known(&self, contact: &Key) -> Result<Vec<(String, Known)>, LedgerError> {
        let contact = self.hashes.contact(contact);
        self.read(|connection| known::all(connection, &self.hashes, &contact))
    }

    /// The Campaign attributes by which a contact has opted out, as far as either side or a decision under way says so: what a new row
    /// of the contact has to carry.
    ///
    /// # Errors
    /// As [`Ledger::known`].
    pub fn opted_out(&self, contact: &Key) -> Result<Vec<String>, LedgerError> {
        let known = self.known(contact)?;
        Ok(known.into_iter().filter(|(_, known)| known.is_opted_out()).map(|(attribute, _)| attribute).collect())
    }

    /// The entries of a contact after a number, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries(&self, contact: &Key, after: u64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let contact = self.hashes.contact(contact);
        self.read(|connection| chain::of_contact(connection, &contact, after, limit))
    }

    /// Marks a person as erased: nothing of hers may be written any more by a replay, a sweep or a restored store, and no channel is
    /// open to her. Only the keyed hash of the key is kept; what is known of her opt-outs is forgotten. Entries of earlier decisions
    /// stay in the chain under that hash. Marking twice is marking once.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn erase(&self, contact: &Key) -> Result<(), LedgerError> {
        self.mark(contact, true).await
    }

    /// Takes the mark back. The contact counts as unknown until both sides are read again.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn unerase(&self, contact: &Key) -> Result<(), LedgerError> {
        self.mark(contact, false).await
    }

    async fn mark(&self, contact: &Key, erased: bool) -> Result<(), LedgerError> {
        let (hashes, contact, now_ms) = (self.hashes.clone(), self.hashes.contact(contact), self.now_ms());
        self.write(move |connection| {
            if chain::is_erased(connection, &contact)? == erased {
                return Ok(());
            }
            let event = if erased { Event::Erased } else { Event::Unerased };
            known::forget(connection, &contact)?;
            chain::append(connection, &hashes, &contact, now_ms, &event).map(drop)
        })
        .await
    }

    /// Whether a person is marked as erased.
    ///
    /// # Errors
    /// When the file cannot be read; nothing may be written then.
    pub fn is_erased(&self, contact: &Key) -> Result<bool, LedgerError> {
        let contact = self.hashes.contact(contact);
        self.read(|connection| chain::is_erased(connection, &contact))
    }

    /// Goes through the whole ledger and answers its end, or the first place that is not what was written. `earlier` is an end that
    /// was noted elsewhere; without one, a file that was set back as a whole does not show.
    ///
    /// Reads the file from beginning to end on the calling thread.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verify(&self, earlier: Option<&Head>) -> Result<Result<Head, Broken>, LedgerError> {
        let (connection, hashes) = file::open_read_only(&self.path, self.key.as_ref())?;
        chain::verify(&connection, &hashes, earlier)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Notes that every change of a side between two times, in milliseconds since 1970, was looked at. `from_ms` is where the reading of
    /// changes began, or an earlier call ended; a gap between two calls ends what the earlier ones said.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn followed(&self, party: Party, from_ms: i64, until_ms: i64) -> Result<(), LedgerError> {
        let hashes = self.hashes.clone();
        self.write(move |connection| feed::extend(connection, &hashes, party, from_ms, until_ms)).await
    }

    /// Up to when the changes of a side were followed, in milliseconds since 1970; `None` as long as nobody said so.
    ///
    /// # Errors
    /// When the file cannot be read, or what it says was not written by this program.
    pub fn followed_until(&self, party: Party) -> Result<Option<i64>, LedgerError> {
        self.read(|connection| Ok(feed::load(connection, &self.hashes, party)?.map(feed::Followed::until_ms)))
    }

    /// Notes that a contact could not be read although it may have changed: the gate is closed until both sides are read again. What is
    /// known of it stays, for rows that are created.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn unread(&self, contact: &Key) -> Result<(), LedgerError> {
        let (hashes, contact, now_ms) = (self.hashes.clone(), self.hashes.contact(contact), self.now_ms());
        self.write(move |connection| {
            let file = File { connection, hashes: &hashes, contact: &contact, now_ms };
            for (attribute, known) in known::all(connection, &hashes, &contact)? {
                let (_, last) = file.load(&attribute)?;
                file.save(&attribute, &Known { unread: true, ..known }, last)?;
            }
            Ok(())
        })
        .await
    }

    /// What is known of some attributes of a contact, or `None` when it is marked as erased; all from one state of the file.
    pub(crate) fn picture(&self, contact: &Key, attributes: &[&str]) -> Result<Option<Picture>, LedgerError> {
        let contact = self.hashes.contact(contact);
        self.read(|connection| {
            let connection = connection.unchecked_transaction().map_err(crate::error::failed)?;
            if chain::is_erased(&connection, &contact)? {
                return Ok(None);
            }
            let load = |attribute: &&str| {
                Ok(known::load(&connection, &self.hashes, &contact, attribute)?.map(|(known, _)| known))
            };
            Ok(Some(Picture {
                known: attributes.iter().map(load).collect::<Result<_, _>>()?,
                d365: feed::load(&connection, &self.hashes, Party::D365)?,
                campaign: feed::load(&connection, &self.hashes, Party::Campaign)?,
            }))
        })
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        work(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        match &self.writer {
            Some(writer) => writer.call(work).await,
            None => Err(LedgerError::new(
                crate::LedgerErrorKind::Unavailable,
                "The consent file was opened for reading.",
                "Open it for writing.",
            )),
        }
    }
}

/// What the gate answers from.
pub(crate) struct Picture {
    /// In the order of the attributes that were asked for.
    pub(crate) known: Vec<Option<Known>>,
    pub(crate) d365: Option<Followed>,
    pub(crate) campaign: Option<Followed>,
}

/// The ledger, ready to be handed around.
pub type SharedLedger = Arc<Ledger>;

/// One contact in one transaction.
struct File<'f> {
    connection: &'f Connection,
    hashes: &'f Hashes,
    contact: &'f Hash,
    now_ms: i64,
}

impl File<'_> {
    fn append(&self, event: &Event) -> Result<i64, LedgerError> {
        chain::append(self.connection, self.hashes, self.contact, self.now_ms, event)
    }

    fn load(&self, attribute: &str) -> Result<(Known, i64), LedgerError> {
        Ok(known::load(self.connection, self.hashes, self.contact, attribute)?.unwrap_or_default())
    }

    fn save(&self, attribute: &str, known: &Known, last: i64) -> Result<(), LedgerError> {
        known::save(self.connection, self.hashes, self.contact, attribute, known, last)
    }

    fn decide(
        &self,
        policy: Policy,
        direction: Direction,
        look: &Look,
        reading: &Reading,
    ) -> Result<Option<Decided>, LedgerError> {
        let attribute = &reading.attribute;
        let (before, mut last) = self.load(attribute)?;
        let mut known = before;
        let seen = |side: Side| Seen { side, at_ms: look.began_ms };
        known.d365 = reading.d365.map(seen).or(before.d365);
        known.campaign = reading.campaign.map(seen).or(before.campaign);
        known.unread = false;
        let value = |seen: Option<Seen>| seen.map(|seen| seen.side.value);
        let news = value(before.d365) != value(known.d365) || value(before.campaign) != value(known.campaign);
        let (Some(d365), Some(campaign)) = (reading.d365, reading.campaign) else {
            if news {
                let Reading { d365, campaign, .. } = *reading;
                last =
                    self.append(&Event::Seen { attribute: attribute.clone(), source: look.source, d365, campaign })?;
            }
            self.save(attribute, &known, last)?;
            return Ok(None);
        };
        if let Some(pending) = known.pending.take() {
            last = self.append(&Event::Concluded {
                attribute: attribute.clone(),
                decision: pending.decision,
                ending: Ending::Overtaken,
            })?;
        }
        let verdict = decide(policy, direction, d365, campaign, before.agreed);
        if news || verdict.writes() {
            last = self.append(&Event::Decided {
                attribute: attribute.clone(),
                source: look.source,
                direction,
                policy,
                d365,
                campaign,
                verdict,
            })?;
        }
        if let (Some(value), true) = (campaign.value, d365.value == campaign.value) {
            known.agreed = Some(Agreed { value, campaign_time: campaign.time });
        }
        let decision = verdict.writes().then(|| unsigned(last));
        known.pending = decision.map(|decision| Pending { decision, value: verdict.value, at_ms: self.now_ms });
        self.save(attribute, &known, last)?;
        Ok(Some(Decided { attribute: attribute.clone(), verdict, decision }))
    }

    fn conclude(&self, decided: &Decided, ending: Ending) -> Result<(), LedgerError> {
        let Some(decision) = decided.decision else { return Ok(()) };
        let (mut known, _) = self.load(&decided.attribute)?;
        let current = known.pending.is_some_and(|pending| pending.decision == decision);
        if !current {
            // Overtaken meanwhile, which is recorded; or the person was erased.
            return Ok(());
        }
        let last = self.append(&Event::Concluded { attribute: decided.attribute.clone(), decision, ending })?;
        if ending == Ending::Written {
            known.pending = None;
            let written = Some(Seen { side: Side::new(decided.verdict.value, None), at_ms: self.now_ms });
            if decided.verdict.write_d365 {
                known.d365 = written;
            }
            if decided.verdict.write_campaign {
                known.campaign = written;
            }
        }
        self.save(&decided.attribute, &known, last)
    }
}
