//! The gate: may this contact be reached by this channel?

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use record::Key;
use serde::{Deserialize, Serialize};

use crate::feed::Followed;
use crate::ledger::{Picture, SharedLedger};
use crate::{Known, LedgerErrorKind, Party, Seen};

/// The general opt-out, which closes every channel.
const GENERAL: &str = "blackList";

/// A way to reach somebody, or the sale of somebody's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
    /// Calls.
    Phone,
    /// Text messages to a mobile phone.
    Sms,
    /// Fax.
    Fax,
    /// Letters.
    PostalMail,
    /// Push notifications of an app.
    Push,
    /// Sale of personal data (CCPA).
    Sale,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 7] =
        [Self::Email, Self::Phone, Self::Sms, Self::Fax, Self::PostalMail, Self::Push, Self::Sale];

    /// The Campaign attribute that closes it, by its name on the wire.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Email => "blackListEmail",
            Self::Phone => "blackListPhone",
            Self::Sms => "blackListMobile",
            Self::Fax => "blackListFax",
            Self::PostalMail => "blackListPostalMail",
            Self::Push => "blackListPushnotification",
            Self::Sale => "ccpaOptOut",
        }
    }
}

/// Why a channel is open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ground {
    /// Nothing speaks against it: every side that has a say was read lately and says no opt-out.
    NoOptOut,
    /// The person was erased.
    Erased,
    /// A side says that the person opted out, by this Campaign attribute.
    OptedOut(Party, &'static str),
    /// A decision about this attribute is under way, or its end is not known.
    Undecided(&'static str),
    /// A side was never read.
    NeverRead(Party, &'static str),
    /// A look at the contact failed, and no other has succeeded since; named by the attribute that was asked for.
    Unread(&'static str),
    /// A side was read too long ago.
    Stale(Party, &'static str),
    /// The ledger cannot be read or cannot be trusted.
    Unreadable(LedgerErrorKind),
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the contact may be reached.
    pub allowed: bool,
    /// Why.
    pub ground: Ground,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |party: &Party| match party {
            Party::D365 => "Dynamics 365",
            Party::Campaign => "Campaign",
        };
        f.write_str(if self.allowed { "open: " } else { "closed: " })?;
        match &self.ground {
            Ground::NoOptOut => f.write_str("neither side says that the person opted out"),
            Ground::Erased => f.write_str("the person was erased"),
            Ground::OptedOut(party, name) => write!(f, "{} says that the person opted out ({name})", side(party)),
            Ground::Undecided(name) => write!(f, "a decision about {name} is under way"),
            Ground::NeverRead(party, name) => write!(f, "{name} was never read from {}", side(party)),
            Ground::Unread(name) => write!(f, "{name} could not be read again"),
            Ground::Stale(party, name) => write!(f, "{name} was read from {} too long ago", side(party)),
            Ground::Unreadable(_) => f.write_str("the consent ledger cannot be read or trusted"),
        }
    }
}

/// What the gate goes by.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// How old the last read of Dynamics 365 may be.
    pub max_age_d365: Duration,
    /// How old the last read of Campaign may be.
    pub max_age_campaign: Duration,
    /// The pairs: which Campaign attribute (by its name on the wire) has a column in Dynamics 365. For a paired attribute both
    /// sides must be known; for any other, Campaign alone has a say.
    pub pairs: BTreeMap<String, String>,
}

/// Answers from the last known states of both sides and the ledger. Fails closed: what is not known, not known lately, under way,
/// or cannot be read counts as an opt-out.
#[derive(Debug, Clone)]
pub struct ConsentGate {
    ledger: SharedLedger,
    options: GateOptions,
}

impl ConsentGate {
    /// A gate over a ledger, which may be open for reading only.
    pub fn new(ledger: SharedLedger, options: GateOptions) -> Self {
        Self { ledger, options }
    }

    /// Whether a contact, by its key in Dynamics 365, may be reached by a channel. Two look-ups in the file, on the calling thread.
    ///
    /// Ask right before sending and do not keep the answer: it is as old as the last read.
    pub fn may_contact(&self, contact: &Key, channel: Channel) -> Answer {
        let attributes = [GENERAL, channel.attribute()];
        let picture = match self.ledger.picture(contact, &attributes) {
            Ok(Some(picture)) => picture,
            Ok(None) => return closed(Ground::Erased),
            Err(error) => return closed(Ground::Unreadable(error.kind())),
        };
        let objections: Vec<_> = attributes
            .into_iter()
            .zip(&picture.known)
            .filter_map(|(name, known)| self.objection(name, *known, &picture))
            .collect();
        // What a side says is a better reason than what is missing.
        let said = objections.iter().position(|ground| matches!(ground, Ground::OptedOut(..)));
        match objections.into_iter().nth(said.unwrap_or(0)) {
            Some(ground) => closed(ground),
            None => Answer { allowed: true, ground: Ground::NoOptOut },
        }
    }

    fn objection(&self, name: &'static str, known: Option<Known>, picture: &Picture) -> Option<Ground> {
        let known = known.unwrap_or_default();
        let sides = [
            (Party::D365, known.d365, self.options.max_age_d365, self.options.pairs.contains_key(name), picture.d365),
            (Party::Campaign, known.campaign, self.options.max_age_campaign, true, picture.campaign),
        ];
        let opted_out = |seen: &Option<Seen>| seen.is_some_and(|seen| seen.side.is_opted_out());
        if let Some((party, ..)) = sides.iter().find(|(_, seen, ..)| opted_out(seen)) {
            return Some(Ground::OptedOut(*party, name));
        }
        if known.pending.is_some() {
            return Some(Ground::Undecided(name));
        }
        if known.unread {
            return Some(Ground::Unread(name));
        }
        let now_ms = self.ledger.clock().now().timestamp_millis();
        sides.into_iter().filter(|(_, _, _, needed, _)| *needed).find_map(|(party, seen, max_age, _, followed)| {
            let Some(seen) = seen else { return Some(Ground::NeverRead(party, name)) };
            // A read in the future is one before the clock was set back: its age is not known.
            let known_ms = Followed::refreshes(followed, seen.at_ms);
            let age = u64::try_from(now_ms.saturating_sub(known_ms)).ok();
            let fresh = age.is_some_and(|age| Duration::from_millis(age) <= max_age);
            (!fresh).then_some(Ground::Stale(party, name))
        })
    }
}

fn closed(ground: Ground) -> Answer {
    Answer { allowed: false, ground }
}
