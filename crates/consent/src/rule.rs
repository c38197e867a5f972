//! The conflict rule: what two states of one opt-out mean, and what is to be written. Pure.

use serde::{Deserialize, Serialize};

/// Which way opt-outs move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Nothing moves.
    #[default]
    Disabled,
    /// What Dynamics 365 says is written to Campaign.
    D365ToCampaign,
    /// What Campaign says is written to Dynamics 365.
    CampaignToD365,
    /// The conflict rule decides, and both sides get the result.
    Bidirectional,
}

/// Which conflict rule decides between two sides that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The rule that Adobe documents: the value of Campaign when it is newer than the row of Dynamics 365, otherwise TRUE if either
    /// side is TRUE (experienceleague.adobe.com, "Notices and Recommendations", opt-in/out).
    #[default]
    Adobe,
    /// The last writer wins, and TRUE wins a tie. Needs a time of the attribute itself on both sides, or what both sides agreed
    /// on before; without them it decides as [`Rule::Adobe`].
    LastWriter,
}

/// The conflict rule and how much clocks may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Policy {
    /// The rule.
    pub rule: Rule,
    /// Times that differ by no more than this many milliseconds, after flooring, are a tie.
    pub tolerance_ms: u32,
}

/// How exactly a time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// To the millisecond, as Campaign's API tells times.
    Millisecond,
    /// To the second, as Dataverse and most files tell them.
    Second,
    /// To the minute, as some files tell them.
    Minute,
}

impl Precision {
    const fn grain_ms(self) -> i64 {
        match self {
            Self::Millisecond => 1,
            Self::Second => 1_000,
            Self::Minute => 60_000,
        }
    }
}

/// Of what a time is the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Of the last change of anything in the record; the attribute changed then or earlier.
    Record,
    /// Of the last change of the attribute.
    Attribute,
}

/// When something changed, as exactly as its source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since 1970 in UTC.
    pub at_ms: i64,
    /// How exact that is.
    pub precision: Precision,
    /// Of what it is the time.
    pub level: Level,
}

impl Stamp {
    /// The time of a record.
    pub const fn record(at_ms: i64, precision: Precision) -> Self {
        Self { at_ms, precision, level: Level::Record }
    }

    /// The time of an attribute.
    pub const fn attribute(at_ms: i64, precision: Precision) -> Self {
        Self { at_ms, precision, level: Level::Attribute }
    }

    /// Whether this is later than the other: both floored to the coarser precision, and further apart than the tolerance.
    fn is_after(self, other: Self, tolerance_ms: u32) -> bool {
        let grain = self.precision.max(other.precision).grain_ms();
        let floor = |stamp: Self| stamp.at_ms.div_euclid(grain).saturating_mul(grain);
        floor(self).saturating_sub(floor(other)) > i64::from(tolerance_ms)
    }

    fn is_of_attribute(self) -> bool {
        self.level == Level::Attribute
    }
}

/// The state of an opt-out on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Side {
    /// TRUE: opted out. `None`: the column is empty, which is no opt-out and says nothing against one.
    pub value: Option<bool>,
    /// When it changed; `None` when the side does not tell.
    pub time: Option<Stamp>,
}

impl Side {
    /// A value with its time.
    pub const fn new(value: bool, time: Option<Stamp>) -> Self {
        Self { value: Some(value), time }
    }

    /// Whether it says that the person opted out.
    pub fn is_opted_out(self) -> bool {
        self.value == Some(true)
    }

    /// Its time, where it may count: an empty column has none.
    fn stamp(self) -> Option<Stamp> {
        self.value.and(self.time)
    }
}

/// What both sides held when they were last seen to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Agreed {
    /// The value.
    pub value: bool,
    /// Campaign's time of it: as long as it stands, nobody changed the attribute there.
    pub campaign_time: Option<Stamp>,
}

/// Why a value stands. The words are stored in the ledger and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing moves.
    Disabled,
    /// Both sides say the same.
    Equal,
    /// The direction names Dynamics 365 as the source.
    D365Leads,
    /// The direction names Campaign as the source.
    CampaignLeads,
    /// The source's column is empty, and an empty column clears no opt-out.
    EmptyKeeps,
    /// Campaign's value is newer.
    CampaignNewer,
    /// The value of Dynamics 365 is newer, by the time of the attribute.
    D365Newer,
    /// Dynamics 365 alone changed since both sides agreed.
    D365ChangedAlone,
    /// Nothing newer speaks against the opt-out.
    OptOutStands,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// The value that stands. Under [`Direction::Disabled`] TRUE if either side is.
    pub value: bool,
    /// Why.
    pub reason: Reason,
    /// Whether it is to be written to Dynamics 365.
    pub write_d365: bool,
    /// Whether it is to be written to Campaign.
    pub write_campaign: bool,
}

impl Verdict {
    /// Whether anything is to be written.
    pub fn writes(&self) -> bool {
        self.write_d365 || self.write_campaign
    }
}

/// Decides one opt-out from freshly read states of both sides.
///
/// FALSE is written over TRUE in four cases only: the direction names the side that says FALSE as the source; Campaign says it, with a
/// time of the attribute that is later than the row's in Dynamics 365; under [`Rule::LastWriter`], either side says it with a time of
/// the attribute that is later than the other's time of the attribute; or Dynamics 365 alone changed since both sides agreed.
///
/// A time that is missing never helps FALSE and never harms TRUE. `agreed` counts under [`Rule::LastWriter`] alone.
pub fn decide(policy: Policy, direction: Direction, d365: Side, campaign: Side, agreed: Option<Agreed>) -> Verdict {
    let (d, c) = (d365.is_opted_out(), campaign.is_opted_out());
    let (value, reason) = match direction {
        Direction::Disabled => {
            return Verdict { value: d || c, reason: Reason::Disabled, write_d365: false, write_campaign: false };
        }
        _ if d == c => (d, Reason::Equal),
        Direction::D365ToCampaign if d365.value.is_none() => (c, Reason::EmptyKeeps),
        Direction::D365ToCampaign => (d, Reason::D365Leads),
        Direction::CampaignToD365 if campaign.value.is_none() => (d, Reason::EmptyKeeps),
        Direction::CampaignToD365 => (c, Reason::CampaignLeads),
        Direction::Bidirectional => between(policy, d365, campaign, agreed),
    };
    // A side that leads is not written to, whatever it says.
    let write_d365 = value != d && direction != Direction::D365ToCampaign;
    let write_campaign = value != c && direction != Direction::CampaignToD365;
    Verdict { value, reason, write_d365, write_campaign }
}

/// Two sides that differ.
fn between(policy: Policy, d365: Side, campaign: Side, agreed: Option<Agreed>) -> (bool, Reason) {
    let after = |one: Stamp, other: Stamp| one.is_after(other, policy.tolerance_ms);
    let (d, c) = (d365.is_opted_out(), campaign.is_opted_out());
    // Before any times, for this compares no clock of one side with that of the other.
    if policy.rule == Rule::LastWriter && d365_changed_alone(d365, campaign, agreed) {
        return (d, Reason::D365ChangedAlone);
    }
    match (d365.stamp(), campaign.stamp()) {
        (Some(of_d365), Some(of_campaign)) if of_campaign.is_of_attribute() => {
            if after(of_campaign, of_d365) {
                return (c, Reason::CampaignNewer);
            }
            let by_attribute = policy.rule == Rule::LastWriter && of_d365.is_of_attribute();
            if by_attribute && after(of_d365, of_campaign) {
                return (d, Reason::D365Newer);
            }
        }
        _ => {}
    }
    (true, Reason::OptOutStands)
}

/// Whether Campaign still holds what both sides agreed on, by value and time, and Dynamics 365 does not.
fn d365_changed_alone(d365: Side, campaign: Side, agreed: Option<Agreed>) -> bool {
    let Some(agreed) = agreed else { return false };
    let untouched = campaign.value == Some(agreed.value)
        && agreed.campaign_time.is_some_and(Stamp::is_of_attribute)
        && campaign.time == agreed.campaign_time;
    untouched && d365.value == Some(!agreed.value)
}
